import type { AuditEvent, ClosedState, Ending, TaskFound, TaskStatus, Tasks } from '@mayfly/core';
import { isClosed } from '@mayfly/core';
import type { Reason } from '@mayfly/protocol';
import { isTaskCut } from './cuts.ts';
import { type MemoryFacts, readTask } from './facts.ts';
import { newLease, openTaskRow, refuseTask, useOnce } from './open.ts';
import type { IssuanceRow, MemoryRows, TaskRow } from './rows.ts';

/** Outcomes that the owner names; the other ends happen to a task. */
const outcomes: ReadonlySet<ClosedState> = new Set(['completed', 'failed', 'cancelled']);

/** The task side of storage, as `open_with_uses`, `close_task`, `suspend_task`, `resume_task` and `task_ending`. */
export function createMemoryTasks(rows: MemoryRows, facts: MemoryFacts): Tasks {
  const read = (id: string): TaskFound | undefined => {
    const found = readTask(rows, id);
    return found === undefined ? undefined : facts.put(found);
  };
  const change = <T>(id: string, run: () => T): T => {
    facts.forget(id);
    return rows.atomically(run);
  };
  return {
    find: async (id, { fresh = false } = {}) => (fresh ? undefined : facts.get(id)) ?? read(id),
    findByRef: async ({ template, owner, ref, parentId }) => {
      const row = [...rows.tasks.values()].find(
        ({ task }) =>
          task.template === template &&
          task.owner === owner &&
          task.ref === ref &&
          task.parentId === parentId,
      );
      return row === undefined ? undefined : read(row.task.id);
    },
    findByGrant: async (grantId) => {
      const grant = rows.grants.get(grantId)?.grant;
      return facts.byGrant(grantId) ?? (grant === undefined ? undefined : read(grant.taskId));
    },
    open: async (opening, { epoch, use }) =>
      rows.atomically(() => {
        const seen = use.uses.find(({ digest }) => rows.replay.has(digest));
        if (seen !== undefined) return { kind: 'refused', reason: seen.replayed };
        const opened = openTaskRow(rows, opening, { epoch, attested: use.attested });
        if (opened.kind !== 'opened') return opened;
        useOnce(rows, use.uses);
        return { kind: 'opened', found: facts.opened(opening.task) };
      }),
    use: async (uses) => useOnce(rows, uses),
    heartbeat: async (id) => {
      const refused = heartbeat(rows, id);
      const found = read(id);
      if (found === undefined || refused === null) return found?.status;
      if (refused === 'session_revoked') return cutOff(found);
      return refused === 'task_ended' ? overByTime(rows, found) : notGiving(found);
    },
    end: async (id, end) => change(id, () => closeTask(rows, id, end)),
    endMany: async (ends) =>
      rows.atomically(() => {
        for (const [id, end] of [...ends].sort(([one], [other]) => (one < other ? -1 : 1))) {
          closeTask(rows, id, end);
          facts.forget(id);
        }
      }),
    suspend: async (id, suspended) => change(id, () => suspendTask(rows, id, suspended)),
    resume: async (id, { audit }) => {
      const resumed = change(id, () => resume(rows, id, audit));
      const found = read(id);
      if (found === undefined) return undefined;
      const isOver = !resumed && refuseTask(rows, id) === 'session_revoked';
      return { resumed, status: isOver ? cutOff(found) : found.status };
    },
    ending: async (id) => endingOf(rows, id),
    endGrant: async (grantId, { audit }) => rows.atomically(() => closeGrant(rows, grantId, audit)),
  };
}

function heartbeat(rows: MemoryRows, id: string): Reason | null {
  const [row, refused] = [rows.tasks.get(id), refuseTask(rows, id)];
  if (row === undefined || refused === 'task_ended' || refused === 'session_revoked') return refused;
  const lapsed = row.state === 'open' && row.leaseUntil <= rows.now();
  if (!lapsed) rows.tasks.set(id, { ...row, ...newLease(rows, row) });
  return refused;
}

function cutOff({ status }: TaskFound): TaskStatus {
  return isClosed(status.state) ? status : { ...status, state: 'cancelled', stateReason: 'session revoked' };
}

function notGiving({ status }: TaskFound): TaskStatus {
  return status.state === 'open' ? { ...status, state: 'suspended', stateReason: 'lease lost' } : status;
}

