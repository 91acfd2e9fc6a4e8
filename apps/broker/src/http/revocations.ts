import {
  auditEvent,
  endGrant,
  Refusal,
  type RevocationScope,
  type RevocationStatus,
  reaches,
} from '@mayfly/core';
import { formatId, optionalReasonBody, parseId, revocationBody } from '@mayfly/protocol';
import type { z } from 'zod';
import { holdsUnscoped, type Principal } from './authenticate.ts';
import { remember } from './idempotency.ts';
import { type Call, ok, pageOf, parseBody, type Route } from './route.ts';

const enders = ['operator', 'admin'] as const;
const readers = ['operator', 'admin', 'auditor'] as const;

export const revocationRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/grants/:id/revoke',
    access: enders,
    says: 'Ends one grant and what came from it beneath; its task lives on',
    body: optionalReasonBody,
    handle: revokeGrant,
  },
  {
    method: 'POST',
    path: '/v1/revocations',
    access: enders,
    says: 'Ends all that a task, grant, workload, template, issuer or provider has, as a job; with dryRun only counts',
    body: revocationBody,
    handle: request,
  },
  {
    method: 'GET',
    path: '/v1/revocations',
    access: readers,
    says: 'Revocations within scope, the newest first, with their progress',
    query: ['limit', 'cursor'],
    handle: list,
  },
  {
    method: 'GET',
    path: '/v1/revocations/:id',
    access: readers,
    says: 'How far a revocation has come, and what the clouds have not confirmed of it',
    handle: async (call) => ok(revocationView(await one(call))),
  },
];

async function revokeGrant(call: Call) {
  const { broker, principal, request } = call;
  const scope = await scopeOf({ grant: request.params['id'] ?? '' }, call);
  const { reason = 'revoked by an operator' } = parseBody(optionalReasonBody, request);
  return remember(call, async () => {
    await endGrant(scope.name, { reason, actor: principal.name }, broker.lifecycle);
    broker.nudge();
    return ok({ id: formatId('grt', scope.name), state: 'ended' });
  });
}

async function request(call: Call) {
  const { broker, principal } = call;
  const { reason, dryRun, ...named } = parseBody<z.output<typeof revocationBody>>(
    revocationBody,
    call.request,
  );
  const scope = await scopeOf(named, call);
  const { revocations } = broker.store;
  const total = await revocations.measure(scope);
  if (dryRun) return ok({ ...shownScope(scope), dryRun, unit: unitOf(scope), total });
  return remember(call, async () => {
    const { newId, clock } = broker.exchange;
    const id = newId();
    const body = { revocation: id, ...scope, reason, total };
    const event = auditEvent(
      { newId, now: clock.now() },
      { type: 'revocation.requested', actor: principal.name, body },
    );
    await revocations.request({ id, ...scope, reason, requestedBy: principal.name }, event);
    broker.nudge();
    const made = await revocations.find(id);
    if (made === undefined) throw new Refusal('not_found');
    return ok(revocationView(made), 201);
  });
}

/** The one thing named, when it exists and lies within the caller's scope (invariant I10). */
async function scopeOf(
  named: Partial<Record<RevocationScope['by'], string | undefined>>,
  { broker, principal }: Call,
): Promise<RevocationScope> {
  const [[by, text] = ['', ''] as const] = Object.entries(named).filter(([, value]) => value !== undefined);
  const scope = await resolve(by as RevocationScope['by'], text ?? '', broker); // The schema's keys.
  if (!(await mayEnd(scope, principal, broker)))
    throw new Refusal(scope.by === 'task' || scope.by === 'grant' ? 'task_unknown' : 'role_required', {
      detail: 'outside the scope',
    });
  return scope;
}

async function resolve(
  by: RevocationScope['by'],
  text: string,
  broker: Call['broker'],
): Promise<RevocationScope> {
  if (by !== 'task' && by !== 'grant') return { by, name: text };
  const id = parseId(by === 'task' ? 'tsk' : 'grt', text);
  const { tasks } = broker.exchange;
  const found = id === undefined ? undefined : await (by === 'task' ? tasks.find(id) : tasks.findByGrant(id));
  if (id === undefined || found === undefined) throw new Refusal('task_unknown', { detail: 'unknown' });
  return { by, name: id };
}

// All that a workload or issuer has lies in any template and provider; all of a provider in any template.
async function mayEnd(
  scope: RevocationScope,
  principal: Principal,
  broker: Call['broker'],
): Promise<boolean> {
  if (holdsUnscoped(principal, enders)) return true;
  return seenWith(scope, principal, { broker, roles: enders });
}

async function seenWith(
  { by, name }: RevocationScope,
  { roles: all }: Principal,
  { broker, roles }: { broker: Call['broker']; roles: readonly string[] },
): Promise<boolean> {
  const held = all.filter(({ role }) => roles.includes(role));
  const { tasks } = broker.exchange;
  switch (by) {
    case 'workload':
    case 'session':
    case 'issuer':
      return false;
    case 'template':
      return held.some((role) => reaches(role, { template: name }));
    case 'provider':
      return held.some((role) => role.scope.templates === null && reaches(role, { provider: name }));
    case 'task': {
      const template = (await tasks.find(name))?.task.template;
      return template !== undefined && held.some((role) => reaches(role, { template }));
    }
    case 'grant': {
      const task = (await tasks.findByGrant(name))?.task;
      const provider = task?.grants.find(({ id }) => id === name)?.provider;
      if (task === undefined || provider === undefined) return false;
      return held.some((role) => reaches(role, { template: task.template, provider }));
    }
    default:
      return by satisfies never;
  }
}

async function maySee(status: RevocationStatus, { principal, broker }: Call): Promise<boolean> {
  if (holdsUnscoped(principal, readers)) return true;
  return seenWith(status, principal, { broker, roles: readers });
}

async function list(call: Call) {
  const { limit, cursor } = pageOf(call.request.query);
  const page = await call.broker.store.listRevocations({ limit, cursor });
  const items: RevocationStatus[] = [];
  for (const id of page.items) {
    const status = await call.broker.store.revocations.find(id);
    if (status !== undefined && (await maySee(status, call))) items.push(status);
  }
  return ok({ items: items.map(revocationView), nextCursor: page.nextCursor });
}

async function one(call: Call): Promise<RevocationStatus> {
  const id = parseId('rev', call.request.params['id'] ?? '');
  const status = id === undefined ? undefined : await call.broker.store.revocations.find(id);
  if (status === undefined || !(await maySee(status, call))) throw new Refusal('not_found');
  return status;
}

function revocationView(status: RevocationStatus): Record<string, unknown> {
  const { id, reason, requestedBy, requestedAt, doneAt, total, remaining, pending, byExpiry } = status;
  return {
    id: formatId('rev', id),
    ...shownScope(status),
    reason,
    state: doneAt === null ? 'running' : 'done',
    requestedBy,
    requestedAt: requestedAt.toISOString(),
    doneAt: doneAt?.toISOString() ?? null,
    unit: unitOf(status),
    total,
    ended: total - remaining,
    remaining,
    credentials: { pending, byExpiry },
  };
}

function unitOf({ by }: RevocationScope): 'tasks' | 'grants' {
  return by === 'grant' || by === 'provider' ? 'grants' : 'tasks';
}

function shownScope({ by, name }: RevocationScope): Record<string, string> {
  if (by === 'task') return { [by]: formatId('tsk', name) };
  return { [by]: by === 'grant' ? formatId('grt', name) : name };
}
