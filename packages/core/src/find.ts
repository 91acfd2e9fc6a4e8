import type { TaskDescriptor } from '@mayfly/protocol';
import type { Caller } from './attest.ts';
import { ownsTask } from './decide.ts';
import { Fault, Refusal } from './errors.ts';
import type { ExchangeRequest } from './exchange.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import { considerOpening, type Lineage, type OpenRequest, planOpening, sameParams } from './open.ts';
import type { Opening, TaskFound } from './ports.ts';
import { bindingOf } from './proof.ts';
import type { Grant, Task, TaskStatus } from './task.ts';
import type { PolicySet, Template } from './template.ts';

export interface Found {
  readonly task: Task;
  readonly status: TaskStatus;
  /** The version it was opened with; undefined when it cannot be proven. */
  readonly pinned: Template | undefined;
  /** The tasks above it, the nearest first: what it may, they all may. */
  readonly ancestors: readonly Lineage[];
  /** Set when the request's `audience` names this grant. */
  readonly grant: Grant | null;
  /** Set when the task is not stored yet: the first intent opens it. */
  readonly opening: Opening | null;
}

interface Context {
  readonly policy: PolicySet;
  readonly ports: Pick<ExchangePorts, 'tasks' | 'policies' | 'newId'>;
  readonly now: Date;
  readonly fresh: boolean;
  /** Told of the task whose ref was named with other parameters. */
  onRefConflict?(task: Task): void;
}

/** Step 2: the task that the request names, finds by `ref`, or opens. Unknown and foreign give the same Refusal. */
export async function findTask(request: ExchangeRequest, caller: Caller, context: Context): Promise<Found> {
  const { detail, grantId } = request;
  if (grantId !== null) return agreeing(await findByGrant(grantId, caller, context), detail);
  if (detail === null) throw new Refusal('missing_parameter', { detail: 'authorization_details' });
  if (typeof detail.task === 'object') return findOrOpen({ ...detail.task }, caller, context);
  const id = detail.task ?? caller.viaTask?.task.id;
  if (id === undefined)
    throw new Refusal('details_malformed', { detail: 'task is required with an assertion' });
  const { viaTask } = caller;
  const known = !context.fresh && viaTask?.task.id === id ? viaTask : undefined;
  return owned(known ?? (await context.ports.tasks.find(id, { fresh: context.fresh })), caller, context);
}

async function findByGrant(grantId: string, caller: Caller, context: Context): Promise<Found> {
  const { tasks } = context.ports;
  const known = await tasks.findByGrant(grantId);
  // Memory may answer an older state and generation for ever; only a look by id can be asked to be fresh.
  const current = context.fresh && known ? await tasks.find(known.task.id, { fresh: true }) : known;
  const found = await owned(current, caller, context);
  const grant = found.task.grants.find(({ id }) => id === grantId) ?? null;
  return { ...found, grant };
}

/** Descriptor and grant together must mean one target; tool and identifier are decided against this grant alone. */
function agreeing(found: Found, detail: ExchangeRequest['detail']): Found {
  const { task } = detail ?? {};
  const other = task !== undefined && task !== found.task.id;
  const tool = detail === null ? undefined : detail.tool;
  if (other || (tool !== undefined && tool !== found.grant?.tool))
    throw new Refusal('target_ambiguous', { detail: 'audience and authorization_details differ' });
  return found;
}

async function findOrOpen(wanted: TaskDescriptor, caller: Caller, context: Context): Promise<Found> {
  const { template, ref = null, params = {}, objective = null } = wanted;
  const { ports, policy } = context;
  const ancestors = caller.parent === null ? [] : await lineageOf(caller.parent.task, ports);
  const request: OpenRequest = {
    ...{ template, ref, params, objective, workload: caller.identity, opener: null },
    ...{ actors: caller.actors, confirmation: bindingOf(caller.confirmation), ancestors },
  };
  const candidate = considerOpening(request, policy);
  if (candidate.ref === null) throw new Refusal('details_malformed', { detail: 'ref is required' });
  const { owner } = candidate;
  const parentId = caller.parent?.task.id ?? null;
  const existing = await ports.tasks.findByRef({ template, owner, ref: candidate.ref, parentId });
  if (existing !== undefined) {
    if (!sameParams(existing.task.params, candidate.params)) {
      context.onRefConflict?.(existing.task);
      throw new Refusal('ref_conflict');
    }
    return owned(existing, caller, context);
  }
  const opening = planOpening(request, candidate, { newId: ports.newId, now: context.now });
  const { task } = opening;
  const leaseExpiresAt = new Date(context.now.getTime() + task.leaseSeconds * 1000);
  const status: TaskStatus = {
    state: 'open',
    stateReason: null,
    outcome: null,
    leaseExpiresAt,
    endedAt: null,
    generations: {},
  };
  return { task, status, pinned: candidate.template, ancestors, grant: null, opening };
}

async function owned(found: TaskFound | undefined, caller: Caller, { ports }: Context): Promise<Found> {
  if (found === undefined) throw new Refusal('task_unknown', { detail: 'unknown' });
  const { task, status } = found;
  refuseSibling(task, caller);
  const pinned = await ports.policies.version(task.template, task.templateVersion);
  // Asked here too, before anything about the task can be told apart; `decide` records it as a check.
  if (!ownsTask(task, pinned, caller)) throw new Refusal('task_unknown', { detail: 'foreign' });
  const ancestors = task.parentId === null ? [] : (await lineageOf(task, ports)).slice(1);
  return { task, status, pinned, ancestors, grant: null, opening: null };
}

/** A token of one task speaks for that task, and for what was opened beneath it; nothing beside it exists for it. */
function refuseSibling({ id, parentId }: Task, { viaTask, parent }: Caller): void {
  if (parent === null || parent.task.id === parentId) return;
  if (viaTask?.task.id !== id)
    throw new Refusal('task_unknown', { detail: 'a task token speaks for its own task' });
}

/** A task and those above it, each with the version it was opened with. Facts that never change: mostly from memory. */
export async function lineageOf(
  first: Task,
  ports: Pick<ExchangePorts, 'tasks' | 'policies'>,
): Promise<readonly Lineage[]> {
  const lineage: Lineage[] = [];
  let task: Task | undefined = first;
  while (task !== undefined) {
    const pinned = await ports.policies.version(task.template, task.templateVersion);
    lineage.push({ task, pinned });
    if (task.parentId === null) return lineage;
    task = (await ports.tasks.find(task.parentId))?.task;
  }
  throw new Fault('internal', { effect: 'none', detail: 'a task above it is not there' });
}
