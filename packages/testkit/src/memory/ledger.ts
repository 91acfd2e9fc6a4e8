import {
  type AuditEvent,
  type Delivery,
  type Grant,
  type IntendResult,
  type Intent,
  isFrozen,
  type Ledger,
  type Sighting,
} from '@mayfly/core';
import { isCut, isTaskCut } from './cuts.ts';
import type { MemoryFacts } from './facts.ts';
import { WindowCounter } from './limits.ts';
import { openTaskRow, refuseTask, renewLease, useOnce } from './open.ts';
import { isQuarantined } from './quarantine.ts';
import { revokeIssuance } from './revoke.ts';
import type { GrantRow, MemoryRows, TaskRow } from './rows.ts';
import { seeTask } from './sightings.ts';

/** How long an Idempotency-Key belongs to its issuance (contract.md section 5). */
const idempotencySeconds = 86_400;

interface Options {
  readonly facts: MemoryFacts;
  readonly reapAgeSeconds: number;
}

/** The issuance side of storage, with the semantics of `intend`, `deliver` and `refuse` of the migrations. */
export function createMemoryLedger(rows: MemoryRows, { facts, reapAgeSeconds }: Options): Ledger {
  const issue = (intent: Intent, delivered: AuditEvent | null): IntendResult => {
    const result = undoneUnlessIntended(rows, () =>
      settleIntent(rows, intent, { delivered, reapAgeSeconds }),
    );
    if (result.kind !== 'intended') return result;
    if (delivered !== null) renewLease(rows, intent.plan.taskId);
    if (intent.opening !== null) facts.opened(intent.opening.task);
    return result;
  };
  const see = (sighting: Sighting | null) => {
    const act = seeTask(rows, sighting);
    if (sighting !== null && act !== null) facts.forget(sighting.taskId);
    return act;
  };
  return {
    intend: async (intent) => issue(intent, null),
    issueLocal: async (intent, { audit }) => issue(intent, audit),
    deliver: async (delivery) => rows.atomically(() => deliver(rows, delivery)),
    refuse: async (record, { audit, sighting }) =>
      rows.atomically(() => {
        rows.insertIssuance(record, null, false);
        rows.append(audit);
        return see(sighting);
      }),
    signal: async ({ audit, sighting }) =>
      rows.atomically(() => {
        rows.append(audit);
        return see(sighting);
      }),
    revoke: async (issuanceId, audit) => rows.atomically(() => revokeIssuance(rows, issuanceId, audit)),
    append: async (audit) => rows.append(audit),
  };
}

class Undone extends Error {
  readonly result: IntendResult;
  constructor(result: IntendResult) {
    super('undone');
    this.result = result;
  }
}

/** A refusal leaves nothing behind: neither task nor counter nor replay key. */
function undoneUnlessIntended(rows: MemoryRows, run: () => IntendResult): IntendResult {
  try {
    return rows.atomically(() => {
      const result = run();
      if (result.kind !== 'intended') throw new Undone(result);
      return result;
    });
  } catch (error) {
    if (error instanceof Undone) return error.result;
    throw error;
  }
}

function settleIntent(
  rows: MemoryRows,
  intent: Intent,
  options: { delivered: AuditEvent | null; reapAgeSeconds: number },
): IntendResult {
  const { record, plan, opening, audit } = intent;
  if (opening !== null) {
    const opened = openTaskRow(rows, opening, { epoch: intent.epoch, attested: intent.use.attested });
    if (opened.kind === 'stale') return { ...opened, generation: null };
    if (opened.kind !== 'opened') return opened;
  }
  const grant = rows.grants.get(record.grantId ?? '');
  const task = grant === undefined ? undefined : rows.tasks.get(grant.grant.taskId);
  if (grant === undefined || task === undefined) return { kind: 'refused', reason: 'task_unknown' };
  const stopped = stateOf(rows, grant, task) ?? movedOn(rows, grant, intent);
  if (stopped !== null) return stopped;
  const spent = record.purpose === 'agent' ? spend(rows, grant, intent) : null;
  if (spent !== null) return spent;
  rows.insertIssuance(record, plan, options.delivered !== null);
  rows.append(audit);
  if (options.delivered !== null) rows.append(options.delivered);
  else
    rows.work.set(record.id, {
      id: record.id,
      kind: 'issuance',
      taskId: grant.grant.taskId,
      state: 'intended',
      dueAt: rows.inSeconds(options.reapAgeSeconds),
      notAfter: record.notAfter,
      requestedAt: null,
      reach: plan.reach,
      attempts: 0,
    });
  return { kind: 'intended' };
}

