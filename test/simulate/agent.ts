import {
  type ExchangeRequest,
  endTask,
  exchange,
  Fault,
  heartbeatTask,
  lineageOf,
  openTask,
  type Task,
} from '@mayfly/core';
import { parseId } from '@mayfly/protocol';
import { issuerUrl, nothingPresented } from '@mayfly/testkit';
import { askFor, type Clients, drawRestMs } from './clients.ts';
import { child, parent } from './documents.ts';
import type { BrokerPorts } from './ports.ts';

const acts = [
  'begin',
  'take',
  'take and end',
  'take together',
  'open child',
  'work beneath',
  'heartbeat',
  'end',
  'replay',
  'repeat',
] as const;

const tools = ['denying', 'deleting', 'expiring', 'report'] as const;

/** An agent: opens tasks, takes credentials, retries what was not answered, ends tasks or forgets them. */
export async function runAgent(clients: Clients, name: string): Promise<void> {
  const { scheduler } = clients;
  const { random } = scheduler;
  const agent = new Agent(clients, name);
  const steps = 2 + random.below(random.pick([3, 5, 9]));
  for (let step = 0; step < steps; step += 1) {
    await agent.act();
    await scheduler.sleep(drawRestMs(clients));
  }
  if (random.below(2) === 0) await agent.endAny();
}

type Known = Pick<Task, 'id' | 'parentId' | 'grants'>;

class Agent {
  readonly #clients: Clients;
  readonly #subject: string;
  /** Agents differ: what needs the same act often is not found among ten kinds of act. */
  readonly #favourite: (typeof acts)[number];
  readonly #favouriteTool: (typeof tools)[number];
  readonly #tasks: Known[] = [];
  #assertions = 0;
  #refs = 0;

  constructor(clients: Clients, subject: string) {
    this.#clients = clients;
    this.#subject = subject;
    this.#favourite = this.#random.pick(acts);
    this.#favouriteTool = this.#random.pick(tools);
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
    const act = this.#random.below(2) === 0 ? this.#favourite : this.#random.pick(acts);
    if (task === undefined || act === 'begin') return this.#begin();
    switch (act) {
      case 'take':
        return this.#take(task);
      case 'take and end':
        return this.#takeAndEnd(task);
      case 'take together':
        return this.#together(task);
      case 'open child':
        return this.#openChild(task);
      case 'work beneath':
        return this.#workBeneath(task);
      case 'heartbeat':
        return this.#heartbeat(task);
      case 'end':
        return this.#end(task);
      case 'replay':
        return this.#replay(task);
      case 'repeat':
        return this.#repeat(task);
      default:
        return act satisfies never;
    }
  }

  async endAny(): Promise<void> {
    const task = this.#anyTask();
    if (task !== undefined) await this.#end(task);
  }

  #begin(): Promise<void> {
    const dice = this.#random.below(5);
    return dice < 2 ? this.#open() : dice < 4 ? this.#takeByOpening() : this.#openByReplay();
  }

  #learn(found: Known): void {
    if (!this.#tasks.some(({ id }) => id === found.id)) this.#tasks.push(found);
  }

  async #open(): Promise<void> {
    const assertion = this.#assertion();
    const uses = this.#uses(assertion);
    const ref = this.#random.below(3) === 0 ? null : this.#ref();
    await this.#retrying('open', async (ports) => {
      const request = { ...this.#opening(parent.name, ref), ancestors: [] };
      const { task } = await openTask(request, { uses, attested: [], idempotencyKey: null }, ports);
      this.#clients.oracles.intents.onOpened(assertion);
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

  async #openChild({ id }: Pick<Known, 'id'>): Promise<void> {
    await this.#retrying('open child', async (ports) => {
      const found = await ports.tasks.find(id);
      if (found === undefined) return;
      const ancestors = await lineageOf(found.task, ports);
      const use = { uses: [], attested: [], idempotencyKey: null };
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

  /** One assertion for two tasks. */
  async #openByReplay(): Promise<void> {
    const subject = { kind: 'assertion' as const, token: this.#assertion() };
    this.#refs += 2;
    const both = [this.#refs, this.#refs - 1].map((ref) => {
      const task = { template: parent.name, ref: `run-${ref}`, params: { area: 'north' } };
      return this.#exchange({ subject, detail: this.#detail(task, false) });
    });
    await Promise.all(both);
  }

  #detail(task: NonNullable<ExchangeRequest['detail']>['task'], inner: boolean) {
    const tool = this.#random.below(2) === 0 ? this.#favouriteTool : this.#random.pick(tools);
    const report = tool === 'report';
    const part = inner ? 'inner/' : '';
    const ttl = this.#random.pick([undefined, 20, 90, 120]);
    return {
      ...{ type: 'mayfly_tool_call' as const, task, tool: `${tool}.read` },
      identifier: report ? 'https://reports.example/north' : `store:${tool}/north/${part}a`,
      ...(report || this.#random.below(2) === 0 ? {} : { actions: ['read' as const] }),
      ...(ttl === undefined || report ? {} : { ttl }),
    };
  }

  async #take(task: Known): Promise<void> {
    const { id, parentId } = task;
    if (this.#random.below(8) === 0) return this.#takeByGrant(task);
    const detail = this.#detail(id, parentId !== null || this.#random.below(2) === 0);
    const idempotencyKey = this.#random.below(3) === 0 ? `key-${this.#assertion()}` : null;
    const subject =
      parentId === null && this.#random.below(2) === 0
        ? { kind: 'assertion' as const, token: this.#assertion() }
        : { kind: 'access-token' as const, token: `task-token/${id}` };
    await this.#exchange({ subject, detail, idempotencyKey });
  }

  /** A client that knows no descriptors names a stored grant as its audience. */
  async #takeByGrant({ id, grants }: Known): Promise<void> {
    const grant = grants.find(({ name }) => name === 'report');
    if (grant === undefined) return;
    const subject = { kind: 'access-token' as const, token: `task-token/${id}` };
    await this.#exchange({ subject, grantId: grant.id });
  }

  /** Keeps a child alive while nobody thinks of the task above it. */
  async #workBeneath({ id, parentId }: Known): Promise<void> {
    const above = parentId ?? id;
    if (!this.#tasks.some((one) => one.parentId === above)) await this.#openChild({ id: above });
    const child = this.#tasks.find((one) => one.parentId === above);
    for (let turn = 0; turn < 3 && child !== undefined; turn += 1) {
      await this.#heartbeat(child);
      await this.#clients.scheduler.sleep(this.#random.below(18_000));
      await this.#take(child);
    }
  }

  /** Ends what it is still asking for. */
  async #takeAndEnd(task: Known): Promise<void> {
    await Promise.all([this.#take(task), this.#end(task)]);
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
        oracles.credentials.onNotDelivered(issuanceId ?? '');
    });
  }

  #onDelivered(issuance: { readonly id: string; readonly task: string }): void {
    const { store, oracles, trace } = this.#clients;
    trace?.(`   delivered ${issuance.id}`);
    oracles.credentials.onAnswered(parseId('isn', issuance.id) ?? '');
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
