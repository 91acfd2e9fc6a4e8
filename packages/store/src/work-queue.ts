import { type End, Fault, type MintPlan, type Work, type WorkQueue } from '@mayfly/core';
import type { Statements } from './database.ts';
import { encodeAudit } from './encode.ts';

interface ClaimedRow {
  readonly id: string;
  readonly kind: 'issuance' | 'task';
  readonly state: 'reaped' | 'delivered' | 'revoking' | 'task';
  readonly attempts: number;
  readonly plan: MintPlan | null;
  readonly seconds_past: number | null;
}

/** The reaper's side: rows only, claimed in one statement. */
export function createWorkQueue(database: Statements): WorkQueue {
  return {
    lanes: async () => {
      const rows = await database.call<{ lane: string }>('due_lanes', 'select due_lanes() as lane', []);
      return rows.map(({ lane }) => lane);
    },
    claim: async ({ lane, limit }) => {
      const text = 'select * from claim_work($1, $2)';
      const rows = await database.call<ClaimedRow>('claim_work', text, [lane, limit]);
      return rows.map(workFromRow);
    },
    settle: async (ends) => {
      await database.call('settle_work', 'select settle_work($1::jsonb)', [
        JSON.stringify(ends.map(encodeEnd)),
      ]);
    },
    postpone: async (ids, seconds) => {
      const text =
        'update work set due_at = clock_timestamp() + make_interval(secs => $2) where id = any($1::uuid[])';
      await database.call('postpone_work', text, [ids, seconds]);
    },
    taskDue: async (taskId, silence) => {
      const [row] = await database.call<{ due: 'abandoned' | 'lapsed' | 'expired' | 'rearmed' | 'gone' }>(
        'task_due',
        'select task_due($1::uuid, $2::jsonb) as due',
        [taskId, JSON.stringify(encodeAudit(silence))],
      );
      return row?.due ?? 'gone';
    },
  };
}

function workFromRow({ id, kind, state, attempts, plan, seconds_past: past }: ClaimedRow): Work {
  if (kind === 'task') return { kind, taskId: id, attempts };
  if (plan === null || past === null || state === 'task')
    throw new Fault('internal', { effect: 'none', detail: `work ${id} has no issuance` });
  return { kind, issuanceId: id, state, plan, attempts, secondsPastNotAfter: past };
}

function encodeEnd({ issuanceId, method, evidence, audit }: End): Record<string, unknown> {
  return { issuanceId, method, evidence, audit: encodeAudit(audit) };
}

/** What the reaper has before it, for metrics; counts stop at 10,000. */
export interface QueueStatus {
  readonly lanes: readonly { readonly lane: string; readonly due: number; readonly lagSeconds: number }[];
  /** Ends that were asked for and that a provider has yet to confirm, and the age of the oldest. */
  readonly unconfirmed: number;
  readonly oldestSeconds: number;
  /** Of ended tasks, and only their expiry ends them. */
  readonly irrevocable: number;
}

export async function readQueueStatus(database: Statements): Promise<QueueStatus> {
  const rows = await database.call<{
    lane: string;
    due: number;
    lag_seconds: number | null;
    unconfirmed: number;
    oldest_seconds: number | null;
    irrevocable: number;
  }>('queue_status', 'select * from queue_status()', []);
  const [first] = rows;
  return {
    lanes: rows.map(({ lane, due, lag_seconds: lag }) => ({ lane, due, lagSeconds: lag ?? 0 })),
    unconfirmed: first?.unconfirmed ?? 0,
    oldestSeconds: first?.oldest_seconds ?? 0,
    irrevocable: first?.irrevocable ?? 0,
  };
}
