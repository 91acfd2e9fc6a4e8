import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { Boundary } from './boundary.ts';

/** A workload identity pool provider: whose assertions become federated tokens. */
export interface PoolProvider {
  /** `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`. */
  readonly resource: string;
  readonly issuer: string;
  readonly audiences: readonly string[];
}

export interface ServiceAccount {
  readonly email: string;
  readonly keyId: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** `principal://...` names with roles/iam.serviceAccountTokenCreator on it. */
  readonly tokenCreators: ReadonlySet<string>;
  /** Roles by bucket or topic (`projects/P/topics/T`). */
  readonly roles: ReadonlyMap<string, readonly string[]>;
  disabled: boolean;
}

export interface AccessToken {
  readonly principal:
    | { readonly kind: 'federated'; readonly name: string }
    | { readonly kind: 'account'; readonly email: string };
  readonly scopes: readonly string[];
  readonly expiresAt: Date;
  readonly boundary: Boundary | undefined;
}

export interface StoredObject {
  readonly body: Buffer;
  readonly contentType: string;
  readonly generation: number;
  readonly updated: Date;
}

/** All of one project, in memory. */
export interface GcpState {
  readonly pools: Map<string, PoolProvider>;
  readonly accounts: Map<string, ServiceAccount>;
  /** By the token itself. */
  readonly tokens: Map<string, AccessToken>;
  readonly buckets: Map<string, Map<string, StoredObject>>;
  /** Messages by topic. */
  readonly published: Map<string, readonly unknown[]>;
}

export function emptyState(): GcpState {
  return {
    ...{ pools: new Map(), accounts: new Map(), tokens: new Map() },
    ...{ buckets: new Map(), published: new Map() },
  };
}

export function addToken(state: GcpState, token: AccessToken): string {
  const text = `ya29.standin.${randomBytes(24).toString('base64url')}`;
  state.tokens.set(text, token);
  return text;
}

export interface SeedAccount {
  readonly email: string;
  readonly tokenCreators: readonly string[];
  readonly roles: Readonly<Record<string, readonly string[]>>;
}

export function addAccount(state: GcpState, { email, tokenCreators, roles }: SeedAccount): string {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  state.accounts.set(email, {
    email,
    keyId: randomBytes(20).toString('hex'),
    privateKey,
    publicKey,
    tokenCreators: new Set(tokenCreators),
    roles: new Map(Object.entries(roles)),
    disabled: false,
  });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}
