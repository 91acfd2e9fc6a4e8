import { auditEvent } from './audit-event.ts';
import { lineageRefusal } from './cover.ts';
import { Fault, Refusal } from './errors.ts';
import { lineageOf } from './find.ts';
import { considerOpening, type OpenCandidate, type OpenRequest, planOpening, sameParams } from './open.ts';
import type { Ending, NewId, Policies, SingleUse, TaskEnd, TaskFound, Tasks } from './ports.ts';
import type { ClosedState, TaskStatus } from './task.ts';
import { isFrozen, type PolicySet } from './template.ts';
import type { Actor, Identity } from './workload.ts';

export interface LifecyclePorts {
  readonly tasks: Tasks;
  readonly policies: Policies;
  readonly newId: NewId;
  now(): Date;
}

/** As in the exchange: a policy or ref that moves under the opening is looked at again this often. */
const roundsMax = 4;

/**
 * Opens a task, or finds the open one of the same (workload, template, ref) and equal parameters.
 * Refusals: workload_not_matched, opener_not_allowed, params_invalid, ref_conflict, task_ended, task_suspended,
 * assertion_replayed, limits.
 */
export async function openTask(
  request: OpenRequest,
  use: SingleUse,
  ports: LifecyclePorts,
): Promise<TaskFound & { readonly opened: boolean }> {
  let policy = await ports.policies.refresh();
  for (let round = 0; round < roundsMax; round += 1) {
    refuseFrozen(request, policy);
    const candidate = considerOpening(request, policy);
    const existing = await findSame(request, candidate, ports);
    if (existing !== undefined) {
      if (!sameParams(existing.task.params, candidate.params)) throw new Refusal('ref_conflict');
      await reopenWith(existing, use, ports);
      return { ...existing, opened: false };
    }
    const opening = planOpening(request, candidate, { newId: ports.newId, now: ports.now() });
    const result = await ports.tasks.open(opening, { epoch: policy.epoch, use });
    if (result.kind === 'opened') return { ...result.found, opened: true };
    if (result.kind === 'refused') throw refusal(result);
    policy = await ports.policies.refresh();
  }
  throw new Fault('overloaded', { effect: 'none', detail: 'policy or ref kept moving' });
}

function refuseFrozen({ template, workload, actors, ancestors }: OpenRequest, policy: PolicySet): void {
  const above = ancestors.map(({ task }) => task);
  const parties = [workload, ...actors, ...above.map((task) => task.workload)];
  const named = {
    templates: [template, ...above.map((task) => task.template)],
    issuers: parties.map(({ issuerName }) => issuerName),
    providers: [],
  };
  if (policy.recoveryRequired === true) throw new Refusal('recovery_required');
  if (isFrozen(policy, named)) throw new Refusal('frozen');
}

// The caller gets a task token all the same, so a once-only assertion is used by it as by an opening (invariant I7).
async function reopenWith({ status }: TaskFound, use: SingleUse, { tasks }: LifecyclePorts): Promise<void> {
  if (status.state === 'suspended') throw new Refusal('task_suspended');
  if (status.state !== 'open') throw new Refusal('task_ended');
  const used = use.uses.length === 0 ? null : await tasks.use(use.uses);
  if (used !== null) throw new Refusal(used);
}

function findSame(
  { template, ancestors: [parent] }: OpenRequest,
  { ref, owner }: OpenCandidate,
  { tasks }: LifecyclePorts,
) {
  const parentId = parent?.task.id ?? null;
  return ref === null ? undefined : tasks.findByRef({ template, owner, ref, parentId });
}

function refusal({
  reason,
  retryAfterSeconds,
}: {
  reason: Refusal['reason'];
  retryAfterSeconds?: number;
}): Refusal {
  return new Refusal(reason, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
}

/**
 * Renews the lease of a caller's own task and answers the state, whatever it is. Who would be given nothing any more
 * (issuer, template or delegation rule gone) keeps nothing alive either. A freeze stops issuing, not leases.
 */
export async function heartbeatTask(
  { task }: TaskFound,
  caller: { readonly identity: Identity; readonly actors: readonly Actor[] },
  ports: LifecyclePorts,
): Promise<TaskStatus> {
  const policy = await ports.policies.current();
  const refused = lineageRefusal(policy, await lineageOf(task, ports), caller);
  if (refused !== null) throw new Refusal(refused);
  return known(await ports.tasks.heartbeat(task.id));
}

/**
 * Ends a task and everything beneath it; durable when it answers, confirmed by the reaper. Idempotent: a task
 * that has ended keeps its first state.
 */
export async function endTask(taskId: string, end: WhyEnded, ports: LifecyclePorts): Promise<Ending> {
  return known(await ports.tasks.end(taskId, toldEnd(taskId, end, ports)));
}

/** The same of many, in one statement: all or none. */
export async function endTasks(
  taskIds: readonly string[],
  end: WhyEnded,
  ports: LifecyclePorts,
): Promise<void> {
  await ports.tasks.endMany(new Map(taskIds.map((id) => [id, toldEnd(id, end, ports)])));
}

export interface WhyEnded {
  readonly state: ClosedState;
  readonly reason: string;
  readonly actor: string;
}

function toldEnd(taskId: string, { state, reason, actor }: WhyEnded, ports: LifecyclePorts): TaskEnd {
  const draft = { type: 'task.ended', actor, taskId, body: { state, reason } };
  return { state, reason, audit: auditEvent({ newId: ports.newId, now: ports.now() }, draft) };
}

/** Friction without loss: what is out is taken back, and a resume gives a new generation. */
export async function suspendTask(
  taskId: string,
  suspend: { readonly reason: string; readonly actor: string },
  ports: LifecyclePorts,
): Promise<Ending> {
  const { reason, actor } = suspend;
  const audit = auditEvent(
    { newId: ports.newId, now: ports.now() },
    { type: 'task.suspended', actor, taskId, body: { reason } },
  );
  const ending = known(await ports.tasks.suspend(taskId, { reason, audit }));
  if (ending.state !== 'suspended') throw new Refusal('task_ended');
  return ending;
}

export async function resumeTask(
  taskId: string,
  { actor, reason }: { readonly actor: string; readonly reason: string | null },
  ports: LifecyclePorts,
): Promise<TaskStatus> {
  const audit = auditEvent(
    { newId: ports.newId, now: ports.now() },
    { type: 'task.resumed', actor, taskId, body: { reason } },
  );
  const { resumed, status } = known(await ports.tasks.resume(taskId, { audit }));
  if (resumed) return status;
  if (status.state === 'open') throw new Refusal('task_not_suspended');
  const found = await ports.tasks.find(taskId);
  // Suspended still, and not expired: the task above it is suspended, and comes first.
  const above = status.state === 'suspended' && found !== undefined && found.task.expiresAt > ports.now();
  throw new Refusal(above ? 'task_suspended' : 'task_ended');
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Refusal('task_unknown');
  return value;
}
