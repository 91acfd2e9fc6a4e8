import { formatId } from '@mayfly/protocol';
import type { AuditRow } from '@mayfly/store';
import { holdsRole } from './authenticate.ts';
import { type Call, ok, pageOf, type Route } from './route.ts';
import { related, relationsTo } from './tasks.ts';

const readers = ['operator', 'admin', 'auditor'] as const;

export const timelineRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/tasks/:id/timeline',
    access: 'task',
    says: 'What happened to a task, its credentials and the tasks beneath it, in order; with evidence for operator and auditor',
    query: ['limit', 'cursor'],
    handle: timeline,
  },
];

async function timeline(call: Call) {
  const { broker, principal, request } = call;
  const found = await related(call, ['owner', 'opener', 'operator', 'auditor']);
  const relations = await relationsTo(found, principal, broker);
  const isTheirs = relations.has('owner') || relations.has('opener');
  const mayRead = (template: string) => holdsRole(principal, readers, { template });
  const { limit, cursor } = pageOf(request.query);
  const tree = await broker.store.tree(found.task.id);
  // A task beneath may be of a template outside the reader's scope (invariant I10).
  const shown = new Map(
    tree.flatMap(({ id, template }) =>
      isTheirs || mayRead(template) ? [[id, mayRead(template)] as const] : [],
    ),
  );
  const page = await broker.store.timeline({ tasks: [...shown.keys()], limit, cursor });
  const items = page.items.map((row) => eventView(row, shown.get(row.taskId ?? '') === true));
  return ok({ items, nextCursor: page.nextCursor });
}

/** The owner learns what happened and why; who decided it, and by what, is for those who answer for it. */
function eventView(row: AuditRow, withEvidence: boolean): Record<string, unknown> {
  const event: { body?: Record<string, unknown> } = JSON.parse(Buffer.from(row.body).toString('utf8'));
  const { body = {} } = event;
  return {
    seq: Number(row.seq),
    at: row.at.toISOString(),
    type: row.type,
    task: row.taskId === null ? null : formatId('tsk', row.taskId),
    issuance: row.issuanceId === null ? null : formatId('isn', row.issuanceId),
    reason: typeof body['reason'] === 'string' ? body['reason'] : null,
    ...(withEvidence ? { actor: row.actor, evidence: body } : {}),
  };
}
