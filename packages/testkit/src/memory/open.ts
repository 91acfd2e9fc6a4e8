import {
  type Attested,
  isClosed,
  isFrozen,
  type Opening,
  type OpenResult,
  type Task,
  type Use,
} from '@mayfly/core';
import type { Reason } from '@mayfly/protocol';
import { attestedAt, isCut, isTaskCut } from './cuts.ts';
import { WindowCounter } from './limits.ts';
import { isQuarantined } from './quarantine.ts';
import type { MemoryRows, TaskRow } from './rows.ts';

export type Opened = Exclude<OpenResult, { kind: 'opened' }> | { readonly kind: 'opened' };

/** `open_task` of the migrations: limits, ref, task, grants, lease; the caller's transaction undoes it. */
export function openTaskRow(
  rows: MemoryRows,
  opening: Opening,
  { epoch, attested }: { epoch: number; attested: readonly Attested[] },
): Opened {
  const { task, countedAs, maxOpen, opensPerHour, childrenMax, endsOnChange, onLapse, audit } = opening;
  const orphan = refuseChild(rows, task.parentId, childrenMax ?? 0);
  if (orphan !== null) return { kind: 'refused', reason: orphan };
  if (rows.epoch !== epoch) return { kind: 'stale', epoch: rows.epoch };
  const named = { templates: [task.template], issuers: [task.workload.issuerName], providers: [] };
  if (isFrozen(rows, named)) return { kind: 'refused', reason: 'frozen' };
  if (isQuarantined(rows, task)) return { kind: 'refused', reason: 'quarantined' };
  if (isCut(rows, attested)) return { kind: 'refused', reason: 'session_revoked' };
  const hour = new WindowCounter(rows, ['opensPerHour', countedAs, task.template], 3600);
  const limited = hour.refuseAt(opensPerHour);
  if (limited !== null) return limited;
  const same = [...rows.tasks.values()].filter((row) => row.task.template === task.template);
  const live = same.filter((row) => row.countedAs === countedAs && !isClosed(row.state)).length;
  if (maxOpen !== null && live >= maxOpen) return { kind: 'refused', reason: 'too_many_open_tasks' };
  if (rows.tasks.has(task.id) || same.some((row) => row.task.owner === task.owner && sameRef(row.task, task)))
    return { kind: 'ref_taken' };
  const lease = newLease(rows, { task, onLapse });
  const open = { state: 'open', stateReason: null, suspendedAlong: false, outcome: null } as const;
  rows.tasks.set(task.id, {
    task,
    countedAs,
    endsOnChange,
    onLapse,
    attestedAt: attestedAt(rows, task, attested),
    ...open,
    ...lease,
    endedAt: null,
  });
  for (const grant of task.grants)
    rows.grants.set(grant.id, { grant, uses: 0, state: 'active', generation: 1 });
  hour.raise();
  const dueAt = new Date(Math.min(rows.inSeconds(task.leaseSeconds).getTime(), task.expiresAt.getTime()));
  const nothing = { taskId: null, notAfter: null, requestedAt: null, reach: null, attempts: 0 };
  rows.work.set(task.id, { id: task.id, kind: 'task', state: 'task', dueAt, ...nothing });
  rows.append(audit);
  return { kind: 'opened' };
}

function sameRef(left: Task, right: Task): boolean {
  return left.ref !== null && left.ref === right.ref && left.parentId === right.parentId;
}

/** `refuse_task`: why it gives nothing now; it and each one above must be open, in time, and within its lease, and not cut. */
export function refuseTask(rows: MemoryRows, id: string): Reason | null {
  const [row, now] = [rows.tasks.get(id), rows.now()];
  const lapsed = row?.state === 'open' && row.leaseUntil <= now;
  const over = lapsed && row.onLapse !== 'suspend';
  if (row === undefined || isClosed(row.state) || row.task.expiresAt <= now || over) return 'task_ended';
  const above = row.task.parentId === null ? null : refuseTask(rows, row.task.parentId);
  if (above === 'task_ended') return above;
  if (isTaskCut(rows, id)) return 'session_revoked';
  return above ?? (row.state === 'suspended' || lapsed ? 'task_suspended' : null);
}

/** `refuse_child`: the task above must give, and have room. */
function refuseChild(rows: MemoryRows, parentId: string | null, max: number): Reason | null {
  if (parentId === null) return null;
  const refused = refuseTask(rows, parentId);
  if (refused !== null) return refused;
  const children = [...rows.tasks.values()].filter(({ task }) => task.parentId === parentId);
  return children.length >= max ? 'child_not_allowed' : null;
}

/** `use_once`: all or nothing; the refusal of the first, by digest, that was used before. */
export function useOnce(rows: MemoryRows, uses: readonly Use[]): Reason | null {
  const taken: string[] = [];
  for (const { digest, replayed } of uses.toSorted((one, two) => (one.digest < two.digest ? -1 : 1))) {
    if (rows.replay.has(digest)) {
      for (const given of taken) rows.replay.delete(given);
      return replayed;
    }
    rows.replay.set(digest, true);
    taken.push(digest);
  }
  return null;
}

/** `renew_lease`: at most eight times per lease; an open task only, and a lapsed lease stays lapsed. */
export function renewLease(rows: MemoryRows, taskId: string): void {
  const row = rows.tasks.get(taskId);
  if (row?.state !== 'open' || row.leaseUntil <= rows.now()) return;
  const until = row.onLapse === 'note' ? (row.silentAt ?? row.task.openedAt) : row.leaseUntil;
  if (until >= rows.inSeconds(row.task.leaseSeconds * 0.875)) return;
  rows.tasks.set(taskId, { ...row, ...newLease(rows, row) });
}

/** `renewed_lease` and `next_silence`. */
export function newLease(
  rows: MemoryRows,
  { task, onLapse }: Pick<TaskRow, 'task' | 'onLapse'>,
): Pick<TaskRow, 'leaseUntil' | 'silentAt'> {
  const beat = rows.inSeconds(task.leaseSeconds);
  return onLapse === 'note'
    ? { leaseUntil: task.expiresAt, silentAt: beat }
    : { leaseUntil: beat, silentAt: null };
}
