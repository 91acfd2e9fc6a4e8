import type { PolicySet } from '@mayfly/core';
import { type ClaimValue, type Identity, Refusal, type TrustedIssuer } from '@mayfly/core';
import { z } from 'zod';

/** Who signed in, as the organisation's identity provider said at that moment. Stored sealed, with the grant. */
const personRecord = z.strictObject({
  issuerName: z.string(),
  /** Exact `iss`: a TrustedIssuer of the same name that trusts another one is another. */
  iss: z.string(),
  subject: z.string(),
  claims: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
  /** When the provider issued the id_token that says so; left out where it was not kept. */
  issuedAt: z.iso.datetime().optional(),
});
export type PersonRecord = Readonly<z.output<typeof personRecord>>;

export function parsePerson(stored: unknown): PersonRecord {
  return personRecord.parse(stored);
}

/** The TrustedIssuer in force through which people sign in, or a Refusal: it must speak for people. */
export function issuerOfPeople(policy: Pick<PolicySet, 'issuers'>, name: string): TrustedIssuer {
  const issuer = [...policy.issuers.values()].find((one) => one.name === name);
  if (issuer === undefined) throw refused('no TrustedIssuer of that name');
  if (!issuer.people) throw refused('the TrustedIssuer does not speak for people');
  return issuer;
}

/**
 * The person as the policy in force sees it, asked at each call: an issuer that is gone, changed or speaks for people no
 * more, a subject outside its namespaces and a claim that it keeps no more count at once.
 */
export function personInForce(
  { issuerName, iss, subject, claims }: PersonRecord,
  { policy, name }: { policy: Pick<PolicySet, 'issuers'>; name: string },
): Identity {
  const issuer = issuerOfPeople(policy, name);
  if (issuerName !== name || iss !== issuer.issuer) throw refused('signed in through another issuer');
  if (!issuer.subjects.some((pattern) => pattern.matches(subject)))
    throw refused('subject outside the namespaces of its issuer');
  const kept = Object.entries(claims).filter(([claim]) => claim === 'sub' || issuer.claims.includes(claim));
  return { issuer: iss, issuerName, subject, claims: Object.fromEntries<ClaimValue>(kept) };
}

/** `ISSUERNAME/SUBJECT`: `sub` of the id_token, actor of audit rows. */
export function accountOf({ issuerName, subject }: Pick<PersonRecord, 'issuerName' | 'subject'>): string {
  return `${issuerName}/${subject}`;
}

function refused(detail: string): Refusal {
  return new Refusal('sign_in_person_refused', { detail });
}
