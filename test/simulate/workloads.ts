import {
  type ExchangeRequest,
  endTask,
  exchange,
  Fault,
  heartbeatTask,
  lineageOf,
  openTask,
  resumeTask,
  suspendTask,
} from '@mayfly/core';
import { parseId } from '@mayfly/protocol';
import { issuerUrl, nothingPresented } from '@mayfly/testkit';
import { child, documents, narrowed, parent } from './documents.ts';
import type { BrokerPorts, Surroundings } from './replica.ts';

/** A load balancer before the replicas: the answer, or that there was none (connection lost, or the client gave up). */
export type Ask = <T>(name: string, run: (ports: BrokerPorts) => Promise<T>) => Promise<T | 'no answer'>;

export interface Clients
  extends Pick<Surroundings, 'scheduler' | 'store' | 'oracles' | 'documents' | 'trace'> {
  ask: Ask;
}

const tools = ['denying', 'deleting', 'expiring', 'report'] as const;

/** Steps between which a lease or a reap age passes now and then. */
function drawRestMs({ scheduler: { random } }: Clients): number {
  return random.pick([0, 0, 300, 2_000, 2_000, 9_000, 25_000, 70_000]) * random.fraction();
}

/** An agent: opens tasks, takes credentials, retries what was not answered, ends tasks or forgets them. */
export async function runAgent(clients: Clients, name: string): Promise<void> {
  const { scheduler } = clients;
  const { random } = scheduler;
  const agent = new Agent(clients, name);
  const steps = 1 + random.below(random.pick([3, 5, 9]));
  for (let step = 0; step < steps; step += 1) {
    await agent.act();
    await scheduler.sleep(drawRestMs(clients));
  }
  if (random.below(2) === 0) await agent.endAny();
}

interface Known {
  readonly id: string;
  readonly parentId: string | null;
}

class Agent {
  readonly #clients: Clients;
  readonly #subject: string;
  readonly #tasks: Known[] = [];
  #assertions = 0;
  #refs = 0;

  constructor(clients: Clients, subject: string) {
    this.#clients = clients;
    this.#subject = subject;
  }

