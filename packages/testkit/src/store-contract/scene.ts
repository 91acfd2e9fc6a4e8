import type {
  Attested,
  AuditEvent,
  ClosedState,
  Delivery,
  DeviationAct,
  FreezeScope,
  Grant,
  Intent,
  IssuanceRecord,
  MintPlan,
  NewId,
  Opening,
  Revocability,
  SingleUse,
  Task,
  TaskEnd,
  TaskFound,
  Use,
  Work,
} from '@mayfly/core';
import type { StorePorts } from '../memory-store.ts';

/** A store, the hooks that move time in single rows, and looks at what it holds. One database for a whole suite. */
export interface StoreUnderTest extends StorePorts {
  /** Ports of another process over the same database. */
  replica(): StorePorts;
  readonly newId: NewId;
  /** The database's clock. */
  now(): Promise<Date>;
  epoch(): Promise<number>;
  raiseEpoch(): Promise<void>;
  /** Everything unless said otherwise; null thaws all. */
  freeze(reason: string | null, on?: FreezeScope): Promise<void>;
  /** The work row is due now; a reap deadline that has passed is the same thing. */
  makeDue(workId: string): Promise<void>;
  /** The lease of whoever had claimed it is over. */
  revocationDue(id: string): Promise<void>;
  /** Nothing of what is there is due any more. */
  nothingDue(): Promise<void>;
  /** The lease of the task ends in so many seconds; negative: it has lapsed. */
  leaveLease(taskId: string, seconds: number): Promise<void>;
  passExpiry(taskId: string): Promise<void>;
  passNotAfter(issuanceId: string, seconds: number): Promise<void>;
  /** The minute and the hour in which was counted are over. */
  nextWindow(): Promise<void>;
  /** What was seen of the task was last seen so long ago. */
  sightingsAgo(taskId: string, seconds: number): Promise<void>;
  passQuarantine(template: string): Promise<void>;
  /** The lease of whoever had claimed the review is over. */
  reviewDue(): Promise<void>;
  passWriterLease(role: string): Promise<void>;
  /** The role's document was last read so long ago. */
  readAgo(role: string, seconds: number): Promise<void>;
  /** Every entry of the role's document is needed until so many seconds from now. */
  neededUntil(role: string, seconds: number): Promise<void>;
  /** Types of the events of a task, in order. */
  events(taskId: string): Promise<readonly string[]>;
  /** Bodies of the events of a task of this type, in order. */
  bodies(type: string, taskId: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  work(id: string): Promise<{ state: string; dueInSeconds: number; attempts: number } | undefined>;
  endsOf(issuanceId: string): Promise<readonly string[]>;
  hasIssuance(id: string): Promise<boolean>;
}

export interface TaskWishes {
  readonly owner?: string;
  readonly template?: string;
  readonly ref?: string | null;
  readonly exchanges?: number | null;
  readonly perMinute?: number | null;
  readonly maxOpen?: number | null;
  readonly opensPerHour?: number | null;
  readonly lifeSeconds?: number;
  readonly parent?: Task | null;
  readonly childrenMax?: number;
  readonly endsOnChange?: boolean;
  readonly onLapse?: DeviationAct;
  /** Of its workload, and of whoever acts for it. */
  readonly subject?: string;
  readonly acting?: string;
  /** Whose limits it counts against; its owner's own unless said otherwise. */
  readonly countedAs?: string;
}

export interface IntentWishes {
  /** What the active version leaves of the grant's budget. */
  readonly budget?: Intent['budget'];
  readonly epoch?: number;
  readonly generation?: number;
  readonly uses?: readonly Use[];
  readonly attested?: readonly Attested[];
  readonly key?: string | null;
  readonly purpose?: 'agent' | 'base';
  readonly opening?: Opening | null;
  readonly ends?: Revocability;
  readonly reach?: string;
  /** The role that its session is in. */
  readonly role?: string;
}

export const noUse: SingleUse = { uses: [], attested: [], idempotencyKey: null };

/** Builds what the claims need, each task with an owner of its own so that no limit is shared by accident. */
export class Scene {
  readonly store: StoreUnderTest;

  constructor(store: StoreUnderTest) {
    this.store = store;
  }

