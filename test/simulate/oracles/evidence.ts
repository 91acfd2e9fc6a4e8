import type { Intent, PolicySet } from '@mayfly/core';
import type { MemoryRows } from '@mayfly/testkit';
import type { Cloud, CloudKind } from '../clouds.ts';

/** What the invariants of architecture.md section 6 are asked of: the tables, and the clouds' own ledgers. */
export interface Evidence {
  readonly rows: MemoryRows;
  readonly clouds: Readonly<Record<CloudKind, Cloud>>;
  policy(): PolicySet;
  /** Nothing fails in this run. */
  readonly isCalm: boolean;
  /** Says which invariant does not hold, and how. */
  violated(claim: string): void;
}

/** Why a task gives nothing now: itself or one above is closed, suspended, over, or has lost its lease. */
export function whyNothing({ rows }: Evidence, taskId: string): string | null {
  const now = rows.now();
  for (let id: string | null = taskId; id !== null; ) {
    const row = rows.tasks.get(id);
    if (row === undefined) return 'its task is not there';
    if (row.state !== 'open') return `task ${id} is ${row.state}`;
    if (row.task.expiresAt <= now) return `the time of task ${id} is over`;
    if (row.leaseUntil <= now) return `the lease of task ${id} is lost`;
    id = row.task.parentId;
  }
  return null;
}

/** Why what was planned so is to be taken back: its generation, its task or one above has ended or is suspended. */
export function whyEnded(
  { rows }: Evidence,
  grantId: string | null,
  plan: Pick<Intent['plan'], 'generation'> | null,
): string | null {
  const grant = rows.grants.get(grantId ?? '');
  if (grant === undefined) return 'its grant is not there';
  if (plan !== null && grant.generation > plan.generation) return 'its generation is over';
  for (let id: string | null = grant.grant.taskId; id !== null; ) {
    const row = rows.tasks.get(id);
    if (row === undefined) return 'its task is not there';
    if (row.state !== 'open') return `task ${id} is ${row.state}`;
    id = row.task.parentId;
  }
  return null;
}