  get #random() {
    return this.#clients.scheduler.random;
  }

  #assertion(): string {
    this.#assertions += 1;
    return `${this.#subject}:${this.#assertions}`;
  }

  #anyTask(): Known | undefined {
    return this.#tasks[this.#random.below(this.#tasks.length)];
  }

  async act(): Promise<void> {
    const task = this.#anyTask();
    const dice = this.#random.below(20);
    if (task === undefined || dice < 3) return dice % 2 === 0 ? this.#open() : this.#takeByOpening();
    if (dice < 12) return this.#take(task);
    if (dice < 14) return this.#openChild(task);
    if (dice < 16) return this.#heartbeat(task);
    if (dice < 17) return this.#end(task);
    if (dice < 18) return this.#together(task);
    return dice % 2 === 0 ? this.#replay(task) : this.#repeat(task);
  }

  async endAny(): Promise<void> {
    const task = this.#anyTask();
    if (task !== undefined) await this.#end(task);
  }

  #learn(found: { readonly id: string; readonly parentId: string | null }): void {
    if (!this.#tasks.some(({ id }) => id === found.id)) this.#tasks.push(found);
  }

  async #open(): Promise<void> {
    const assertion = this.#assertion();
    const uses = this.#uses(assertion);
    const ref = this.#random.below(3) === 0 ? null : this.#ref();
    await this.#retrying('open', async (ports) => {
      const request = { ...this.#opening(parent.name, ref), ancestors: [] };
      const { task } = await openTask(request, { uses, idempotencyKey: null }, ports);
      this.#clients.oracles.onOpened(assertion);
      this.#learn(task);
    });
  }

  #ref(): string {
    if (this.#refs === 0 || this.#random.below(2) === 0) this.#refs += 1;
    return `run-${this.#refs}`;
  }

  #uses(assertion: string) {
    const expiresAt = new Date('2026-07-02T00:00:00Z');
    return [{ digest: `digest of ${assertion}`, expiresAt, replayed: 'assertion_replayed' as const }];
  }

  #opening(template: string, ref: string | null) {
    const subject = this.#subject;
    const workload = { issuer: issuerUrl, issuerName: 'agents', subject, claims: { sub: subject } };
    const nobody = { opener: null, actors: [], confirmation: null, objective: null };
    return { template, ref, params: { area: 'north' }, workload, ...nobody };
  }

  async #openChild({ id }: Known): Promise<void> {
    await this.#retrying('open child', async (ports) => {
      const found = await ports.tasks.find(id);
      if (found === undefined) return;
      const ancestors = await lineageOf(found.task, ports);
      const use = { uses: [], idempotencyKey: null };
      const { task } = await openTask({ ...this.#opening(child.name, this.#ref()), ancestors }, use, ports);
      this.#learn(task);
    });
  }

  /** The exchange that opens its task. */
  async #takeByOpening(): Promise<void> {
    const task = { template: parent.name, ref: this.#ref(), params: { area: 'north' } };
    const subject = { kind: 'assertion' as const, token: this.#assertion() };
    await this.#exchange({ subject, detail: this.#detail(task, false) });
  }

  #detail(task: NonNullable<ExchangeRequest['detail']>['task'], inner: boolean) {
    const tool = this.#random.pick(tools);
    const report = tool === 'report';
    const part = inner ? 'inner/' : '';
    const ttl = this.#random.pick([undefined, undefined, 20, 90]);
    return {
      ...{ type: 'mayfly_tool_call' as const, task, tool: `${tool}.read` },
      identifier: report ? 'https://reports.example/north' : `store:${tool}/north/${part}a`,
      ...(report || this.#random.below(2) === 0 ? {} : { actions: ['read' as const] }),
      ...(ttl === undefined || report ? {} : { ttl }),
    };
  }

  async #take({ id, parentId }: Known): Promise<void> {
    const detail = this.#detail(id, parentId !== null || this.#random.below(2) === 0);
    const idempotencyKey = this.#random.below(3) === 0 ? `key-${this.#assertion()}` : null;
    const subject =
      parentId === null && this.#random.below(2) === 0
        ? { kind: 'assertion' as const, token: this.#assertion() }
        : { kind: 'access-token' as const, token: `task-token/${id}` };
    await this.#exchange({ subject, detail, idempotencyKey });
  }

  /** Two at once: a quota, a budget or an assertion has room for one. */
  async #together(task: Known): Promise<void> {
    await Promise.all([this.#take(task), this.#take(task), this.#take(task)]);
  }

  /** The same assertion, shown twice at the same time. */
  async #replay({ id }: Known): Promise<void> {
    const request = {
      subject: { kind: 'assertion' as const, token: this.#assertion() },
      detail: this.#detail(id, false),
    };
    await Promise.all([this.#exchange(request), this.#exchange(request)]);
  }

  /** A client that does not wait for its answer before it asks again, under the same key. */
  async #repeat({ id, parentId }: Known): Promise<void> {
    const request = {
      subject: { kind: 'access-token' as const, token: `task-token/${id}` },
      detail: this.#detail(id, parentId !== null),
      idempotencyKey: `key-${this.#assertion()}`,
    };
    await Promise.all([this.#exchange(request), this.#exchange(request)]);
  }

  async #exchange(request: Partial<ExchangeRequest>): Promise<void> {
    await this.#retrying('exchange', async (ports) => {
      const outcome = await exchange({ ...emptyRequest, ...request }, ports);
      if (outcome.kind === 'delivered') return this.#onDelivered(outcome.issuance);
      const { error, issuanceId } = outcome;
      const { trace, oracles } = this.#clients;
      trace?.(`   refused: ${error.reason} ${error.detail ?? ''}`);
      if (error.reason === 'internal' || error.reason === 'plan_check_failed')
        oracles.violated(`I13: ${error.reason}: ${String(error.cause)}`);
      if (error instanceof Fault && error.reason === 'not_delivered' && error.effect === 'unknown')
        oracles.onNotDelivered(issuanceId ?? '');
    });
  }

  #onDelivered(issuance: { readonly id: string; readonly task: string }): void {
    const { store, oracles, trace } = this.#clients;
    trace?.(`   delivered ${issuance.id}`);
    oracles.onAnswered(parseId('isn', issuance.id) ?? '');
    const task = store.rows.tasks.get(parseId('tsk', issuance.task) ?? '');
    if (task !== undefined) this.#learn(task.task);
  }

  async #heartbeat({ id }: Known): Promise<void> {
    await this.#retrying('heartbeat', async (ports) => {
      const found = await ports.tasks.find(id);
      if (found === undefined) return;
      await heartbeatTask(found, { identity: found.task.workload, actors: [] }, ports);
    });
  }

  async #end({ id }: Known): Promise<void> {
    const state = this.#random.pick(['completed', 'failed', 'cancelled'] as const);
    await this.#retrying('end', (ports) => endTask(id, { state, reason: 'done', actor: 'agent' }, ports));
  }

  /** What was not answered is mostly asked again, in the very same words, of whichever replica takes it. */
  async #retrying(name: string, run: (ports: BrokerPorts) => Promise<unknown>): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const answer = await askFor(this.#clients, `${this.#subject} ${name}`, run);
      if (answer !== 'no answer' || this.#random.below(4) === 0) return;
    }
  }
}

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
    const change = random.pick(['narrow', 'widen', 'disable', 'freeze', 'thaw', 'touch'] as const);
    trace?.(`admin ${change}`);
    if (change === 'narrow') store.apply(narrowed);
    else if (change === 'widen') for (const template of all) store.apply(template);
    else if (change === 'disable') store.apply({ ...parent, mode: 'disabled' });
    else if (change === 'freeze') store.freeze('drill');
    else if (change === 'thaw') store.freeze(null);
    else store.publish({});
  }
  store.freeze(null);
}

/** Refusals and Faults are answers to whoever asks the API. */
async function askFor(
  { ask, trace }: Clients,
  name: string,
  run: (ports: BrokerPorts) => Promise<unknown>,
): Promise<'answered' | 'no answer'> {
  const answer = await ask(name, async (ports) => {
    try {
      await run(ports);
    } catch (error) {
      trace?.(`   ${name}: ${String(Reflect.get(Object(error), 'reason') ?? error)}`);
    }
    return 'answered' as const;
  });
  return answer;
}

const emptyRequest: ExchangeRequest = {
  subject: { kind: 'assertion', token: '' },
  actor: null,
  presented: nothingPresented,
  detail: null,
  grantId: null,
  requestedTokenType: null,
  targets: [],
  idempotencyKey: null,
  requestId: 'request-1',
};
