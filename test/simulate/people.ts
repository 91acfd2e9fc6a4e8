import { endTask, resumeTask, suspendTask } from '@mayfly/core';
import { askFor, type Clients, drawRestMs } from './clients.ts';
import { documents, narrowed, parent } from './documents.ts';

/** A person on duty: suspends, resumes, ends and revokes whatever there is. */
export async function runOperator(clients: Clients): Promise<void> {
  const { scheduler, store } = clients;
  const { random } = scheduler;
  const steps = 1 + random.below(4);
  for (let step = 0; step < steps; step += 1) {
    await scheduler.sleep(drawRestMs(clients));
    const tasks = [...store.rows.tasks.values()];
    const found = tasks[random.below(tasks.length)];
    if (found === undefined) continue;
    await operate(clients, found.task.id);
  }
}

async function operate(clients: Clients, id: string): Promise<void> {
  const { scheduler, store } = clients;
  const actor = 'operator';
  switch (scheduler.random.pick(['suspend', 'suspend', 'resume', 'resume', 'end', 'revoke'] as const)) {
    case 'suspend':
      await askFor(clients, 'suspend', (ports) => suspendTask(id, { reason: 'looking', actor }, ports));
      return;
    case 'resume':
      await askFor(clients, 'resume', (ports) => resumeTask(id, { actor, reason: null }, ports));
      return;
    case 'end':
      await askFor(clients, 'end', (ports) =>
        endTask(id, { state: 'deviated', reason: 'seen', actor }, ports),
      );
      return;
    case 'revoke':
      return revokeOne(clients, id, store.rows.issuances);
  }
}

async function revokeOne(
  clients: Clients,
  taskId: string,
  issuances: ReadonlyMap<
    string,
    { readonly record: { readonly id: string; readonly taskId: string | null } }
  >,
): Promise<void> {
  const own = [...issuances.values()].filter(({ record }) => record.taskId === taskId);
  const one = own[clients.scheduler.random.below(own.length)]?.record.id;
  if (one === undefined) return;
  await askFor(clients, 'revoke', (ports) =>
    ports.ledger.revoke(one, {
      ...{ id: ports.newId(), type: 'credential.revoked', at: ports.now(), actor: 'operator' },
      ...{ taskId, issuanceId: one, body: {} },
    }),
  );
}

/** Policy changes under whatever runs: narrowing, disabling, freezing, and back. */
export async function runAdmin(clients: Clients): Promise<void> {
  const { scheduler, documents: store, trace } = clients;
  const { random } = scheduler;
  const all = [...documents.templates.values()];
  for (let step = random.below(4); step > 0; step -= 1) {
    await scheduler.sleep(drawRestMs(clients));
    const change = random.pick([
      'narrow',
      'widen',
      'disable',
      'freeze',
      'thaw',
      'distrust',
      'trust',
    ] as const);
    trace?.(`admin ${change}`);
    if (change === 'narrow') store.apply(narrowed);
    else if (change === 'widen') for (const template of all) store.apply(template);
    else if (change === 'disable') store.apply({ ...parent, mode: 'disabled' });
    else if (change === 'freeze') store.freeze('drill');
    else if (change === 'thaw') store.freeze(null);
    else store.publish({ issuers: change === 'trust' ? documents.issuers : new Map() });
  }
  store.freeze(null);
}
