import type { CryptoKey, JWK } from 'jose';
import type { Faults } from '../aws/faults.ts';

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface Pod {
  readonly name: string;
  readonly uid: string;
  readonly account: ServiceAccount;
}

export interface StoredSecret {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly annotations: unknown;
}

/** What a user may do: RBAC as far as it is needed here. A rule without names is for every name; `*` is everything. */
export interface Rule {
  readonly verbs: readonly string[];
  /** `secrets`, `serviceaccounts/token`, `configmaps`. */
  readonly resource: string;
  readonly namespace: string;
  readonly names?: readonly string[];
}

/** An external issuer whose tokens are users here (`AuthenticationConfiguration`, claim `sub`, without a prefix). */
export interface TrustedOidc {
  readonly issuer: string;
  readonly audience: string;
}

/** One line of the API server's audit log. Never a token. */
export interface ClusterRecord {
  readonly at: string;
  readonly user: string;
  /** `JTI=...` of a service account's token. */
  readonly credentialId: string | null;
  readonly verb: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly status: number;
  /** Of a token that was made. */
  readonly issued?: { readonly credentialId: string; readonly boundTo: string | null };
}

export interface State {
  readonly issuer: string;
  readonly brokerToken: string;
  readonly jwk: JWK;
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
  readonly kid: string;
  readonly accounts: Map<string, ServiceAccount>;
  readonly pods: Map<string, Pod>;
  readonly secrets: Map<string, StoredSecret>;
  readonly configMaps: Map<string, Readonly<Record<string, string>>>;
  readonly rules: Map<string, Rule[]>;
  readonly trusted: TrustedOidc[];
  readonly faults: Faults;
  readonly ledger: ClusterRecord[];
  readonly asked: string[];
  /** Tokens that were good, and until when that is remembered. */
  readonly seen: Map<string, { readonly user: string; readonly until: number }>;
  readonly rememberMs: number;
  now(): Date;
  broken: boolean;
}

export function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

export function usernameOf({ namespace, name }: Pick<ServiceAccount, 'namespace' | 'name'>): string {
  return `system:serviceaccount:${namespace}:${name}`;
}
