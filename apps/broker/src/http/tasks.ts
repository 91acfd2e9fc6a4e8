import {
  bindingOf,
  type Ending,
  endTask,
  heartbeatTask,
  type Identity,
  isSource,
  isSubject,
  lineageOf,
  type OpenRequest,
  openTask,
  ownsTask,
  Refusal,
  resumeTask,
  suspendTask,
  type TaskFound,
  workloadName,
} from '@mayfly/core';
import {
  type EndingView,
  endTaskBody,
  formatId,
  type OpenTaskBody,
  openTaskBody,
  optionalReasonBody,
  parseId,
  type TaskView,
} from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import { holdsRole, type Principal } from './authenticate.ts';
import { remember } from './idempotency.ts';
import { type Call, ok, pageOf, parseBody, type Route } from './route.ts';

/** Who stands how to a task (contract.md section 5); everyone else gets the answer for an unknown task. */
type Relation = 'owner' | 'opener' | 'operator' | 'auditor' | 'source';

export const taskRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/tasks',
    access: 'attested',
    says: 'Opens a task, or finds the open one of the same ref and parameters',
    body: openTaskBody,
    handle: (call) => remember(call, () => open(call)),
  },
  {
    method: 'GET',
    path: '/v1/tasks',
    access: 'attested',
    says: 'Lists tasks: one’s own, or all within scope for operator and auditor',
    query: ['state', 'template', 'workload', 'limit', 'cursor'],
    handle: list,
  },
  {
    method: 'GET',
    path: '/v1/tasks/:id',
    access: 'task',
    says: 'Shows a task to owner, opener, operator or auditor',
    handle: show,
  },
  {
    method: 'POST',
    path: '/v1/tasks/:id/heartbeat',
    access: 'task',
    says: 'Renews the lease and answers the state, with a fresh task token (for a once-only assertion: at its first use)',
    handle: heartbeat,
  },
  {
    method: 'POST',
    path: '/v1/tasks/:id/end',
    access: 'task',
    says: 'Ends the task and everything beneath it',
    body: endTaskBody,
    handle: end,
  },
  {
    method: 'POST',
    path: '/v1/tasks/:id/suspend',
    access: 'task',
    says: 'Suspends the task and takes back what is out (operator)',
    body: optionalReasonBody,
    handle: suspend,
  },
  {
    method: 'POST',
    path: '/v1/tasks/:id/resume',
    access: 'task',
    says: 'Resumes a suspended task with a new generation (operator)',
    body: optionalReasonBody,
    handle: resume,
  },
];

async function show(call: Call) {
  const found = await related(call, ['owner', 'opener', 'operator', 'auditor']);
  const until = await call.broker.store.quarantinedUntil(found.task);
  return ok({ ...taskView(found), quarantinedUntil: until?.toISOString() ?? null });
}

async function open(call: Call) {
  const { broker, principal } = call;
  const body = parseBody<OpenTaskBody>(openTaskBody, call.request);
  const request = await openRequestOf(body, call);
  const { uses, attested } = principal;
  const found = await openTask(request, { uses, attested, idempotencyKey: null }, broker.lifecycle);
  // The task token is the owner's: another opener gets the task without it.
  const token = request.opener === null ? await broker.tokens.signTask(found.task) : null;
  const { id, state, template: name, templateVersion, grants, leaseExpiresAt, expiresAt } = taskView(found);
  const view = { id, state, template: name, templateVersion, grants, leaseExpiresAt, expiresAt };
  return ok(token === null ? view : { ...view, taskToken: token.reveal() }, found.opened ? 201 : 200);
}

async function openRequestOf(body: OpenTaskBody, call: Call): Promise<OpenRequest> {
  const { broker, principal } = call;
  const { template, ref = null, params = {}, objective = null } = body;
  const parent = await parentOf(body, call);
  const ancestors = parent === null ? [] : await lineageOf(parent.task, broker.exchange);
  const mine: OpenRequest = {
    ...{ template, ref, params, objective, workload: principal.identity, opener: null, ancestors },
    actors: principal.actors,
    confirmation: bindingOf(principal.confirmation),
  };
  if (body.for === undefined) return mine;
  if (parent !== null)
    throw new Refusal('opener_not_allowed', { detail: 'for and parent exclude each other' });
  return { ...mine, workload: forOther(body.for, broker), opener: principal.identity, confirmation: null };
}

