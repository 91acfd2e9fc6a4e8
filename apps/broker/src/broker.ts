import type { ExchangePorts, Identity, LifecyclePorts, PolicySet, Provider } from '@mayfly/core';
import type { Store } from '@mayfly/store';
import type { Config } from './config.ts';
import type { Keyring } from './keys/keyring.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { PolicyCache } from './policy-cache.ts';
import type { Nonces } from './proof/nonce.ts';
import type { SignIn } from './signin/sign-in.ts';
import type { Tokens } from './tokens.ts';

/** Everything a route may use. Made once by wire.ts; holds no request state. */
export interface Broker {
  readonly config: Config;
  readonly exchange: ExchangePorts;
  readonly lifecycle: LifecyclePorts;
  readonly policies: PolicyCache;
  readonly store: Store;
  readonly tokens: Tokens;
  readonly nonces: Nonces;
  keyring(): Keyring;
  /** People's sign-in; undefined while it is off. */
  readonly signIn: SignIn | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Requests being served now: counted at the door, looked at when draining. */
  readonly traffic: { inFlight: number };
  /** Set at SIGTERM: /readyz fails, no new work is taken. */
  readonly draining: () => boolean;
  /** Something is due now: spares the reaper's pause here; other replicas find the row by themselves. */
  nudge(): void;
}

export type { Identity, PolicySet, Provider };
