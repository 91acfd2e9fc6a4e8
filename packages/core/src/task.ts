import type { Action } from '@mayfly/protocol';
import type { Actor, ClaimValue, Confirmation, Identity, SubjectId } from './workload.ts';

export const closedStates = ['completed', 'failed', 'abandoned', 'expired', 'deviated', 'cancelled'] as const;
export type ClosedState = (typeof closedStates)[number];
export type TaskState = 'open' | 'suspended' | ClosedState;

/** Everything but `state` and what SQL compares is fixed at opening, hence cacheable by id. */
export interface Task {
  readonly id: string;
  readonly template: string;
  readonly templateVersion: number;
  readonly ref: string | null;
  readonly params: Readonly<Record<string, string>>;
  readonly objective: string | null;
  /** The workload as it was attested at opening; claims as kept by its issuer's document. */
  readonly workload: Identity;
  /** See `ownerOf`. */
  readonly owner: string;
  /** Set when another than the workload opened it. */
  readonly opener: SubjectId | null;
  /** Who acts for the workload, the present one first; fixed at opening. */
  readonly actors: readonly Actor[];
  /** The key that opened it: its task tokens are bound to it. */
  readonly confirmation: Confirmation | null;
  readonly parentId: string | null;
  /** Levels of children that may still come beneath it. */
  readonly depthLeft: number;
  readonly openedAt: Date;
  readonly expiresAt: Date;
  readonly leaseSeconds: number;
  readonly grants: readonly Grant[];
}

/** A stored permission of a task. The mutable rest (state, uses, generation) is read in the statements. */
export interface Grant {
  readonly id: string;
  readonly taskId: string;
  readonly name: string;
  readonly tool: string;
  readonly provider: string;
  readonly access: string;
  /** Variables resolved; may still be a pattern. */
  readonly resource: string;
  readonly actions: readonly Action[];
  readonly mint: Readonly<Record<string, unknown>>;
  readonly ttl: { readonly defaultSeconds: number; readonly maxSeconds: number };
  readonly endsWithinSeconds: number | null;
  readonly budget: { readonly exchanges: number | null; readonly perMinute: number | null };
  /** Ids of the grants that it lies within, the topmost first: it ends with them, and spends their budgets too. */
  readonly above: readonly string[];
}

/** What is read beside the fixed facts, true only at the moment of reading. */
export interface TaskStatus {
  readonly state: TaskState;
  readonly stateReason: string | null;
  readonly outcome: string | null;
  readonly leaseExpiresAt: Date;
  readonly endedAt: Date | null;
  /**
   * By grant id; absent: 1. Raised by each resume, and where a credential is revoked: a SourceIdentity names (grant,
   * generation) and is never reused after a denial.
   */
  readonly generations: Readonly<Record<string, number>>;
}

export function generationOf({ generations }: Pick<TaskStatus, 'generations'>, grantId: string): number {
  return generations[grantId] ?? 1;
}

export function isClosed(state: TaskState): state is ClosedState {
  return state !== 'open' && state !== 'suspended';
}

/** The one transition table. A closed task never reopens. */
export const transitions: Readonly<Record<TaskState, readonly TaskState[]>> = {
  open: ['suspended', ...closedStates],
  suspended: ['open', ...closedStates],
  completed: [],
  failed: [],
  abandoned: [],
  expired: [],
  deviated: [],
  cancelled: [],
};

export type { ClaimValue };
