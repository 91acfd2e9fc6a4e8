import { signalTask } from '@mayfly/core';
import { formatId, type SignalBody, signalBody } from '@mayfly/protocol';
import { remember } from './idempotency.ts';
import { type Call, ok, parseBody, type Route } from './route.ts';
import { related, relationsTo } from './tasks.ts';

export const signalRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/tasks/:id/signals',
    access: 'task',
    says: 'Tells what was seen of a task: its owner, or a source that its template names; answers a verdict',
    body: signalBody,
    handle: signal,
  },
];

async function signal(call: Call) {
  const { broker, principal, request } = call;
  const found = await related(call, ['owner', 'source']);
  const body = parseBody<SignalBody>(signalBody, request);
  const isOwner = !(await relationsTo(found, principal, broker)).has('source');
  const source = { name: principal.name, isOwner };
  return remember(call, async () => {
    const ports = { ...broker.lifecycle, ledger: broker.exchange.ledger, digest: broker.exchange.digest };
    const { verdict, act, status } = await signalTask(found, { signal: body, source }, ports);
    if (act !== null && act !== 'note') broker.nudge();
    const { state, stateReason } = status;
    return ok({ id: formatId('tsk', found.task.id), verdict, act, state, stateReason });
  });
}
