import { auditEvent, type FreezeScope, Refusal, reaches, rolesOf } from '@mayfly/core';
import { formatId, freezeBody, parseId } from '@mayfly/protocol';
import type { FreezeStatus } from '@mayfly/store';
import type { z } from 'zod';
import { holdsUnscoped, type Principal } from './authenticate.ts';
import { type Call, ok, pageOf, parseBody, type Route } from './route.ts';
import { related } from './tasks.ts';

export const operationRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/freeze',
    access: ['operator', 'admin'],
    says: 'Stops issuing, all or of a template, provider or issuer; ending goes on',
    body: freezeBody,
    handle: (call) => setFreeze(call, true),
  },
  {
    method: 'POST',
    path: '/v1/thaw',
    access: ['operator', 'admin'],
    says: 'Ends that freeze',
    body: freezeBody,
    handle: (call) => setFreeze(call, false),
  },
  {
    method: 'GET',
    path: '/v1/freeze',
    access: ['operator', 'admin', 'auditor'],
    says: 'Where issuing is frozen, why, and whether every older intent has ended',
    handle: async ({ broker }) => {
      const all = await broker.store.documents.freezeStatus();
      const scopes = all.filter(({ scope }) => scope !== 'all');
      const on = { scope: 'all', name: '' } as const;
      return ok({ ...freezeView(all, on), scopes: scopes.map((one) => freezeView(all, one)) });
    },
  },
  {
    method: 'GET',
    path: '/v1/whoami',
    access: 'attested',
    says: 'Which identity was taken, its roles, and the claims that a template can match',
    handle: whoami,
  },
  {
    method: 'GET',
    path: '/v1/grants',
    access: 'task',
    says: 'The grants of a task',
    query: ['task', 'limit', 'cursor'],
    handle: grants,
  },
  {
    method: 'GET',
    path: '/v1/audit/events',
    access: ['auditor', 'admin'],
    says: 'Audit rows in order, with their canonical bytes and leaf hash',
    query: ['type', 'task', 'issuance', 'limit', 'cursor'],
    handle: auditEvents,
  },
];

async function setFreeze({ broker, principal, request }: Call, frozen: boolean) {
  const { reason, ...named } = parseBody(freezeBody, request);
  const on = freezeScope(named);
  if (!mayFreeze(on, principal)) throw new Refusal('role_required', { detail: 'outside the scope' });
  const { newId, clock } = broker.exchange;
  const type = frozen ? 'installation.frozen' : 'installation.thawed';
  const body = on.scope === 'all' ? { reason } : { reason, ...on };
  const event = auditEvent({ newId, now: clock.now() }, { type, actor: principal.name, body });
  const { documents } = broker.store;
  await (frozen ? documents.freeze({ ...on, reason }, event) : documents.thaw(on, event));
  // Answered once every intent older than the freeze has ended, or after the mint deadline at the latest.
  const until = Date.now() + broker.config.mintDeadline;
  let view = freezeView(await documents.freezeStatus(), on);
  while (frozen && !view.drained && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    view = freezeView(await documents.freezeStatus(), on);
  }
  return ok(view);
}

function freezeScope({
  template,
  provider,
  issuer,
}: Omit<z.output<typeof freezeBody>, 'reason'>): FreezeScope {
  if (template !== undefined) return { scope: 'template', name: template };
  if (provider !== undefined) return { scope: 'provider', name: provider };
  return issuer === undefined ? { scope: 'all', name: '' } : { scope: 'issuer', name: issuer };
}

// An issuer's subjects run any template, and a provider serves any: that reaches beyond a scope of templates.
function mayFreeze({ scope, name }: FreezeScope, principal: Principal): boolean {
  if (holdsUnscoped(principal, ['operator', 'admin'])) return true;
  const held = principal.roles.filter(({ role }) => role === 'operator' || role === 'admin');
  if (scope === 'template') return held.some((role) => reaches(role, { template: name }));
  return (
    scope === 'provider' &&
    held.some((role) => role.scope.templates === null && reaches(role, { provider: name }))
  );
}

function freezeView(all: readonly FreezeStatus[], { scope, name }: FreezeScope) {
  const found = all.find((one) => one.scope === scope && one.name === name);
  return {
    ...(scope === 'all' ? {} : { [scope]: name }),
    frozen: found !== undefined,
    reason: found?.reason ?? null,
    since: found?.at.toISOString() ?? null,
    drained: found?.drained ?? false,
  };
}

async function whoami({ broker, principal }: Call) {
  const policy = await broker.policies.current();
  const { issuerName, subject, claims } = principal.identity;
  const people = [...policy.issuers.values()].some((issuer) => issuer.name === issuerName && issuer.people);
  const roles = principal.viaTask === null ? rolesOf(principal.identity, policy) : [];
  return ok({
    issuer: issuerName,
    subject,
    workload: principal.name,
    people,
    task: principal.viaTask === null ? null : formatId('tsk', principal.viaTask.task.id),
    roles: roles.map(({ role, from, scope }) => ({
      role,
      from,
      scope: {
        templates: scope.templates?.map(({ text }) => text) ?? null,
        providers: scope.providers?.map(({ text }) => text) ?? null,
      },
    })),
    claims,
  });
}

async function grants(call: Call) {
  const named = call.request.query.get('task') ?? '';
  const { task } = await related(call, ['owner', 'opener', 'operator', 'auditor'], named);
  const items = task.grants.map((grant) => ({
    ...grant,
    id: formatId('grt', grant.id),
    taskId: formatId('tsk', grant.taskId),
  }));
  return ok({ items, nextCursor: null });
}

async function auditEvents({ broker, request, principal }: Call) {
  if (!holdsUnscoped(principal, ['auditor', 'admin']))
    throw new Refusal('role_required', { detail: 'auditor without scope' });
  const { query } = request;
  const { limit, cursor } = pageOf(query);
  const id = (prefix: 'tsk' | 'isn', name: string) => {
    const text = query.get(name);
    if (text === null) return null;
    const parsed = parseId(prefix, text);
    if (parsed === undefined) throw new Refusal('malformed_request', { detail: name });
    return parsed;
  };
  const page = await broker.store.auditEvents({
    after: cursor,
    limit,
    type: query.get('type'),
    task: id('tsk', 'task'),
    issuance: id('isn', 'issuance'),
  });
  const items = page.items.map((row) => ({
    seq: Number(row.seq),
    id: formatId('evt', row.id),
    at: row.at.toISOString(),
    type: row.type,
    actor: row.actor,
    taskId: row.taskId === null ? null : formatId('tsk', row.taskId),
    issuanceId: row.issuanceId === null ? null : formatId('isn', row.issuanceId),
    body: JSON.parse(Buffer.from(row.body).toString('utf8')) as unknown,
    canonical: Buffer.from(row.body).toString('utf8'),
    leafHash: Buffer.from(row.leafHash).toString('hex'),
  }));
  return ok({ items, nextCursor: page.nextCursor });
}
