import type { DenyStore, Provider } from '@mayfly/core';

export interface FederationSigner {
  /** An assertion of the federation issuer; it goes to the cloud's token service and nowhere else. */
  sign(input: {
    readonly provider: string;
    readonly purpose: 'mint' | 'revoke';
    readonly audience: string;
    readonly sourceIdentity?: string;
  }): Promise<string>;
}

/** What the operator's configuration lets a Provider use of the broker's own disk; documents only point at it. Rejects otherwise. */
export interface OperatorFiles {
  /** A bearer token that may be shown to this origin (`allowTokenFiles`), read at each use. */
  token(file: string, origin: string): Promise<string>;
  /** PEM of an authority. */
  authority(file: string): Promise<string>;
  /** The private key, PEM, that the configuration names for this Provider (`providerKeys`), read at each use. */
  privateKey(provider: string): Promise<string>;
}

/** What the broker gives every minter of a cloud. */
export interface MinterServices {
  readonly federation: FederationSigner;
  readonly deny: DenyStore;
  /** Left out: no file is allowed. */
  readonly files?: OperatorFiles;
  /** The Provider document in force; undefined when it is gone (revocation then waits for expiry). */
  provider(name: string): Provider | undefined;
  now(): Date;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}
