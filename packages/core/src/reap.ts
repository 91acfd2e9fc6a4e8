import type { EndMethod } from '@mayfly/protocol';
import { auditEvent } from './audit-event.ts';
import { Fault, Refusal } from './errors.ts';
import { endTask, type LifecyclePorts, suspendTask } from './lifecycle.ts';
import type { Minter } from './minter.ts';
import type { End, Work, WorkQueue } from './ports.ts';

export interface ReapPorts extends LifecyclePorts {
  readonly queue: WorkQueue;
  readonly minters: ReadonlyMap<string, Minter>;
  /** Aborts one cloud call. */
  deadline(): AbortSignal;
  /** How far the clocks of cloud and database may differ. */
  readonly skewSeconds: number;
  /** Cloud calls of one provider at once, and each second. */
  readonly concurrency: number;
  readonly callsPerSecond: number;
  /** How many ends one call of this provider takes together. */
  endsPerCall(provider: string): number;
  /** Milliseconds that only go up. */
  monotonicMs(): number;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}

/** Tries after which an end that still fails needs a person: about a minute of backoff. */
const alarmAttempts = 5;

/** An end to be recorded, or what became of it instead; an Error is the next try's. */
export type Settled = End | 'task' | 'waiting' | Error;
type IssuanceWork = Extract<Work, { kind: 'issuance' }>;

/**
 * Takes one claimed piece of work back. State lives in rows only; a crash anywhere leaves a row that is claimed again.
 * Never gives up while the credential can live; "not found" is success only under `whenAbsent`. Never rejects.
 */
export async function settleWork(work: Work, ports: ReapPorts): Promise<Settled> {
  try {
    if (work.kind === 'task') return await settleTask(work.taskId, ports);
    return await settleIssuance(work, ports);
  } catch (error) {
    if (error instanceof Fault && error.retryAfterSeconds !== undefined) return later(work, error, ports);
    // The claim has moved due_at by its backoff: the row comes back by itself.
    const known = error instanceof Fault || error instanceof Refusal;
    const detail = known ? (error.detail ?? error.reason) : String(error);
    const id = work.kind === 'task' ? work.taskId : work.issuanceId;
    ports.report('ending failed, will be tried again', {
      kind: work.kind,
      id,
      attempts: work.attempts,
      detail,
      ...(work.attempts >= alarmAttempts ? { alarm: 'ending_stuck' } : {}),
    });
    return error instanceof Error ? error : new Error(detail);
  }
}

async function settleTask(taskId: string, ports: ReapPorts): Promise<Settled> {
  const body = { act: 'note', evidence: [], quarantineSeconds: null, rule: 'heartbeatLost' };
  const silence = { type: 'task.deviated', actor: 'mayfly', taskId, body };
  const due = await ports.queue.taskDue(
    taskId,
    auditEvent({ newId: ports.newId, now: ports.now() }, silence),
  );
  if (due === 'rearmed' || due === 'gone') return 'waiting';
  if (due === 'lapsed') {
    await suspendTask(taskId, { reason: 'lease lost', actor: 'mayfly' }, ports);
    return 'task';
  }
  const reason = due === 'abandoned' ? 'lease lost' : 'maximum duration reached';
  await endTask(taskId, { state: due, reason, actor: 'mayfly' }, ports);
  return 'task';
}

async function settleIssuance(work: IssuanceWork, ports: ReapPorts): Promise<Settled> {
  const { plan, secondsPastNotAfter } = work;
  if (work.state === 'delivered') return secondsPastNotAfter >= 0 ? expired(work, ports) : wait(work, ports);
  if (secondsPastNotAfter > ports.skewSeconds) return expired(work, ports);
  // Never delivered: its secret left no process, and a cut would hit siblings. Deleted only where that hits it alone.
  if (work.state === 'reaped' && plan.ends.by !== 'deleted') return wait(work, ports);
  const minter = ports.minters.get(plan.kind);
  if (minter === undefined)
    throw new Fault('provider_unavailable', { effect: 'none', detail: `no minter ${plan.kind}` });
  const outcome = await minter.revoke(plan, { now: ports.now(), signal: ports.deadline() });
  switch (outcome) {
    case 'gone':
      return ended(work, plan.ends.by, ports);
    case 'was-absent':
      return whenAbsent(work, ports);
    case 'wait-for-expiry':
      // Where another replica holds what deletes it, the claim's own backoff brings it there sooner or later.
      return plan.ends.by === 'deleted' ? 'waiting' : wait(work, ports);
    default:
      return outcome satisfies never;
  }
}

// What deletion would have removed is only litter once the credential has expired: tried once, and nothing waits for it.
async function expired(work: IssuanceWork, ports: ReapPorts): Promise<Settled> {
  const { plan, issuanceId: id } = work;
  const minter = ports.minters.get(plan.kind);
  if (plan.ends.by === 'deleted' && minter !== undefined)
    await minter.revoke(plan, { now: ports.now(), signal: ports.deadline() }).catch((error: unknown) => {
      const detail = error instanceof Fault ? (error.detail ?? error.reason) : String(error);
      ports.report('what an expired credential was bound to may be left behind', { id, detail });
    });
  return ended(work, 'expired', ports);
}

// A mint may still run elsewhere: what was never delivered is looked for at the claim's own backoff until it could live
// no longer, however often it is not there. What was delivered did exist: it is gone by an earlier try whose answer was lost.
function whenAbsent(work: IssuanceWork, ports: ReapPorts): Promise<Settled> | Settled {
  const { plan, attempts, state } = work;
  if (plan.ends.by !== 'deleted') return wait(work, ports);
  return state === 'revoking' && attempts >= 2 ? ended(work, 'deleted', ports) : 'waiting';
}

// Tries do not count while another replica has its turn: the backoff of a minute would keep what is only a moment away.
async function later(work: Work, { retryAfterSeconds = 1 }: Fault, ports: ReapPorts): Promise<Settled> {
  const id = work.kind === 'task' ? work.taskId : work.issuanceId;
  await ports.queue.postpone([id], retryAfterSeconds).catch(() => undefined);
  return 'waiting';
}

async function wait({ issuanceId, secondsPastNotAfter }: IssuanceWork, ports: ReapPorts): Promise<Settled> {
  const seconds = Math.max(1, Math.ceil(ports.skewSeconds - secondsPastNotAfter) + 1);
  await ports.queue.postpone([issuanceId], seconds);
  return 'waiting';
}

function ended(
  { issuanceId, plan, state, attempts }: IssuanceWork,
  method: EndMethod,
  ports: ReapPorts,
): End {
  const evidence = { reach: plan.reach, attempts, wasDelivered: state !== 'reaped' };
  const audit = auditEvent(
    { newId: ports.newId, now: ports.now() },
    {
      type: 'credential.ended',
      actor: 'mayfly',
      taskId: plan.taskId,
      issuanceId,
      body: { method, ...evidence },
    },
  );
  return { issuanceId, method, evidence, audit };
}