function overByTime(rows: MemoryRows, { task, status }: TaskFound): TaskStatus {
  if (isClosed(status.state)) return status;
  if (task.expiresAt <= rows.now()) return { ...status, state: 'expired', stateReason: 'its time is over' };
  const lapsed = status.state === 'open' && status.leaseExpiresAt <= rows.now();
  if (lapsed) return { ...status, state: 'abandoned', stateReason: 'lease lost' };
  return { ...status, state: 'cancelled', stateReason: 'parent task ended' };
}

/** `close_task`. */
export function closeTask(
  rows: MemoryRows,
  id: string,
  {
    state,
    reason,
    audit,
    beneath: type,
  }: { state: ClosedState; reason: string; audit: AuditEvent; beneath?: string },
): Ending | undefined {
  const row = rows.tasks.get(id);
  if (row === undefined || isClosed(row.state)) return endingOf(rows, id);
  const lapsed = row.state === 'open' && row.leaseUntil <= rows.now();
  if (state === 'abandoned' && !lapsed) return endingOf(rows, id);
  const outcome = outcomes.has(state) ? state : null;
  const endedAt = rows.now();
  rows.tasks.set(id, { ...row, state, stateReason: reason, outcome, endedAt });
  rows.append(audit);
  for (const beneath of beneathOf(rows, id, ({ state: one }) => !isClosed(one))) {
    const cancelled = { state: 'cancelled', stateReason: 'parent task ended', outcome: 'cancelled' } as const;
    rows.tasks.set(beneath.task.id, { ...beneath, ...cancelled, endedAt });
    rows.append(derived({ ...audit, type: type ?? audit.type }, beneath, cancelled));
  }
  for (const one of treeOf(rows, id)) {
    for (const grant of rows.grantsOf(one)) rows.grants.set(grant.grant.id, { ...grant, state: 'ended' });
    takeBack(rows, one);
    rows.work.delete(one);
    for (const { taskId, evidence } of rows.sightings.values())
      if (taskId === one) rows.sightings.delete(evidence);
  }
  return endingOf(rows, id);
}

/** `close_grant`. */
function closeGrant(rows: MemoryRows, id: string, audit: AuditEvent): boolean {
  const row = rows.grants.get(id);
  if (row === undefined || row.state === 'ended') return false;
  rows.append(audit);
  const below = treeOf(rows, row.grant.taskId)
    .flatMap((one) => rows.grantsOf(one))
    .filter(({ grant, state }) => grant.above.includes(id) && state !== 'ended');
  for (const one of [row, ...below]) {
    rows.grants.set(one.grant.id, { ...one, state: 'ended' });
    takeBack(rows, one.grant.taskId, one.grant.id);
  }
  return true;
}

/** `suspend_task`. */
export function suspendTask(
  rows: MemoryRows,
  id: string,
  { reason, audit, beneath: type }: { reason: string; audit: AuditEvent; beneath?: string },
): Ending | undefined {
  const row = rows.tasks.get(id);
  const holdsLease = ({ state, leaseUntil, onLapse }: TaskRow) =>
    state === 'open' && (leaseUntil > rows.now() || onLapse === 'suspend');
  if (row === undefined || row.task.expiresAt <= rows.now() || !(holdsLease(row) || isAlong(row)))
    return endingOf(rows, id);
  rows.tasks.set(id, { ...row, state: 'suspended', stateReason: reason, suspendedAlong: false });
  rows.append(audit);
  for (const beneath of beneathOf(rows, id, holdsLease)) {
    const suspended = { state: 'suspended', stateReason: 'parent task suspended' } as const;
    rows.tasks.set(beneath.task.id, { ...beneath, ...suspended, suspendedAlong: true });
    rows.append(derived({ ...audit, type: type ?? audit.type }, beneath, suspended));
  }
  for (const one of treeOf(rows, id)) {
    for (const grant of rows.grantsOf(one))
      if (grant.state === 'active') rows.grants.set(grant.grant.id, { ...grant, state: 'suspended' });
    takeBack(rows, one);
  }
  return endingOf(rows, id);
}

function resume(rows: MemoryRows, id: string, audit: AuditEvent): boolean {
  const row = rows.tasks.get(id);
  if (row?.state !== 'suspended' || row.task.expiresAt <= rows.now()) return false;
  if (row.task.parentId !== null && refuseTask(rows, row.task.parentId) !== null) return false;
  if (isTaskCut(rows, id)) return false;
  reopen(rows, row);
  rows.append(audit);
  for (const beneath of suspendedAlongWith(rows, id)) {
    reopen(rows, beneath);
    rows.append(derived(audit, beneath, { state: 'open', stateReason: 'parent task resumed' }));
  }
  return true;
}

