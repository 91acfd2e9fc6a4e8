import type { MintPlan } from '@mayfly/core';

export type CloudKind = 'denying' | 'deleting' | 'expiring';

/** One credential as its cloud knows it, whatever the broker believes. */
export interface CloudCredential {
  readonly serial: number;
  readonly cloud: CloudKind;
  readonly issuanceId: string;
  readonly purpose: 'agent' | 'base';
  readonly reach: string;
  readonly identifier: string;
  readonly actions: readonly string[];
  readonly expiresAt: Date;
}

/** Says no: nothing happened. */
export class CloudRefused extends Error {}

/** An account of a cloud: what it made, and its own clock. Each method is one request that has arrived. */
export class Cloud {
  readonly kind: CloudKind;
  readonly minted: CloudCredential[] = [];
  readonly #deleted = new Set<string>();
  readonly #landed = new Set<number>();
  readonly #read = new Set<number>();
  readonly #now: () => Date;
  #document: DenyDocument = noDocument;
  /** The highest version that ever landed; an older one on top of it is a write that came too late. */
  #newest = 0;

  constructor(kind: CloudKind, now: () => Date) {
    this.kind = kind;
    this.#now = now;
  }

  mint({ issuanceId, purpose, reach, identifier, actions, notAfter }: MintPlan): CloudCredential {
    // A session that is denied everything may not ask for scoped credentials either.
    if (this.#document.denied.has(reach)) throw new CloudRefused('AccessDenied');
    const expiresAt = new Date(notAfter);
    const serial = this.minted.length + 1;
    const known = { cloud: this.kind, issuanceId, purpose, reach, identifier, actions, expiresAt };
    const credential: CloudCredential = { serial, ...known };
    this.minted.push(credential);
    return credential;
  }

  /** True when there was something to delete. */
  remove(issuanceId: string): boolean {
    const there = this.minted.some((one) => one.issuanceId === issuanceId) && !this.#deleted.has(issuanceId);
    if (there) this.#deleted.add(issuanceId);
    return there;
  }

  /** Says what landed, when that version lands for the first time. */
  putPolicy(text: string): { readonly version: number; readonly newest: number } | null {
    this.#document = readDocument(text);
    const { version } = this.#document;
    this.#newest = Math.max(this.#newest, version);
    const isFirst = !this.#landed.has(version);
    this.#landed.add(version);
    return isFirst ? { version, newest: this.#newest } : null;
  }

  denies(reach: string): boolean {
    return this.#document.denied.has(reach);
  }

  deletePolicy(): void {
    this.#document = noDocument;
  }

  /** As a reader sees it now. */
  readPolicy(): string | null {
    this.#read.add(this.#document.version);
    return this.#document.text;
  }

  /** Somebody has seen this version in force. */
  wasRead(version: number): boolean {
    return this.#read.has(version);
  }

  /** Of the deny document in force; 0 when there is none. */
  get version(): number {
    return this.#document.version;
  }

  /** A write landed after a newer one, which the broker has not mended yet. */
  get isOverwritten(): boolean {
    return this.#document.version < this.#newest;
  }

  /** Would the cloud itself let this credential in? */
  accepts({ issuanceId, reach, expiresAt }: CloudCredential): boolean {
    const taken = this.#deleted.has(issuanceId) || this.#document.denied.has(reach);
    return !taken && this.#now() < expiresAt;
  }

  hasTaken({ issuanceId, reach }: CloudCredential): boolean {
    return this.#deleted.has(issuanceId) || this.#document.denied.has(reach);
  }
}

interface DenyDocument {
  readonly text: string | null;
  readonly version: number;
  readonly denied: ReadonlySet<string>;
}

const noDocument: DenyDocument = { text: null, version: 0, denied: new Set() };

interface Statement {
  readonly Sid: string;
  readonly Effect: string;
  readonly Condition: { readonly StringEquals: { readonly 'aws:SourceIdentity': readonly string[] } };
}

/** What IAM makes of the text: the SourceIdentities that it denies everything. */
function readDocument(text: string): DenyDocument {
  const { Statement: statements }: { Statement: readonly Statement[] } = JSON.parse(text);
  const denied = new Set<string>();
  let version = 0;
  for (const { Sid, Effect, Condition } of statements) {
    if (Effect !== 'Deny') throw new TypeError('a deny document that allows');
    version = Number.parseInt(Sid.slice(Sid.lastIndexOf('V') + 1), 10);
    for (const reach of Condition.StringEquals['aws:SourceIdentity']) denied.add(reach);
  }
  return { text, version, denied };
}
