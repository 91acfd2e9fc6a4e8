import { auditEvent, Refusal, rolesOf } from '@mayfly/core';
import { formatId, parseId, reasonBody } from '@mayfly/protocol';
import { holdsUnscoped } from './authenticate.ts';
import { type Call, ok, pageOf, parseBody, type Route } from './route.ts';
import { related } from './tasks.ts';

export const operationRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/freeze',
    access: ['operator', 'admin'],
    says: 'Stops all issuing; ending goes on',
    body: reasonBody,
    handle: (call) => setFreeze(call, true),
  },
  {
    method: 'POST',
    path: '/v1/thaw',
    access: ['operator', 'admin'],
    says: 'Ends the freeze',
    body: reasonBody,
    handle: (call) => setFreeze(call, false),
  },
  {
    method: 'GET',
    path: '/v1/freeze',
    access: ['operator', 'admin', 'auditor'],
    says: 'Whether issuing is frozen, why, and whether every older intent has ended',
    handle: async ({ broker }) => ok(await freezeView(broker.store.documents)),
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
  // A freeze of everything reaches beyond any scope.
  if (!holdsUnscoped(principal, ['operator', 'admin']))
    throw new Refusal('role_required', { detail: 'operator without scope' });
  const { reason } = parseBody(reasonBody, request);
  const { newId, clock } = broker.exchange;
  const type = frozen ? 'installation.frozen' : 'installation.thawed';
  const event = auditEvent({ newId, now: clock.now() }, { type, actor: principal.name, body: { reason } });
  const { documents } = broker.store;
  await documents.freeze(frozen ? reason : null, event);
  // Answered once every intent older than the freeze has ended, or after the mint deadline at the latest.
  const until = Date.now() + broker.config.mintDeadline;
  let view = await freezeView(documents);
  while (frozen && !view.drained && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    view = await freezeView(documents);
  }
  return ok(view);
}

async function freezeView(documents: Call['broker']['store']['documents']) {
  const { frozen, reason, since, drained } = await documents.freezeStatus();
  return { frozen, reason, since: since?.toISOString() ?? null, drained };
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