  async opening(wishes: TaskWishes = {}): Promise<Opening> {
    const id = this.store.newId();
    const { owner = `owner of ${id}`, template = 'contract', ref = null, lifeSeconds = 1800 } = wishes;
    const { parent = null, childrenMax = 10, countedAs = owner, subject = 'worker' } = wishes;
    const now = await this.store.now();
    const task: Task = {
      ...{ id, template, templateVersion: 1, ref, owner, objective: null, opener: null },
      params: { quarter: '2026q3' },
      actors: [{ ...actor, subject: wishes.acting ?? 'helper' }],
      ...{ confirmation: { jkt: 'thumbprint' }, depthLeft: 1 },
      parentId: parent?.id ?? null,
      workload: { ...agents, subject, claims: { sub: subject, groups: ['a', 'b'] } },
      openedAt: now,
      expiresAt: new Date(now.getTime() + lifeSeconds * 1000),
      leaseSeconds: 60,
      grants: [this.#grant(id, wishes)],
    };
    const { maxOpen = null, opensPerHour = null } = wishes;
    const audit = await this.event('task.opened', id);
    const { endsOnChange = false, onLapse = 'end' } = wishes;
    const limits = {
      countedAs,
      maxOpen,
      opensPerHour,
      childrenMax: parent === null ? null : childrenMax,
      endsOnChange,
      onLapse,
    };
    return { task, ...limits, audit };
  }

  #grant(taskId: string, { exchanges = null, perMinute = null, parent = null }: TaskWishes): Grant {
    return {
      ...{ id: this.store.newId(), taskId, name: 'read', tool: 's3.read', provider: 'cloud' },
      ...{ access: 's3.object', resource: 'arn:aws:s3:::invoices/**', actions: ['read'], mint: { a: [1] } },
      ttl: { defaultSeconds: 60, maxSeconds: 120 },
      endsWithinSeconds: null,
      budget: { exchanges, perMinute },
      above: (parent?.grants ?? []).slice(0, 1).flatMap(({ id, above }) => [...above, id]),
    };
  }

  async opened(wishes: TaskWishes = {}, attested: readonly Attested[] = []): Promise<Task> {
    const opening = await this.opening(wishes);
    const result = await this.open(opening, { ...noUse, attested });
    if (result.kind !== 'opened') throw new Error(`not opened: ${JSON.stringify(result)}`);
    return opening.task;
  }

  async open(opening: Opening, use: SingleUse = noUse) {
    return this.store.tasks.open(opening, { epoch: await this.store.epoch(), use });
  }

  async intent(task: Task, wishes: IntentWishes = {}): Promise<Intent> {
    const plan = await this.#plan(task, wishes);
    const { uses = [], key = null, opening = null, generation = 1 } = wishes;
    return {
      record: this.#record(plan),
      plan,
      epoch: wishes.epoch ?? (await this.store.epoch()),
      generation,
      use: { uses, attested: wishes.attested ?? [], idempotencyKey: key === null ? null : { digest: key } },
      opening,
      budget: wishes.budget ?? { exchanges: null, perMinute: null },
      above: task.grants[0]?.above ?? [],
      audit: await this.event('exchange.intended', task.id, plan.issuanceId),
    };
  }

  async #plan(
    task: Task,
    { purpose = 'agent', ends, reach, role, generation = 1 }: IntentWishes,
  ): Promise<MintPlan> {
    const grantId = task.grants[0]?.id ?? '';
    const endSeconds = Math.floor((await this.store.now()).getTime() / 1000) + 60;
    return {
      ...{ kind: 'fake', purpose, issuanceId: this.store.newId(), taskId: task.id, grantId, generation },
      ...{ provider: 'cloud', access: 's3.object', identifier: 'arn:aws:s3:::invoices/a', actions: ['read'] },
      nativePermissions: ['s3:GetObject'],
      notAfter: new Date(endSeconds * 1000).toISOString(),
      reach: reach ?? `mf-${grantId}-${generation}`,
      ends: ends ?? { by: 'denied', typicalSeconds: 4 },
      enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
      ...{ issuedTokenType: 'urn:mayfly:token-type:fake', tokenType: 'N_A' },
      body: { open: 'a', ...(role === undefined ? {} : { role }) },
    };
  }