function stateOf(rows: MemoryRows, grant: GrantRow, { task }: TaskRow): IntendResult | null {
  const refused = refuseTask(rows, task.id);
  if (refused !== null) return { kind: 'refused', reason: refused };
  const ended = grant.state !== 'active' || aboveOf(rows, grant).some(({ state }) => state === 'ended');
  return ended ? { kind: 'refused', reason: 'grant_ended' } : null;
}

function aboveOf(rows: MemoryRows, { grant }: GrantRow): readonly GrantRow[] {
  return grant.above.flatMap((id) => rows.grants.get(id) ?? []);
}

function movedOn(rows: MemoryRows, { grant, generation }: GrantRow, intent: Intent): IntendResult | null {
  if (rows.epoch !== intent.epoch || generation !== intent.generation)
    return { kind: 'stale', epoch: rows.epoch, generation };
  const task = rows.tasks.get(grant.taskId)?.task;
  const named = {
    templates: task === undefined ? [] : [task.template],
    issuers: task === undefined ? [] : [task.workload.issuerName],
    providers: [grant.provider],
  };
  if (isFrozen(rows, named)) return { kind: 'refused', reason: 'frozen' };
  if (task !== undefined && isQuarantined(rows, task)) return { kind: 'refused', reason: 'quarantined' };
  const cut = isTaskCut(rows, grant.taskId) || isCut(rows, intent.use.attested);
  return cut ? { kind: 'refused', reason: 'session_revoked' } : null;
}

/** Idempotency key, budget, limit per minute, the assertion's one use: in the order of the migrations. */
function spend(rows: MemoryRows, row: GrantRow, { record, use, budget }: Intent): IntendResult | null {
  const { grant, uses } = row;
  const exchangesMax = Math.min(grant.budget.exchanges ?? Infinity, budget.exchanges ?? Infinity);
  const key = use.idempotencyKey?.digest;
  const earlier = key === undefined ? undefined : rows.idempotency.get(key);
  if (earlier !== undefined && earlier.expiresAt > rows.now())
    return { kind: 'already_issued', issuanceId: earlier.issuanceId };
  const above = aboveOf(rows, row);
  if (uses >= exchangesMax || above.some(isSpent)) return { kind: 'refused', reason: 'budget_spent' };
  const minutes = minutesOf(rows, [
    { ...grant, budget: narrowerMinute(grant, budget) },
    ...above.map((one) => one.grant),
  ]);
  for (const { counter, most } of minutes) {
    const limited = counter.refuseAt(most);
    if (limited !== null) return limited;
  }
  const replayed = useOnce(rows, use.uses);
  if (replayed !== null) return { kind: 'refused', reason: replayed };
  if (key !== undefined)
    rows.idempotency.set(key, { issuanceId: record.id, expiresAt: rows.inSeconds(idempotencySeconds) });
  for (const one of [row, ...above]) rows.grants.set(one.grant.id, { ...one, uses: one.uses + 1 });
  for (const { counter } of minutes) counter.raise();
  return null;
}

function isSpent({ grant, uses }: GrantRow): boolean {
  return uses >= (grant.budget.exchanges ?? Infinity);
}

function narrowerMinute({ budget }: Grant, { perMinute }: Grant['budget']): Grant['budget'] {
  const most = Math.min(budget.perMinute ?? Infinity, perMinute ?? Infinity);
  return { ...budget, perMinute: Number.isFinite(most) ? most : null };
}

/** `minute_limits`: of grants that share a counter the narrower counts. */
function minutesOf(
  rows: MemoryRows,
  grants: readonly Grant[],
): readonly { counter: WindowCounter; most: number }[] {
  const limits = new Map<string, { counter: WindowCounter; most: number }>();
  for (const { name, taskId, budget } of grants) {
    const { countedAs = '', task } = rows.tasks.get(taskId) ?? {};
    const scope = ['perMinute', countedAs, task?.template ?? '', name];
    if (budget.perMinute === null) continue;
    const most = Math.min(budget.perMinute, limits.get(JSON.stringify(scope))?.most ?? Infinity);
    limits.set(JSON.stringify(scope), { counter: new WindowCounter(rows, scope, 60), most });
  }
  return [...limits.values()];
}

function deliver(rows: MemoryRows, { issuanceId, keyHash, expiresAt, audit }: Delivery): boolean {
  const work = rows.work.get(issuanceId);
  if (work !== undefined && work.taskId !== null) renewLease(rows, work.taskId);
  if (work?.state !== 'intended' || work.dueAt <= rows.now() || work.notAfter === null) return false;
  rows.work.set(issuanceId, { ...work, state: 'delivered', dueAt: work.notAfter, attempts: 0 });
  rows.deliveries.set(issuanceId, { keyHash, expiresAt });
  rows.append(audit);
  return true;
}
