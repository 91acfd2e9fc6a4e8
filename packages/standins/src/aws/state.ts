import { randomBytes } from 'node:crypto';
import type { Policy } from './evaluate.ts';

export interface Role {
  readonly name: string;
  readonly path: string;
  readonly arn: string;
  readonly id: string;
  trust: Policy;
  readonly maxSessionSeconds: number;
  boundaryArn: string | undefined;
  /** Inline policies by name, as the text that was put. */
  readonly inline: Map<
    string,
    { readonly text: string; readonly policy: Policy; readonly effectiveAt: number }
  >;
  /** Earlier documents still in effect while a write propagates. */
  readonly created: Date;
}

export interface Session {
  readonly accessKeyId: string;
  readonly secret: string;
  readonly token: string;
  readonly role: Role;
  readonly sessionName: string;
  readonly sourceIdentity: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly layers: readonly Policy[];
  /** Scoped sessions hang below their base. */
  readonly scopedId: string | undefined;
  readonly webIdentity:
    | { readonly provider: string; readonly subject: string; readonly audience: string }
    | undefined;
}

export interface OidcProvider {
  readonly arn: string;
  readonly url: string;
  readonly clientIds: readonly string[];
}

export interface StoredObject {
  readonly body: Buffer;
  readonly contentType: string;
  readonly etag: string;
  readonly modified: Date;
}

export interface Message {
  readonly id: string;
  readonly body: string;
  receipt: string | undefined;
  /** Milliseconds; hidden until then once it was received. */
  visibleAt: number;
}

/** Attributes in DynamoDB's wire form: `{ id: { S: 'a' } }`. */
export type Item = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface StoredTable {
  readonly partition: string;
  readonly sort: string | undefined;
  readonly items: Map<string, Item>;
}

export interface StoredSecret {
  readonly arn: string;
  readonly name: string;
  readonly kmsKey: string | undefined;
  readonly versions: { readonly id: string; stage: string | undefined; readonly value: string }[];
}

/** All of one account, in memory. */
export interface AwsState {
  readonly account: string;
  readonly region: string;
  /** The key of the account's root: seeding and tests. */
  readonly root: { readonly accessKeyId: string; readonly secret: string };
  readonly roles: Map<string, Role>;
  readonly managed: Map<string, Policy>;
  readonly providers: Map<string, OidcProvider>;
  readonly sessions: Map<string, Session>;
  readonly buckets: Map<string, Map<string, StoredObject>>;
  /** Buckets whose objects are encrypted under a key, and what the encryption context names. */
  readonly encryption: Map<string, { readonly kmsKey: string; readonly context: 'object' | 'bucket' }>;
  /** Key material by ARN. */
  readonly keys: Map<string, Buffer>;
  readonly queues: Map<string, Message[]>;
  readonly tables: Map<string, StoredTable>;
  readonly secrets: Map<string, StoredSecret>;
  /** By `NAME:QUALIFIER`. */
  readonly functions: Map<string, (payload: string) => unknown>;
}

export function emptyState(account: string, region: string): AwsState {
  return {
    account,
    region,
    root: { accessKeyId: `AKIA${identifier(16)}`, secret: randomBytes(30).toString('base64') },
    roles: new Map(),
    managed: new Map(),
    providers: new Map(),
    sessions: new Map(),
    buckets: new Map(),
    encryption: new Map(),
    keys: new Map(),
    queues: new Map(),
    tables: new Map(),
    secrets: new Map(),
    functions: new Map(),
  };
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export function identifier(length: number): string {
  return [...randomBytes(length)].map((byte) => alphabet.charAt(byte % alphabet.length)).join('');
}