/** With a task token always its own task; else the one named, by its owner. */
async function parentOf({ parent: named }: OpenTaskBody, call: Call): Promise<TaskFound | null> {
  const own = call.principal.parent;
  if (named === undefined) return own;
  const found = await related(call, ['owner'], named);
  if (own !== null && own.task.id !== found.task.id) throw new Refusal('task_unknown', { detail: 'foreign' });
  return found;
}

// Claims of another workload are not proven here: only its subject can match, and it proves the rest at its exchange.
function forOther(
  { issuer: issuerName, subject }: { issuer: string; subject: string },
  { policies }: Broker,
): Identity {
  const known = [...(policies.known()?.issuers.values() ?? [])].find(({ name }) => name === issuerName);
  if (known === undefined) throw new Refusal('workload_not_matched', { detail: 'no issuer of this name' });
  return { issuer: known.issuer, issuerName, subject, claims: { sub: subject } };
}

async function list({ broker, principal, request }: Call) {
  const { query } = request;
  const { limit, cursor } = pageOf(query);
  const seesAll = holdsRole(principal, ['operator', 'auditor', 'admin']);
  const scopes = principal.roles.filter(({ role }) => ['operator', 'auditor', 'admin'].includes(role));
  const page = await broker.store.tasks({
    state: query.get('state'),
    template: query.get('template'),
    workload: seesAll ? query.get('workload') : principal.name,
    limit,
    cursor,
  });
  const visible: TaskFound[] = [];
  for (const found of page.items) {
    const { template } = found.task;
    const inScope = scopes.some(
      ({ scope }) => scope.templates?.some((one) => one.matches(template)) ?? scope.providers === null,
    );
    if (inScope || (await relationsTo(found, principal, broker)).has('owner')) visible.push(found);
  }
  return ok({ items: visible.map(taskView), nextCursor: page.nextCursor });
}

async function heartbeat(call: Call) {
  const { broker, principal } = call;
  const found = await related(call, ['owner']);
  const { task } = found;
  const status = await heartbeatTask(found, principal, broker.lifecycle);
  const { state, stateReason, leaseExpiresAt } = status;
  const token = (state === 'open' || state === 'suspended') && (await mayHaveToken(call));
  return ok({
    id: formatId('tsk', task.id),
    state,
    stateReason,
    leaseExpiresAt: leaseExpiresAt.toISOString(),
    expiresAt: task.expiresAt.toISOString(),
    ...(token ? { taskToken: (await broker.tokens.signTask(task)).reveal() } : {}),
  });
}

/** A task token opens what the task may; a once-only assertion gives one as often as it may open: once. */
async function mayHaveToken({ broker, principal: { uses } }: Call): Promise<boolean> {
  return uses.length === 0 || (await broker.exchange.tasks.use(uses)) === null;
}

// Who may is asked each time: a remembered answer is for those who may still ask.
async function end(call: Call) {
  const { broker, principal } = call;
  const { task } = await related(call, ['owner', 'opener', 'operator']);
  const { outcome } = parseBody(endTaskBody, call.request);
  const command = { state: outcome, reason: 'ended by its caller', actor: principal.name };
  return remember(call, async () => {
    const ending = await endTask(task.id, command, broker.lifecycle);
    broker.nudge();
    return ok(endingView(ending));
  });
}

async function suspend(call: Call) {
  const { broker, principal } = call;
  const { task } = await related(call, ['operator']);
  const { reason = 'suspended by an operator' } = parseBody(optionalReasonBody, call.request);
  return remember(call, async () => {
    const ending = await suspendTask(task.id, { reason, actor: principal.name }, broker.lifecycle);
    broker.nudge();
    return ok(endingView(ending));
  });
}

