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

/** What the broker gives every minter of a cloud. */
export interface MinterServices {
  readonly federation: FederationSigner;
  readonly deny: DenyStore;
  /** The Provider document in force; undefined when it is gone (revocation then waits for expiry). */
  provider(name: string): Provider | undefined;
  now(): Date;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}
