import type { Action } from '@mayfly/protocol';
import type { Secret } from './secret.ts';
import type { Provider, ResourceServer } from './template.ts';
import type { Actor, Confirmation } from './workload.ts';

/** How a credential can be taken back, computed from what is sent. Seconds. */
export type Revocability =
  | {
      readonly by: 'deleted' | 'denied' | 'cut';
      readonly guaranteedSeconds?: number;
      readonly typicalSeconds?: number;
    }
  | { readonly by: 'expired' };

export interface Enforcement {
  readonly resource: 'provider' | 'broker';
  readonly actions: 'provider' | 'broker';
  readonly ttl: 'provider' | 'broker';
}

/** Whose hands the credential goes to: a token says so, where the provider's form has room for it. */
export interface Holder {
  /** Who acts for the workload, the present one first. */
  readonly actors: readonly Actor[];
  /** The key that the credential is bound to; null: whoever holds it may use it. */
  readonly confirmation: Confirmation | null;
}

/** Everything a minter may know when it plans. Plain values: the same request gives the same plan. */
export interface MintRequest {
  readonly issuanceId: string;
  readonly taskId: string;
  readonly grantId: string;
  readonly generation: number;
  /** `ISSUERNAME/SUBJECT`. */
  readonly workload: string;
  readonly holder: Holder;
  readonly tool: string;
  /** The one thing asked for; already inside the grant. */
  readonly identifier: string;
  readonly actions: readonly Action[];
  readonly access: string;
  readonly mint: Readonly<Record<string, unknown>>;
  readonly provider: Provider;
  readonly server: ResourceServer | null;
  readonly now: Date;
  /** Absolute end, whole seconds; fixed before intend. */
  readonly notAfter: Date;
  readonly argsDigest: string | null;
}

/** The complete intention for one credential: plain JSON, stored before the cloud is called. */
export interface MintPlan {
  /** The minter's kind, `aws` or `token`. */
  readonly kind: string;
  /** `agent` credentials are answered; `base` sessions stay in this process. */
  readonly purpose: 'agent' | 'base';
  readonly issuanceId: string;
  readonly taskId: string;
  readonly grantId: string;
  readonly generation: number;
  readonly provider: string;
  readonly access: string;
  readonly identifier: string;
  readonly actions: readonly string[];
  /** The provider's own names of what is allowed. */
  readonly nativePermissions: readonly string[];
  /** RFC 3339, whole seconds. */
  readonly notAfter: string;
  /** The smallest thing the provider can take back: for AWS one SourceIdentity per (grant, generation). */
  readonly reach: string;
  readonly ends: Revocability;
  readonly enforcement: Enforcement;
  readonly issuedTokenType: string;
  /** `Bearer`, `DPoP` or `N_A` (RFC 8693 section 2.2.1). */
  readonly tokenType: string;
  /** The minter's own part: exactly what will be sent. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Minted {
  /** The string of the `access_token` member. */
  readonly credential: Secret<string>;
  /** As the provider answered; never later than the plan's notAfter, or the minter refuses. */
  readonly expiresAt: Date;
  /** SHA-256 hex of the provider's key id, or null: joins the cloud's own log. */
  readonly keyHash: string | null;
}

/** One thing about a Provider that was looked at where it is. */
export interface Inspection {
  readonly subject: string;
  readonly ok: boolean;
  /** What was seen, or what is missing, as the statement to add. Holds nothing that the provider wrote. */
  readonly says: string;
}

/** Effects a call may use. `signal` aborts at the mint deadline. */
export interface CallContext {
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** Turns a decision into one credential of one provider. One instance per broker; keeps no state that decides. */
export interface Minter {
  readonly kind: string;
  /** True when minting is signing in memory: mint first, then intend and deliver in one statement. */
  readonly local: boolean;
  /** Pure. A Refusal when the provider cannot narrow this far. */
  plan(request: MintRequest): MintPlan;
  /**
   * The session this plan must be cut from, when none that lives long enough is in memory; else undefined.
   * The exchange gives it an intent of its own before `mint` is called for it.
   */
  base?(plan: MintPlan, context: { issuanceId: string; now: Date }): MintPlan | undefined;
  /**
   * The one effectful call. Repeating it with the same plan never widens or prolongs anything.
   * For `purpose: 'base'` the secret is kept in memory and `credential` is a placeholder that opens nothing.
   */
  mint(plan: MintPlan, context: CallContext): Promise<Minted>;
  /** Idempotent, and right when mint never ran, half ran, or still runs elsewhere. */
  revoke(plan: MintPlan, context: CallContext): Promise<'gone' | 'was-absent' | 'wait-for-expiry'>;
  /** How many `revoke` calls under way at once become one call of the provider; left out, each is one. */
  readonly endsPerCall?: number;
  /** For `mayfly doctor`: what the provider can do and what is missing, seen from its answers. Changes nothing there. */
  inspect?(provider: Provider, context: CallContext): Promise<readonly Inspection[]>;
  /** Looks again at denials last seen longer ago than this; what somebody has undone is queued to be taken back anew. */
  watch?(olderThanSeconds: number, context: CallContext & { readonly newId: () => string }): Promise<void>;
}

/**
 * Written apart from the compilers: parses what would be sent and proves that it opens nothing beyond the
 * grant. Returns the first thing that is wrong, or null.
 */
export type PlanCheck = (
  plan: MintPlan,
  allowed: {
    readonly resource: string;
    readonly actions: readonly string[];
    readonly identifier: string;
    readonly notAfter: Date;
    readonly provider: Provider;
    readonly server: ResourceServer | null;
    readonly taskId: string;
    readonly grantId: string;
    readonly tool: string;
    readonly access: string;
    /** `ISSUERNAME/SUBJECT`. */
    readonly workload: string;
    readonly holder: Holder;
    /** The grant's `mint:` block. */
    readonly mint: Readonly<Record<string, unknown>>;
    readonly argsDigest: string | null;
  },
) => string | null;

/**
 * The same for a base session, which no agent ever holds: it must be the one that `plan` can be cut from, and nothing
 * that would escape what ends `plan`. Returns the first thing that is wrong, or null.
 */
export type BaseCheck = (base: MintPlan, plan: MintPlan) => string | null;
