import { expect } from '@jest/globals';
import {
  type Minted,
  type Minter,
  type MintPlan,
  type MintRequest,
  type PlanCheck,
  Refusal,
} from '@mayfly/core';
import type { Action } from '@mayfly/protocol';
import type { CloudFault } from '../fake-cloud.ts';
import type { Random } from '../random.ts';

/** What somebody may try with a credential. */
export interface Wanted {
  readonly action: Action;
  readonly identifier: string;
}

/** One generated decision: what is asked for, and what lies beside it and must stay closed. */
export interface Scope {
  /** Differs from the subject's request: identifier, actions, access, mint ... */
  readonly request: Partial<MintRequest>;
  /** The grant's resource; default the subject's own. */
  readonly resource?: string;
  /**
   * Sibling, parent, prefix, other account, other action on the same thing ... At least one other action on the thing,
   * where the access knows more than one verb, and one other thing under a granted action.
   */
  readonly neighbours: readonly Wanted[];
}

/** The cloud behind a minter, a stand-in as a rule, as far as the suite must play with it. */
export interface CloudUnderTest {
  /** What the next call that mints or takes back does. */
  failNext(fault: CloudFault): void;
  /** Faults beyond the five basic ones that `failNext` can play. */
  readonly plays?: readonly CloudFault[];
  /** Settles once a call hangs. */
  readonly hanging: Promise<void>;
  /** What the cloud itself has made for agents. */
  readonly minted: readonly { readonly issuanceId: string }[];
  /** Lets the next mint arrive, and take effect only at `release`. */
  hold?(): { readonly held: Promise<void>; release(): void };
  /** Would the cloud let the bearer of this credential in now? */
  accepts?(minted: Minted): boolean | Promise<boolean>;
}

export interface MinterUnderTest {
  readonly minter: Minter;
  readonly check: PlanCheck;
  readonly request: MintRequest;
  /** The resource of the grant that `request` was decided under. */
  readonly resource: string;
  /** Something of the same form outside that resource. */
  readonly outside: string;
  /** For a minter that calls a cloud. */
  readonly cloud?: CloudUnderTest;
  /** Does what this plan would send open that? Judged on what is sent: by a stand-in, or by reading it. */
  opens?(plan: MintPlan, wanted: Wanted): boolean | Promise<boolean>;
  /** The next generated scope. */
  scope?(random: Random): Scope;
  /** Strings that may be shown nowhere, as far as they exist by now: assertions, keys, tokens. */
  secrets?(): readonly string[];
  /** Everything that was reported to the log. */
  reported?(): readonly unknown[];
  /** Another Provider of this minter, at another cloud where everything has the same names. */
  readonly second?: {
    readonly request: MintRequest;
    accepts(minted: Minted): boolean | Promise<boolean>;
  };
  /** From now on the Provider of `request` says that it is at that other cloud. */
  move?(): void;
  close?(): void | Promise<void>;
}

/** A claim that every minter holds; it throws where the subject does not. */
export interface Claim {
  readonly name: string;
  /** What the subject must give for it; without it the claim is skipped, and says so. */
  lacks?(subject: MinterUnderTest): string | false;
  hold(subject: MinterUnderTest): void | Promise<void>;
}

export const never = new AbortController().signal;

export function planOf({ minter, request }: MinterUnderTest, change: Partial<MintRequest> = {}): MintPlan {
  return minter.plan({ ...request, ...change });
}

/** Undefined where the minter says that the provider cannot narrow this far, or has no such ceiling. */
export function planOrRefusal(
  subject: MinterUnderTest,
  change: Partial<MintRequest> = {},
): MintPlan | undefined {
  try {
    return planOf(subject, change);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

export function mintOf({ minter, request }: MinterUnderTest, plan: MintPlan, signal = never) {
  return minter.mint(plan, { now: request.now, signal });
}

export function revokeOf({ minter, request }: MinterUnderTest, plan: MintPlan, signal = never) {
  return minter.revoke(plan, { now: request.now, signal });
}

/** What the check says of a plan when this was decided. */
export function checkOf(
  { request, resource, check }: MinterUnderTest,
  plan: MintPlan,
  change: Partial<Parameters<PlanCheck>[1]> = {},
): string | null {
  const { actions, identifier, notAfter, provider, server, taskId, grantId } = request;
  const { tool, access, workload, holder, mint, argsDigest } = request;
  const target = { resource, actions, identifier, notAfter, provider, server, access, mint };
  return check(plan, { ...target, taskId, grantId, tool, workload, holder, argsDigest, ...change });
}

/** As a plan comes back from the database. */
export function readBack(plan: MintPlan): MintPlan {
  return JSON.parse(JSON.stringify(plan));
}

/** What `revoke` may say once the credential was minted. */
export function endOf({ ends }: MintPlan): 'gone' | 'wait-for-expiry' {
  return ends.by === 'expired' ? 'wait-for-expiry' : 'gone';
}

/** What it may say where it may know nothing of a credential: before the mint, again, or after a lost answer. */
export function endsWithout(plan: MintPlan): readonly string[] {
  const { ends } = plan;
  // Nothing was promised of when: a process that does not hold what it needs to end it says so.
  const unpromised = ends.by !== 'expired' && ends.guaranteedSeconds === undefined;
  return [endOf(plan), 'was-absent', ...(unpromised ? ['wait-for-expiry'] : [])];
}

export async function faultOf(run: Promise<unknown>): Promise<unknown> {
  const error: unknown = await run.then(
    (value) => new Error(`no fault, but ${String(value)}`),
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: 'Fault' });
  return error;
}
