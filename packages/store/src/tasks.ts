import {
  type AuditEvent,
  type Ending,
  Fault,
  isClosed,
  type Opening,
  type OpenResult,
  type RefKey,
  type SingleUse,
  type TaskFound,
  type TaskStatus,
  type Tasks,
} from '@mayfly/core';
import type { Reason } from '@mayfly/protocol';
import { z } from 'zod';
import { type Database, orFault, type Statements } from './database.ts';
import { digestBytes, encodeAudit, encodeOpening, encodeUses, ownerKey } from './encode.ts';
import type { HighWater, Mark } from './high-water.ts';
import type { TaskFacts } from './task-facts.ts';
import { taskFromRow } from './task-rows.ts';

const opened = z.object({
  kind: z.enum(['opened', 'ref_taken', 'stale', 'refused']),
  reason: z.string().optional(),
  epoch: z.coerce.number().optional(),
  retryAfterSeconds: z.coerce.number().optional(),
});

/** The task side of storage: fixed facts from memory, state always from the database where it decides. */
export function createTasks(
  database: Database,
  facts: TaskFacts,
  { reserved, highWater }: { reserved: Statements; highWater: HighWater },
): Tasks {
  const read = async (
    where: { id: string } | (Omit<RefKey, 'owner'> & { ownerKey: Uint8Array<ArrayBuffer> }),
  ) => {
    const row = await orFault(() => database.prisma.task.findFirst({ where, include: { grants: true } }));
    return row === null ? undefined : facts.put(taskFromRow(row));
  };
  const change = async (id: string, statement: string, event: Record<string, unknown>) => {
    const values = [id, JSON.stringify(event)];
    const [row] = await reserved.call<{ ok: boolean }>(
      statement,
      `select ${statement}($1::uuid, $2::jsonb) as ok`,
      values,
    );
    facts.forget(id);
    return row?.ok === true;
  };
  const ending = (id: string) => readEnding(reserved, id);
  return {
    find: async (id, { fresh = false } = {}) => (fresh ? undefined : facts.get(id)) ?? read({ id }),
    findByRef: ({ owner, ...key }) => read({ ...key, ownerKey: digestBytes(ownerKey(owner)) }),
    findByGrant: async (grantId) => {
      const known = facts.byGrant(grantId);
      if (known !== undefined) return known;
      const grant = await orFault(() => database.prisma.taskGrant.findUnique({ where: { id: grantId } }));
      return grant === null ? undefined : read({ id: grant.taskId });
    },
    open: (opening, context) => open(database, facts, { opening, ...context, known: highWater.known }),
    use: async (uses) => {
      const values = [JSON.stringify(encodeUses(uses))];
      const text = 'select use_once($1::jsonb) as replayed';
      const [row] = await database.call<{ replayed: string | null }>('use_once', text, values);
      if (row === undefined) throw new Fault('internal', { effect: 'unknown', detail: 'use_once is silent' });
      return row.replayed as Reason | null; // Only what the uses themselves name.
    },
    heartbeat: async (id) => {
      const text = 'select heartbeat_task($1::uuid) as refused';
      const [row] = await database.call<{ refused: string | null }>('heartbeat_task', text, [id]);
      const found = await read({ id });
      return found === undefined ? undefined : asRefused(found, row?.refused ?? null);
    },
    end: async (id, { state, reason, audit }) => {
      await change(id, 'close_task', { state, reason, audit: encodeAudit(audit) });
      return ending(id);
    },
    endMany: async (ends) => {
      const encoded = [...ends].map(([id, { state, reason, audit }]) => ({
        ...{ id, state, reason },
        audit: encodeAudit(audit),
      }));
      await reserved.call('close_tasks', 'select close_tasks($1::jsonb)', [JSON.stringify(encoded)]);
      for (const id of ends.keys()) facts.forget(id);
    },
    suspend: async (id, { reason, audit }) => {
      const suspended = await change(id, 'suspend_task', { reason, audit: encodeAudit(audit) });
      const counts = await ending(id);
      // Resumed by another meanwhile: it was suspended all the same.
      return suspended && counts !== undefined ? { ...counts, state: 'suspended' } : counts;
    },
    resume: async (id, { audit }: { audit: AuditEvent }) => {
      const resumed = await change(id, 'resume_task', { audit: encodeAudit(audit) });
      const found = await read({ id });
      if (found === undefined) return undefined;
      const text = 'select refuse_task($1::uuid) as refused';
      const [row] = resumed ? [] : await reserved.call<{ refused: string | null }>('refuse_task', text, [id]);
      return { resumed, status: row?.refused === 'session_revoked' ? cutOff(found) : found.status };
    },
    ending,
    endGrant: async (grantId, { audit }) => {
      const values = [grantId, JSON.stringify(encodeAudit(audit))];
      const text = 'select close_grant($1::uuid, $2::jsonb) as ok';
      const [row] = await reserved.call<{ ok: boolean }>('close_grant', text, values);
      return row?.ok === true;
    },
  };
}

