import type { AuditEvent, ClosedState, Ending, TaskFound, TaskStatus, Tasks } from '@mayfly/core';
import { isClosed } from '@mayfly/core';
import { type MemoryFacts, readTask } from './facts.ts';
import { openTaskRow, useAssertion } from './open.ts';
import type { IssuanceRow, MemoryRows } from './rows.ts';

/** Outcomes that the owner names; the other ends happen to a task. */
const outcomes: ReadonlySet<ClosedState> = new Set(['completed', 'failed', 'cancelled']);

/** The task side of storage, as `open_with_assertion`, `close_task`, `suspend_task`, `resume_task` and `task_ending`. */
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
    findByRef: async ({ template, owner, ref }) => {
      const row = [...rows.tasks.values()].find(
        ({ task }) => task.template === template && task.owner === owner && task.ref === ref,
      );
      return row === undefined ? undefined : read(row.task.id);
    },
    findByGrant: async (grantId) => {
      const grant = rows.grants.get(grantId)?.grant;
      return facts.byGrant(grantId) ?? (grant === undefined ? undefined : read(grant.taskId));
    },
    open: async (opening, { epoch, use }) =>
      rows.atomically(() => {
        const seen = use.assertion;
        if (seen !== null && rows.replay.has(seen.digest))
          return { kind: 'refused', reason: 'assertion_replayed' };
        const opened = openTaskRow(rows, opening, epoch);
        if (opened.kind !== 'opened') return opened;
        if (seen !== null) useAssertion(rows, seen);
        return { kind: 'opened', found: facts.opened(opening.task) };
      }),
    use: async (assertion) => useAssertion(rows, assertion),
    heartbeat: async (id) => {
      heartbeat(rows, id);
      return statusAfterHeartbeat(rows, read(id)?.status);
    },
    end: async (id, end) => change(id, () => close(rows, id, end)),
    suspend: async (id, suspended) => change(id, () => suspend(rows, id, suspended)),
    resume: async (id, { audit }) => {
      const resumed = change(id, () => resume(rows, id, audit));
      const found = read(id);
      return found === undefined ? undefined : { resumed, status: found.status };
    },
    ending: async (id) => endingOf(rows, id),
  };
}

function heartbeat(rows: MemoryRows, id: string): void {
  const row = rows.tasks.get(id);
  if (row === undefined || isClosed(row.state) || row.task.expiresAt <= rows.now()) return;
  if (row.state === 'open' && row.leaseUntil <= rows.now()) return;
  rows.tasks.set(id, { ...row, leaseUntil: rows.inSeconds(row.task.leaseSeconds) });
}

function statusAfterHeartbeat(rows: MemoryRows, status: TaskStatus | undefined): TaskStatus | undefined {
  if (status?.state !== 'open' || status.leaseExpiresAt > rows.now()) return status;
  return { ...status, state: 'abandoned', stateReason: 'lease lost' };
}

function close(
  rows: MemoryRows,
  id: string,
  { state, reason, audit }: { state: ClosedState; reason: string; audit: AuditEvent },
): Ending | undefined {
  const row = rows.tasks.get(id);
  if (row === undefined || isClosed(row.state)) return endingOf(rows, id);
  const lapsed = row.state === 'open' && row.leaseUntil <= rows.now();
  if (state === 'abandoned' && !lapsed) return endingOf(rows, id);
  const outcome = outcomes.has(state) ? state : null;
  rows.tasks.set(id, { ...row, state, stateReason: reason, outcome, endedAt: rows.now() });
  for (const grant of rows.grantsOf(id)) rows.grants.set(grant.grant.id, { ...grant, state: 'ended' });
  takeBack(rows, id);
  rows.work.delete(id);
  rows.append(audit);
  return endingOf(rows, id);
}

function suspend(
  rows: MemoryRows,
  id: string,
  { reason, audit }: { reason: string; audit: AuditEvent },
): Ending | undefined {
  const row = rows.tasks.get(id);
  if (row?.state !== 'open') return endingOf(rows, id);
  rows.tasks.set(id, { ...row, state: 'suspended', stateReason: reason });
  for (const grant of rows.grantsOf(id))
    if (grant.state === 'active') rows.grants.set(grant.grant.id, { ...grant, state: 'suspended' });
  takeBack(rows, id);
  rows.append(audit);
  return endingOf(rows, id);
}

function resume(rows: MemoryRows, id: string, audit: AuditEvent): boolean {
  const row = rows.tasks.get(id);
  if (row?.state !== 'suspended' || row.task.expiresAt <= rows.now()) return false;
  const leaseUntil = rows.inSeconds(row.task.leaseSeconds);
  rows.tasks.set(id, { ...row, state: 'open', stateReason: null, leaseUntil });
  for (const grant of rows.grantsOf(id))
    if (grant.state === 'suspended')
      rows.grants.set(grant.grant.id, { ...grant, state: 'active', generation: grant.generation + 1 });
  const work = rows.work.get(id);
  if (work !== undefined) rows.work.set(id, { ...work, dueAt: rows.now() });
  rows.append(audit);
  return true;
}

function takeBack(rows: MemoryRows, taskId: string): void {
  const now = rows.now();
  for (const work of rows.work.values()) {
    if (work.taskId !== taskId || (work.state !== 'intended' && work.state !== 'delivered')) continue;
    const state = work.state === 'intended' ? 'reaped' : 'revoking';
    rows.work.set(work.id, { ...work, state, requestedAt: now, dueAt: now, attempts: 0 });
  }
}

function endingOf(rows: MemoryRows, id: string): Ending | undefined {
  const row = rows.tasks.get(id);
  if (row === undefined) return undefined;
  const agents = [...rows.issuances.values()].filter(
    ({ record, decision }) => record.taskId === id && decision === 'allow' && record.purpose === 'agent',
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
