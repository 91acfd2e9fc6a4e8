import type { Pattern } from './pattern.ts';

export type ClaimValue = string | readonly string[];

/** The key that a caller has proven to hold: the thumbprint of a DPoP key (RFC 9449) or of a client certificate (RFC 8705). */
export interface Confirmation {
  /** RFC 7638 thumbprint, SHA-256, base64url. */
  readonly jkt?: string;
  /** SHA-256 of the certificate's DER, base64url. */
  readonly x5tS256?: string;
}

/** A proven caller: who signed, not what it may do. Times are the assertion's own. */
export interface Workload {
  /** Exact `iss` of the assertion. */
  readonly issuer: string;
  /** `metadata.name` of the TrustedIssuer: half of the workload's written form. */
  readonly issuerName: string;
  readonly subject: string;
  /** Only those the issuer's document names, and always `sub`. */
  readonly claims: Readonly<Record<string, ClaimValue>>;
  /** SHA-256, hex, of (iss, jti), or of the signed bytes where there is no jti. */
  readonly assertionId: string;
  readonly assertionExpiresAt: Date;
  /** Left out where the assertion does not say. */
  readonly assertionIssuedAt?: Date;
  /** `once`: this assertion may open or mint one time. */
  readonly replay: 'once' | 'reuse';
  readonly people: boolean;
  /** `cnf` of the assertion (RFC 7800): whoever shows it must prove that key. */
  readonly confirmation?: Confirmation;
  /** `may_act` of the assertion (RFC 8693 section 4.4): who alone may act for this subject. */
  readonly mayAct?: { readonly issuer: string; readonly subject: string };
}

/** Who a caller is to the rest of the core; a task token speaks for its task's workload. */
export interface Identity {
  /** Exact `iss`: another issuer that takes over a name takes over none of its tasks. */
  readonly issuer: string;
  readonly issuerName: string;
  readonly subject: string;
  readonly claims: Readonly<Record<string, ClaimValue>>;
}

/** A party that acts for the subject (RFC 8693 section 4.1), as it was attested. */
export interface Actor extends Identity {
  /** The subject token named it in `may_act` (RFC 8693 section 4.4). */
  readonly named: boolean;
}

/** One entry of `workloads`, `openers`, `subjects`: entries are alternatives, keys within one must all hold. */
export interface SubjectMatch {
  readonly issuerName: string;
  readonly match: Readonly<Record<string, readonly Pattern[]>>;
  /** Claims that make two subjects two owners. */
  readonly bind: readonly string[];
}

/** `ISSUERNAME/SUBJECT`: how a workload is written everywhere. */
export function workloadName(identity: { issuerName: string; subject: string }): string {
  return `${identity.issuerName}/${identity.subject}`;
}

export type SubjectId = Pick<Identity, 'issuer' | 'issuerName' | 'subject'>;

/** The very same: a document of this name may mean another issuer by now. */
export function isSubject(left: SubjectId, right: SubjectId): boolean {
  return (
    left.issuer === right.issuer && left.issuerName === right.issuerName && left.subject === right.subject
  );
}

/** A missing claim never matches; an array claim holds if any element does; an empty entry matches nothing. */
export function matchesSubject(entry: SubjectMatch, identity: Identity): boolean {
  const conditions = Object.entries(entry.match);
  if (entry.issuerName !== identity.issuerName || conditions.length === 0) return false;
  return conditions.every(([claim, patterns]) => {
    const value = Object.hasOwn(identity.claims, claim) ? identity.claims[claim] : undefined;
    if (value === undefined) return false;
    const values = typeof value === 'string' ? [value] : value;
    return values.some((text) => patterns.some((pattern) => pattern.matches(text)));
  });
}

/**
 * The text that says whether two callers are the same owner: issuer name, subject, the claims that the template
 * binds, and who acts for the subject, compared at each call. JSON keeps the parts apart, whatever they hold.
 */
export function ownerOf(identity: Identity, bind: readonly string[], actor: Actor | null = null): string {
  const bound = [...bind].sort().map((claim) => [claim, identity.claims[claim] ?? null]);
  const acting = actor === null ? [] : [{ act: [actor.issuerName, actor.issuer, actor.subject] }];
  return JSON.stringify([identity.issuerName, identity.issuer, identity.subject, ...bound, ...acting]);
}