async function resume(call: Call) {
  const { broker, principal } = call;
  const { task } = await related(call, ['operator']);
  const { reason = null } = parseBody(optionalReasonBody, call.request);
  return remember(call, async () => {
    const command = { actor: principal.name, reason };
    const { state, generations } = await resumeTask(task.id, command, broker.lifecycle);
    return ok({
      id: formatId('tsk', task.id),
      state,
      generation: Math.max(1, ...Object.values(generations)),
    });
  });
}

/** The task, when the caller stands to it in one of these relations; else exactly what an unknown task answers. */
export async function related(
  call: Call,
  allowed: readonly Relation[],
  named = call.request.params['id'] ?? '',
): Promise<TaskFound> {
  const { broker, principal } = call;
  const id = parseId('tsk', named);
  const found = id === undefined ? undefined : await broker.exchange.tasks.find(id, { fresh: true });
  if (found === undefined) throw new Refusal('task_unknown', { detail: 'unknown' });
  const relations = await relationsTo(found, principal, broker);
  if (!allowed.some((relation) => relations.has(relation))) {
    // Who may see the task may know that it lacks the role; all others learn nothing.
    relations.delete('source');
    if (relations.size > 0 && allowed.includes('operator'))
      throw new Refusal('role_required', { detail: 'operator' });
    throw new Refusal('task_unknown', { detail: 'foreign' });
  }
  return found;
}

export async function relationsTo(
  { task }: TaskFound,
  principal: Principal,
  broker: Broker,
): Promise<Set<Relation>> {
  const relations = new Set<Relation>();
  const { viaTask } = principal;
  const above = task.parentId === null ? [] : (await lineageOf(task, broker.exchange)).slice(1);
  if (viaTask !== null) {
    if (viaTask.task.id === task.id) relations.add('owner');
    if (above.some((one) => one.task.id === viaTask.task.id)) relations.add('opener');
    return relations;
  }
  const pinned = await broker.policies.version(task.template, task.templateVersion);
  if (ownsTask(task, pinned, principal)) relations.add('owner');
  if (above.some((one) => ownsTask(one.task, one.pinned, principal))) relations.add('opener');
  if (task.opener !== null && isSubject(task.opener, principal.identity)) relations.add('opener');
  if (holdsRole(principal, ['operator', 'admin'], { template: task.template })) relations.add('operator');
  if (holdsRole(principal, ['auditor'], { template: task.template })) relations.add('auditor');
  if (isSource(await broker.policies.current(), task, principal.identity)) relations.add('source');
  return relations;
}

function taskView({ task, status }: TaskFound): TaskView {
  return {
    id: formatId('tsk', task.id),
    state: status.state,
    stateReason: status.stateReason,
    template: task.template,
    templateVersion: task.templateVersion,
    workload: workloadName(task.workload),
    actors: task.actors.map(workloadName),
    parent: task.parentId === null ? null : formatId('tsk', task.parentId),
    ref: task.ref,
    params: task.params,
    objective: task.objective,
    outcome: status.outcome,
    grants: task.grants.map(({ id, name, tool, resource, actions, ttl, endsWithinSeconds }) => ({
      id: formatId('grt', id),
      name,
      tool,
      resource,
      actions,
      ttl: { default: ttl.defaultSeconds, max: ttl.maxSeconds },
      approval: null,
      endsWithin: endsWithinSeconds,
    })),
    openedAt: task.openedAt.toISOString(),
    leaseExpiresAt: status.leaseExpiresAt.toISOString(),
    expiresAt: task.expiresAt.toISOString(),
    endedAt: status.endedAt?.toISOString() ?? null,
  };
}

function endingView({ state, worstCaseAt, ...counts }: Ending): { state: string; ending: EndingView } {
  const { total, confirmed, pending, byExpiry } = counts;
  return {
    state,
    ending: { total, confirmed, pending, byExpiry, worstCaseAt: worstCaseAt?.toISOString() ?? null },
  };
}