/** Down to the first that was suspended by itself, or whose time is over. */
function suspendedAlongWith(rows: MemoryRows, id: string): readonly TaskRow[] {
  const children = [...rows.tasks.values()].filter(
    (row) => row.task.parentId === id && isAlong(row) && row.task.expiresAt > rows.now(),
  );
  return children.flatMap((child) => [child, ...suspendedAlongWith(rows, child.task.id)]);
}

function isAlong({ state, suspendedAlong }: TaskRow): boolean {
  return state === 'suspended' && suspendedAlong;
}

function reopen(rows: MemoryRows, row: TaskRow): void {
  const { id } = row.task;
  const open = { state: 'open', stateReason: null, suspendedAlong: false } as const;
  rows.tasks.set(id, { ...row, ...open, ...newLease(rows, row) });
  for (const grant of rows.grantsOf(id))
    if (grant.state === 'suspended')
      rows.grants.set(grant.grant.id, { ...grant, state: 'active', generation: grant.generation + 1 });
  const work = rows.work.get(id);
  if (work !== undefined) rows.work.set(id, { ...work, dueAt: rows.now() });
}

/** The task and every one beneath it. */
function treeOf(rows: MemoryRows, id: string): readonly string[] {
  const children = [...rows.tasks.values()].filter(({ task }) => task.parentId === id);
  return [id, ...children.flatMap(({ task }) => treeOf(rows, task.id))];
}

function beneathOf(rows: MemoryRows, id: string, wanted: (row: TaskRow) => boolean): readonly TaskRow[] {
  const [, ...beneath] = treeOf(rows, id);
  return beneath.flatMap((one) => rows.tasks.get(one) ?? []).filter(wanted);
}

/** `append_derived`: what happened to a task beneath because of the one above. */
function derived(
  event: AuditEvent,
  { task: { id } }: TaskRow,
  { state, stateReason: reason }: Pick<TaskRow, 'state' | 'stateReason'>,
): AuditEvent {
  return { ...event, id: `${event.id}:${id}`, taskId: id, body: { parent: event.taskId, reason, state } };
}

function takeBack(rows: MemoryRows, taskId: string, grantId: string | null = null): void {
  const now = rows.now();
  for (const work of rows.work.values()) {
    if (work.taskId !== taskId || (work.state !== 'intended' && work.state !== 'delivered')) continue;
    if (grantId !== null && rows.issuances.get(work.id)?.record.grantId !== grantId) continue;
    const state = work.state === 'intended' ? 'reaped' : 'revoking';
    rows.work.set(work.id, { ...work, state, requestedAt: now, dueAt: now, attempts: 0 });
  }
}

function endingOf(rows: MemoryRows, id: string): Ending | undefined {
  const row = rows.tasks.get(id);
  if (row === undefined) return undefined;
  const tree = new Set(treeOf(rows, id));
  const agents = [...rows.issuances.values()].filter(
    ({ record, decision }) =>
      tree.has(record.taskId ?? '') && decision === 'allow' && record.purpose === 'agent',
  );
  const seen = agents.map((issuance) => ({
    how: howItEnds(rows, issuance),
    notAfter: issuance.record.notAfter,
  }));
  const count = (how: string) => seen.filter((one) => one.how === how).length;
  const alive = seen.filter(({ how }) => how !== 'confirmed').map(({ notAfter }) => notAfter?.getTime() ?? 0);
  return {
    state: row.state,
    total: seen.length,
    confirmed: count('confirmed'),
    pending: count('pending'),
    byExpiry: count('by_expiry'),
    worstCaseAt: alive.length === 0 ? null : new Date(Math.max(...alive)),
  };
}

function howItEnds(
  rows: MemoryRows,
  { record, plan, local }: IssuanceRow,
): 'confirmed' | 'by_expiry' | 'pending' {
  const work = rows.work.get(record.id);
  const onlyExpires = plan?.ends.by === 'expired';
  if (local && !onlyExpires) return 'confirmed';
  if (work === undefined && (!local || (record.notAfter !== null && record.notAfter <= rows.now())))
    return 'confirmed';
  return onlyExpires || work?.state === 'reaped' ? 'by_expiry' : 'pending';
}
