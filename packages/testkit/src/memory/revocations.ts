import {
  type EventReceipt,
  isClosed,
  type ReceivedEvent,
  type RevocationBatch,
  type RevocationRequest,
  type RevocationScope,
  type Revocations,
  workloadName,
} from '@mayfly/core';
import { cutOff, isCut, tasksOf } from './cuts.ts';
import type { MemoryRows, RevocationRow, TaskRow, WorkRow } from './rows.ts';

/** As `request_revocation`, `claim_revocation`, `settle_revocation` and `revocation_status`. */
export function createMemoryRevocations(rows: MemoryRows): Revocations {
  return {
    measure: async (scope) => targetsOf(rows, scope, everyTask(rows)).length,
    request: async (revocation, audit) =>
      rows.atomically(() => {
        insert(rows, revocation);
        rows.append(audit);
      }),
    receive: async (event) => receive(rows, event),
    settled: async (id) => rows.securityEvents.has(id),
    tasksOf: async (subject, { after, limit }) =>
      tasksOf(rows, subject)
        .map(({ task: { id } }) => id)
        .filter((id) => after === null || id > after)
        .slice(0, limit),
    isCut: async (attested) => isCut(rows, attested),
    find: async (id) => {
      const row = rows.revocations.get(id);
      if (row === undefined) return undefined;
      const { known, dueAt: _, ...shown } = row;
      const remaining = row.doneAt === null ? targetsOf(rows, row, known).length : 0;
      return {
        ...shown,
        remaining,
        pending: left(rows, row, 'revoking'),
        byExpiry: left(rows, row, 'reaped'),
      };
    },
    claim: async ({ limit, leaseSeconds }) => {
      const due = [...rows.revocations.values()].find(
        ({ doneAt, dueAt }) => doneAt === null && dueAt <= rows.now(),
      );
      if (due === undefined) return null;
      rows.revocations.set(due.id, { ...due, dueAt: rows.inSeconds(leaseSeconds) });
      const { id, reason, requestedBy, total } = due;
      return { id, reason, requestedBy, total, targets: targetsOf(rows, due, due.known).slice(0, limit) };
    },
    claimReview: async ({ limit, leaseSeconds }) => {
      const { epoch, after, dueAt } = rows.review;
      if ((after === null && epoch === rows.epoch) || (dueAt !== null && dueAt > rows.now())) return null;
      if (after === null) {
        rows.review = { epoch: rows.epoch, after: '', dueAt: null };
        return { epoch: rows.epoch, tasks: [], begun: true };
      }
      rows.review = { epoch, after, dueAt: rows.inSeconds(leaseSeconds) };
      const tasks = [...rows.tasks.values()]
        .filter((row) => row.endsOnChange && !isClosed(row.state) && row.task.id > after)
        .map(({ task }) => task.id)
        .sort();
      return { epoch, tasks: tasks.slice(0, limit), begun: false };
    },
    settleReview: async ({ epoch, after }) => {
      const { review } = rows;
      if (review.epoch !== epoch || review.after === null) return;
      const further = after !== null && after < review.after ? review.after : after;
      rows.review = { epoch, after: further, dueAt: null };
    },
    settle: async (id, audit) => {
      const row = rows.revocations.get(id);
      if (row === undefined || row.doneAt !== null) return 'done';
      if (targetsOf(rows, row, row.known).length > 0) {
        rows.revocations.set(id, { ...row, dueAt: rows.now() });
        return 'more';
      }
      rows.revocations.set(id, { ...row, doneAt: rows.now() });
      rows.append(audit);
      return 'done';
    },
  };
}

const everyTask = (rows: MemoryRows) => new Set(rows.tasks.keys());

/** `insert_revocation`: how much it is to end. */
function insert(rows: MemoryRows, revocation: RevocationRequest): number {
  const known = everyTask(rows);
  const total = targetsOf(rows, revocation, known).length;
  const now = rows.now();
  const times = { requestedAt: now, dueAt: now, doneAt: null };
  rows.revocations.set(revocation.id, { ...revocation, ...times, known, total });
  return total;
}

/** `receive_event`. */
function receive(rows: MemoryRows, { id, issuerName, cut, ...event }: ReceivedEvent): EventReceipt {
  if (rows.securityEvents.has(id)) return { kind: 'seen' };
  const recent = [...rows.securityEvents.values()].filter(
    (one) => one.issuerName === issuerName && one.ends > 0 && one.at > rows.inSeconds(-60),
  );
  const [first] = recent;
  const ends = event.revocations.reduce((sum, one) => sum + targetsOf(rows, one, everyTask(rows)).length, 0);
  const before = recent.reduce((sum, one) => sum + one.ends, 0);
  if (first !== undefined && ends > 0 && before + ends > event.endsPerMinute) {
    const sinceMs = rows.now().getTime() - first.at.getTime();
    return { kind: 'limited', retryAfterSeconds: Math.ceil(60 - sinceMs / 1000) };
  }
  return rows.atomically(() => {
    for (const one of event.revocations) {
      insert(rows, one);
      const row = one.by === 'task' ? rows.tasks.get(one.name) : undefined;
      if (row !== undefined) rows.tasks.set(one.name, { ...row, isCut: true });
    }
    rows.securityEvents.set(id, { issuerName, ends, at: rows.now() });
    if (cut !== null) cutOff(rows, cut);
    rows.append(event.audit);
    return { kind: 'received' };
  });
}

/** Of the tasks that were known, those that live, or their grants that have not ended. */
function targetsOf(
  rows: MemoryRows,
  { by, name, attestedBefore }: RevocationScope & Pick<RevocationRequest, 'attestedBefore'>,
  known: ReadonlySet<string>,
): RevocationBatch['targets'] {
  if (by === 'grant' || by === 'provider')
    return [...rows.grants.values()]
      .filter(({ grant, state }) => state !== 'ended' && known.has(grant.taskId))
      .filter(({ grant }) => (by === 'grant' ? grant.id : grant.provider) === name)
      .map(({ grant: { id } }) => ({ kind: 'grant', id }));
  if (by === 'session') {
    const [issuerName = ''] = name.split('/');
    return tasksOf(rows, { issuerName, subject: name.slice(issuerName.length + 1) })
      .filter(({ attestedAt: at }) => at === null || (attestedBefore !== undefined && at <= attestedBefore))
      .map(({ task: { id } }) => ({ kind: 'task', id }));
  }
  return [...rows.tasks.values()]
    .filter((row) => known.has(row.task.id) && !isClosed(row.state) && nameOf(row, by) === name)
    .map(({ task: { id } }) => ({ kind: 'task', id }));
}

function nameOf({ task }: TaskRow, by: 'task' | 'workload' | 'session' | 'template' | 'issuer'): string {
  switch (by) {
    case 'task':
      return task.id;
    case 'workload':
    case 'session':
      return workloadName(task.workload);
    case 'template':
      return task.template;
    case 'issuer':
      return task.workload.issuerName;
    default:
      return by satisfies never;
  }
}

function left(rows: MemoryRows, row: RevocationRow, state: WorkRow['state']): number {
  const { by, name, requestedAt } = row;
  return [...rows.work.values()].filter((work) => {
    if (work.state !== state || work.requestedAt === null || work.requestedAt < requestedAt) return false;
    const issuance = rows.issuances.get(work.id);
    const task = rows.tasks.get(work.taskId ?? '');
    if (issuance?.record.purpose !== 'agent' || task === undefined) return false;
    if (by === 'grant') return issuance.record.grantId === name;
    return (by === 'provider' ? issuance.record.provider : nameOf(task, by)) === name;
  }).length;
}