  #record(plan: MintPlan): IssuanceRecord {
    return {
      ...{ id: plan.issuanceId, purpose: plan.purpose, taskId: plan.taskId, grantId: plan.grantId },
      ...{ grantName: 'read', template: 'contract', templateVersion: 1, tool: 's3.read' },
      workload: { issuerName: 'agents', subject: 'worker' },
      actor: { issuerName: 'agents', subject: 'helper' },
      ...{ identifier: plan.identifier, actions: plan.actions, provider: plan.provider, access: plan.access },
      ...{ nativePermissions: plan.nativePermissions, purposeText: null, ttlSeconds: 60 },
      ...{ notAfter: new Date(plan.notAfter), worstCaseSeconds: 60, reason: null, policyEpoch: 1 },
      ...{ inputDigest: '0'.repeat(64), assertionDigest: null, requestId: 'request', explanation: {} },
    };
  }

  async delivery({ plan }: Intent): Promise<Delivery> {
    const audit = await this.event('exchange.delivered', plan.taskId, plan.issuanceId);
    return { issuanceId: plan.issuanceId, keyHash: 'key', expiresAt: new Date(plan.notAfter), audit };
  }

  async intended(task: Task, wishes: IntentWishes = {}): Promise<Intent> {
    const intent = await this.intent(task, wishes);
    const result = await this.store.ledger.intend(intent);
    if (result.kind !== 'intended') throw new Error(`not intended: ${JSON.stringify(result)}`);
    return intent;
  }

  async delivered(task: Task, wishes: IntentWishes = {}): Promise<Intent> {
    const intent = await this.intended(task, wishes);
    if (!(await this.store.ledger.deliver(await this.delivery(intent)))) throw new Error('not delivered');
    return intent;
  }

  async issuedLocally(task: Task, wishes: IntentWishes = {}) {
    const intent = await this.intent(task, wishes);
    return this.store.ledger.issueLocal(intent, await this.delivery(intent));
  }

  async event(
    type: string,
    taskId: string | null = null,
    issuanceId: string | null = null,
  ): Promise<AuditEvent> {
    const at = await this.store.now();
    return {
      id: this.store.newId(),
      type,
      at,
      actor: 'agents/worker',
      taskId,
      issuanceId,
      body: { note: 'x' },
    };
  }

  async end(task: Task, state: ClosedState = 'completed') {
    const audit = await this.event('task.ended', task.id);
    return this.store.tasks.end(task.id, { state, reason: `because ${state}`, audit });
  }

  async endMany(tasks: readonly Task[], state: ClosedState = 'cancelled'): Promise<void> {
    const ends = new Map<string, TaskEnd>();
    for (const { id } of tasks)
      ends.set(id, { state, reason: 'all of them', audit: await this.event('task.ended', id) });
    await this.store.tasks.endMany(ends);
  }

  async taskDue(id: string) {
    return this.store.queue.taskDue(id, await this.event('task.deviated', id));
  }

  async suspend(task: Task, reason = 'look') {
    return this.store.tasks.suspend(task.id, {
      reason,
      audit: await this.event('task.suspended', task.id),
    });
  }

  async resume(task: Task) {
    return this.store.tasks.resume(task.id, { audit: await this.event('task.resumed', task.id) });
  }

  async fresh(task: Task): Promise<TaskFound> {
    const found = await this.store.tasks.find(task.id, { fresh: true });
    if (found === undefined) throw new Error('the task is gone');
    return found;
  }

  /** A claim of everything due, narrowed to these ids: other claims share the database. */
  async claim(...ids: readonly string[]): Promise<readonly Work[]> {
    const { queue } = this.store;
    const claimed = await Promise.all(
      (await queue.lanes()).map((lane) => queue.claim({ lane, limit: 1_000 })),
    );
    return claimed
      .flat()
      .filter((work) => ids.includes(work.kind === 'task' ? work.taskId : work.issuanceId));
  }

  /** A once-only assertion that nobody has used. */
  assertion(): Use {
    return {
      digest: this.key(),
      expiresAt: new Date('2026-07-02T00:00:00Z'),
      replayed: 'assertion_replayed',
    };
  }

  /** A DPoP proof that nobody has used. */
  proof(): Use {
    return { ...this.assertion(), replayed: 'dpop_replayed' };
  }

  key(): string {
    return this.store.newId().replaceAll('-', '').repeat(2);
  }
}

const agents = { issuer: 'https://issuer.example', issuerName: 'agents' };
const actor = {
  ...{ ...agents, subject: 'helper', named: false },
  claims: { sub: 'helper' },
};

/** The reason of a refusal, or the kind of any other answer. */
export function saying(result: { readonly kind: string; readonly reason?: string }): string {
  return result.reason ?? result.kind;
}