/** As it will be once a reaper comes, where it gives nothing now. */
function asRefused(found: TaskFound, refused: string | null): TaskStatus {
  if (refused === null) return found.status;
  if (refused === 'session_revoked') return cutOff(found);
  return refused === 'task_ended' ? overByTime(found, new Date()) : notGiving(found);
}

/** A session of its workload, or of who acts in it, was revoked: its end is asked for. */
function cutOff({ status }: TaskFound): TaskStatus {
  return isClosed(status.state) ? status : { ...status, state: 'cancelled', stateReason: 'session revoked' };
}

/** Lapsed, and suspended for it as soon as a reaper comes; or so is a task above. */
function notGiving({ status }: TaskFound): TaskStatus {
  return status.state === 'open' ? { ...status, state: 'suspended', stateReason: 'lease lost' } : status;
}

/** Over but not yet reaped, itself or a task above: no heartbeat brings it back. */
function overByTime({ task, status }: TaskFound, now: Date): TaskStatus {
  if (isClosed(status.state)) return status;
  if (task.expiresAt <= now) return { ...status, state: 'expired', stateReason: 'its time is over' };
  const lapsed = status.state === 'open' && status.leaseExpiresAt <= now;
  if (lapsed) return { ...status, state: 'abandoned', stateReason: 'lease lost' };
  return { ...status, state: 'cancelled', stateReason: 'parent task ended' };
}

async function open(
  database: Database,
  facts: TaskFacts,
  { opening, epoch, use, known }: { opening: Opening; epoch: number; use: SingleUse; known: Mark | null },
): Promise<OpenResult> {
  const values = [
    JSON.stringify(encodeOpening(opening, { known, attested: use.attested })),
    epoch,
    JSON.stringify(encodeUses(use.uses)),
  ];
  const [row] = await database.call<{ r: unknown }>(
    'open_with_uses',
    'select open_with_uses($1::jsonb, $2, $3::jsonb) as r',
    values,
  );
  const answer = opened.parse(row?.r);
  if (answer.kind === 'opened') return { kind: 'opened', found: facts.opened(opening.task) };
  if (answer.kind === 'ref_taken') return { kind: 'ref_taken' };
  if (answer.kind === 'stale') return { kind: 'stale', epoch: answer.epoch ?? 0 };
  const reason = (answer.reason ?? 'internal') as Reason; // As in ledger.ts.
  const { retryAfterSeconds } = answer;
  return retryAfterSeconds === undefined
    ? { kind: 'refused', reason }
    : { kind: 'refused', reason, retryAfterSeconds };
}

async function readEnding(database: Statements, id: string): Promise<Ending | undefined> {
  const [row] = await database.call<{
    state: TaskFound['status']['state'] | null;
    total: number;
    confirmed: number;
    by_expiry: number;
    pending: number;
    worst: Date | null;
  }>('task_ending', 'select * from task_ending($1::uuid)', [id]);
  if (row === undefined || row.state === null) return undefined;
  const { state, total, confirmed, pending, by_expiry: byExpiry, worst: worstCaseAt } = row;
  return { state, total, confirmed, pending, byExpiry, worstCaseAt };
}
