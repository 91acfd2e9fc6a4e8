import { createHmac, randomBytes } from 'node:crypto';

export type BlobRight = 'read' | 'list' | 'create' | 'write' | 'delete';

/** A role assignment, as narrow as Azure's are: on an account, or on one container of it. */
export interface Assignment {
  readonly account: string;
  readonly container?: string;
  /** `delegate` is that of Storage Blob Delegator; it holds for the account. */
  readonly rights: readonly (BlobRight | 'delegate')[];
}

/** An app registration with one federated credential: no secret. */
export interface App {
  readonly clientId: string;
  readonly objectId: string;
  readonly issuer: string;
  readonly subject: string;
  readonly assignments: readonly Assignment[];
}

export interface Account {
  readonly name: string;
  /** Directories exist only with a hierarchical namespace. */
  readonly hierarchical: boolean;
  readonly seed: Buffer;
  /** Raised by revokeUserDelegationKeys: no key of an earlier one is valid. */
  keyGeneration: number;
  /** By `CONTAINER/NAME`. */
  readonly blobs: Map<string, Buffer>;
}

/** Of the key: everything that is signed with it, in the order of a SAS. */
export interface KeyFields {
  readonly objectId: string;
  readonly tenantId: string;
  readonly startsOn: string;
  readonly expiresOn: string;
  readonly service: string;
  readonly version: string;
}

/** One record in the manner of Azure's storage and sign-in logs, as far as it joins to an issuance. Never a secret. */
export interface AzureRecord {
  readonly seq: number;
  readonly at: string;
  readonly operation: string;
  readonly account: string | null;
  readonly resource: string | null;
  /** Object id of whoever asked, or whose key signed. */
  readonly principal: string | null;
  readonly correlationId: string | null;
  readonly status: number;
  readonly error: string | null;
}

export function newAccount(name: string, hierarchical: boolean): Account {
  return { name, hierarchical, seed: randomBytes(32), keyGeneration: 0, blobs: new Map() };
}

/** Keys are not kept but made again from what a SAS says of them. */
export function keyValue({ seed, keyGeneration }: Account, key: KeyFields): string {
  const { objectId, tenantId, startsOn, expiresOn, service, version } = key;
  return createHmac('sha256', seed)
    .update([keyGeneration, objectId, tenantId, startsOn, expiresOn, service, version].join('\n'))
    .digest('base64');
}
