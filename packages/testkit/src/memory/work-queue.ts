import type { AuditEvent, Work, WorkQueue } from '@mayfly/core';
import type { Random } from '../random.ts';
import type { MemoryRows, WorkRow } from './rows.ts';

/** The reaper's side of storage, as `claim_work`, `settle_work` and `task_due`; the jitter is the seed's. */
export function createMemoryQueue(rows: MemoryRows, random: Random): WorkQueue {
  return {
    lanes: async () => [
      ...new Set(
        [...rows.work.values()].filter(({ dueAt }) => dueAt <= rows.now()).map((row) => laneOf(rows, row)),
      ),
    ],
    claim: async ({ lane, limit }) => {
      const now = rows.now();
      const due = [...rows.work.values()].filter((row) => row.dueAt <= now && laneOf(rows, row) === lane);
      due.sort((left, right) => left.dueAt.getTime() - right.dueAt.getTime());
      return due.slice(0, limit).map((row) => claim(rows, row, random));
    },
    settle: async (ends) =>
      rows.atomically(() => {
        for (const { issuanceId, method, evidence, audit } of ends) {
          const work = rows.work.get(issuanceId);
          // Settled by another replica meanwhile: one end, one audit row.
          if (work === undefined) continue;
          rows.work.delete(issuanceId);
          const end = { issuanceId, at: rows.now(), method, requestedAt: work.requestedAt, evidence };
          rows.ends.set(issuanceId, [...rows.endsOf(issuanceId), end]);
          rows.append(audit);
        }
      }),
    postpone: async (ids, seconds) => {
      for (const id of ids) {
        const work = rows.work.get(id);
        if (work !== undefined) rows.work.set(id, { ...work, dueAt: rows.inSeconds(seconds) });
      }
    },
    taskDue: async (taskId, silence) => rows.atomically(() => taskDue(rows, taskId, silence)),
  };
}

/** The provider; a task is nobody's. */
function laneOf(rows: MemoryRows, { id, kind }: WorkRow): string {
  return kind === 'task' ? '' : (rows.issuances.get(id)?.plan?.provider ?? '');
}

function claim(rows: MemoryRows, row: WorkRow, random: Random): Work {
  const backoffSeconds = Math.min(60, 2 ** Math.min(row.attempts, 6)) * (0.5 + random.fraction() / 2);
  const attempts = row.attempts + 1;
  const state = row.state === 'intended' ? 'reaped' : row.state;
  rows.work.set(row.id, { ...row, state, attempts, dueAt: rows.inSeconds(backoffSeconds) });
  if (state === 'task') return { kind: 'task', taskId: row.id, attempts };
  const plan = rows.issuances.get(row.id)?.plan;
  if (plan == null || row.notAfter === null) throw new Error(`work ${row.id} has no issuance`);
  const secondsPastNotAfter = (rows.now().getTime() - row.notAfter.getTime()) / 1000;
  return { kind: 'issuance', issuanceId: row.id, state, plan, attempts, secondsPastNotAfter };
}

function taskDue(
  rows: MemoryRows,
  taskId: string,
  silence: AuditEvent,
): 'abandoned' | 'lapsed' | 'expired' | 'rearmed' | 'gone' {
  const row = rows.tasks.get(taskId);
  if (row === undefined || (row.state !== 'open' && row.state !== 'suspended')) {
    rows.work.delete(taskId);
    return 'gone';
  }
  const { task, state, leaseUntil } = row;
  if (task.expiresAt <= rows.now()) return 'expired';
  if (state === 'open' && leaseUntil <= rows.now()) return row.onLapse === 'suspend' ? 'lapsed' : 'abandoned';
  if (state === 'open' && row.silentAt !== null && row.silentAt <= rows.now()) {
    rows.tasks.set(taskId, { ...row, silentAt: null });
    rows.append(silence);
  }
  const lookAgain = row.onLapse === 'note' ? rows.inSeconds(task.leaseSeconds) : leaseUntil;
  const dueAt = state === 'open' && lookAgain < task.expiresAt ? lookAgain : task.expiresAt;
  const work = rows.work.get(taskId);
  if (work !== undefined) rows.work.set(taskId, { ...work, dueAt, attempts: 0 });
  return 'rearmed';
}
