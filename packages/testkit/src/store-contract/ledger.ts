import { describe, expect, test } from '@jest/globals';
import { type Scene, saying } from './scene.ts';

/** Claims about `Ledger`. */
export function describeLedger(scene: () => Scene): void {
  describe('ledger: outcomes', () => testOutcomes(scene));
  describe('ledger: delivery', () => testDelivery(scene));
  describe('ledger: what may have changed since the decision', () => testConditions(scene));
  describe('ledger: limits', () => testLimits(scene));
  describe('ledger: single uses', () => testUses(scene));
  describe('ledger: leases', () => testLeases(scene));
}

function testOutcomes(scene: () => Scene): void {
  test('an intent leaves an issuance, an event and work that comes due at the reap age', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { plan } = await scene().intended(task);
    expect(await store.hasIssuance(plan.issuanceId)).toBe(true);
    expect(await store.events(task.id)).toEqual(['task.opened', 'exchange.intended']);
    const work = await store.work(plan.issuanceId);
    expect(work).toMatchObject({ state: 'intended', attempts: 0 });
    expect(work?.dueInSeconds).toBeGreaterThan(55);
    expect(work?.dueInSeconds).toBeLessThanOrEqual(60);
  });

  test('a local issue is intended and delivered in one, and leaves no work', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const intent = await scene().intent(task);
    const delivery = await scene().delivery(intent);
    expect(await store.ledger.issueLocal(intent, delivery)).toEqual({ kind: 'intended' });
    expect(await store.events(task.id)).toEqual(['task.opened', 'exchange.intended', 'exchange.delivered']);
    expect(await store.work(intent.plan.issuanceId)).toBeUndefined();
  });

  test('a refusal leaves an issuance and one event, and the same id never a second', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { record } = await scene().intent(task);
    const refused = { ...record, reason: 'tool_not_granted' as const };
    const first = await scene().event('exchange.refused', task.id, record.id);
    expect(await store.ledger.refuse(refused, { audit: first, sighting: null })).toBeNull();
    const again = await scene().event('exchange.refused', task.id, record.id);
    await expect(store.ledger.refuse(refused, { audit: again, sighting: null })).rejects.toThrow();
    expect(await store.events(task.id)).toEqual(['task.opened', 'exchange.refused']);
  });

  test('a refusal is never recorded over an intent', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { record } = await scene().intended(task);
    const event = await scene().event('exchange.refused', task.id, record.id);
    await expect(
      store.ledger.refuse({ ...record, reason: 'internal' }, { audit: event, sighting: null }),
    ).rejects.toThrow();
    expect(await store.events(task.id)).toEqual(['task.opened', 'exchange.intended']);
  });

  test('an event alone is appended', async () => {
    const { store } = scene();
    const task = await scene().opened();
    await store.ledger.append(await scene().event('something.seen', task.id));
    expect(await store.events(task.id)).toEqual(['task.opened', 'something.seen']);
  });
}

function testDelivery(scene: () => Scene): void {
  test('what is intended is delivered once, and then due at its notAfter', async () => {
    const { store } = scene();
    const intent = await scene().intended(await scene().opened());
    const delivery = await scene().delivery(intent);
    expect(await store.ledger.deliver(delivery)).toBe(true);
    expect(await store.ledger.deliver(delivery)).toBe(false);
    const work = await store.work(intent.plan.issuanceId);
    expect(work?.state).toBe('delivered');
    const lifeSeconds = (Date.parse(intent.plan.notAfter) - (await store.now()).getTime()) / 1000;
    expect(Math.abs((work?.dueInSeconds ?? 0) - lifeSeconds)).toBeLessThan(2);
  });

  test('after the reap deadline nothing is delivered, even while nobody has reaped it', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const intent = await scene().intended(task);
    await store.makeDue(intent.plan.issuanceId);
    expect(await store.ledger.deliver(await scene().delivery(intent))).toBe(false);
    expect(await store.events(task.id)).not.toContain('exchange.delivered');
  });

  test('what the reaper has claimed is not delivered any more', async () => {
    const { store } = scene();
    const intent = await scene().intended(await scene().opened());
    await store.makeDue(intent.plan.issuanceId);
    expect(await scene().claim(intent.plan.issuanceId)).toHaveLength(1);
    expect(await store.ledger.deliver(await scene().delivery(intent))).toBe(false);
  });

  test('what was intended before its task ended is not delivered after it', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const intent = await scene().intended(task);
    await scene().end(task);
    expect(await store.ledger.deliver(await scene().delivery(intent))).toBe(false);
  });

  test('what was never intended is not delivered', async () => {
    const intent = await scene().intent(await scene().opened());
    expect(await scene().store.ledger.deliver(await scene().delivery(intent))).toBe(false);
  });
}

function testConditions(scene: () => Scene): void {
  const intendAfter = async (change: (taskId: string) => Promise<unknown>) => {
    const { store } = scene();
    const task = await scene().opened();
    const events = await store.events(task.id);
    await change(task.id);
    const intent = await scene().intent(task);
    const result = await store.ledger.intend(intent);
    expect(await store.hasIssuance(intent.plan.issuanceId)).toBe(false);
    expect(await store.work(intent.plan.issuanceId)).toBeUndefined();
    expect((await store.events(task.id)).filter((type) => type.startsWith('exchange'))).toEqual([]);
    expect(events).toEqual(['task.opened']);
    return result;
  };

  test('a policy that moved makes the intent stale and leaves nothing', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const intent = await scene().intent(task);
    await store.raiseEpoch();
    const epoch = await store.epoch();
    expect(await store.ledger.intend(intent)).toEqual({ kind: 'stale', epoch, generation: 1 });
    expect(await store.hasIssuance(intent.plan.issuanceId)).toBe(false);
  });

  test('another generation makes the intent stale and names the one in force', async () => {
    const task = await scene().opened();
    await scene().suspend(task);
    await scene().resume(task);
    const old = await scene().store.ledger.intend(await scene().intent(task));
    expect(old).toMatchObject({ kind: 'stale', generation: 2 });
    const intent = await scene().intent(task, { generation: 2 });
    expect(await scene().store.ledger.intend(intent)).toEqual({ kind: 'intended' });
  });

  test('while frozen no task is opened, after the thaw one is', async () => {
    const { store } = scene();
    await store.freeze('drill');
    try {
      expect(saying(await scene().open(await scene().opening()))).toBe('frozen');
    } finally {
      await store.freeze(null);
    }
    expect(saying(await scene().open(await scene().opening()))).toBe('opened');
  });

  test('a freeze stops the intent of a task that was open before', async () => {
    const { store } = scene();
    try {
      expect(saying(await intendAfter(() => store.freeze('drill')))).toBe('frozen');
    } finally {
      await store.freeze(null);
    }
  });

  test.each([
    ['template', 'contract', 'frozen'],
    ['template', 'contrac', 'intended'],
    ['issuer', 'agents', 'frozen'],
    ['issuer', 'agents/worker', 'intended'],
    ['provider', 'cloud', 'frozen'],
    ['provider', 'contract', 'intended'],
  ] as const)('a freeze of the %s %s: the next intent is %s', async (scope, name, said) => {
    const { store } = scene();
    const task = await scene().opened();
    await store.freeze('drill', { scope, name });
    try {
      expect(saying(await store.ledger.intend(await scene().intent(task)))).toBe(said);
      const opens = said === 'frozen' && scope !== 'provider' ? 'frozen' : 'opened';
      expect(saying(await scene().open(await scene().opening()))).toBe(opens);
    } finally {
      await store.freeze(null);
    }
  });

  test.each([
    ['suspended', 'task_suspended', async (id: string) => scene().suspend((await found(id)).task)],
    ['ended', 'task_ended', async (id: string) => scene().end((await found(id)).task)],
    ['without a lease', 'task_ended', (id: string) => scene().store.leaveLease(id, -1)],
    ['past its expiry', 'task_ended', (id: string) => scene().store.passExpiry(id)],
  ])('a task that is %s intends nothing: %s', async (_, reason, change) => {
    expect(saying(await intendAfter(change))).toBe(reason);
  });

  async function found(id: string) {
    const task = await scene().store.tasks.find(id, { fresh: true });
    if (task === undefined) throw new Error('no such task');
    return task;
  }
}

function testLimits(scene: () => Scene): void {
  test('a budget of two gives two of many at once, and then budget_spent', async () => {
    const { store } = scene();
    const task = await scene().opened({ exchanges: 2 });
    const intents = await Promise.all(Array.from({ length: 6 }, () => scene().intent(task)));
    const results = await Promise.all(intents.map((intent) => store.ledger.intend(intent)));
    expect(results.map(saying).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'budget_spent'),
      'intended',
      'intended',
    ]);
  });

  test('local issues are counted against the same budget', async () => {
    const task = await scene().opened({ exchanges: 1 });
    expect(saying(await scene().issuedLocally(task))).toBe('intended');
    expect(saying(await scene().issuedLocally(task))).toBe('budget_spent');
  });

  test('the limit per minute counts over the tasks of one owner and says when to come back', async () => {
    const wishes = { owner: `busy ${scene().store.newId()}`, perMinute: 1 };
    const tasks = [await scene().opened(wishes), await scene().opened(wishes), await scene().opened(wishes)];
    const results = [];
    for (const task of tasks) results.push(await scene().store.ledger.intend(await scene().intent(task)));
    const limited = results.find((result) => result.kind === 'refused');
    expect(limited).toMatchObject({ reason: 'rate_limited' });
    expect(Reflect.get(limited ?? {}, 'retryAfterSeconds')).toBeGreaterThanOrEqual(1);
    expect(Reflect.get(limited ?? {}, 'retryAfterSeconds')).toBeLessThanOrEqual(60);
  });

  test('the limit per minute of one owner is not that of another, and ends with its minute', async () => {
    const { store } = scene();
    const task = await scene().opened({ perMinute: 1 });
    const neighbour = await scene().opened({ perMinute: 1 });
    expect(saying(await store.ledger.intend(await scene().intent(task)))).toBe('intended');
    expect(saying(await store.ledger.intend(await scene().intent(neighbour)))).toBe('intended');
    await store.nextWindow();
    expect(saying(await store.ledger.intend(await scene().intent(task)))).toBe('intended');
  });

  test('a base session is counted against nothing', async () => {
    const task = await scene().opened({ exchanges: 1, perMinute: 1 });
    await scene().intended(task);
    const base = await scene().intent(task, { purpose: 'base' });
    expect(await scene().store.ledger.intend(base)).toEqual({ kind: 'intended' });
  });
}

function testUses(scene: () => Scene): void {
  test('a once-only assertion mints once, however many ask at once', async () => {
    const task = await scene().opened();
    const assertion = scene().assertion();
    const intents = await Promise.all(
      Array.from({ length: 5 }, () => scene().intent(task, { uses: [assertion] })),
    );
    const results = await Promise.all(intents.map((intent) => scene().store.ledger.intend(intent)));
    expect(results.map(saying).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'assertion_replayed'),
      'intended',
    ]);
  });

  test('a refused intent does not use the assertion up', async () => {
    const assertion = scene().assertion();
    const spent = await scene().opened({ exchanges: 0 });
    const refused = await scene().intent(spent, { uses: [assertion] });
    expect(saying(await scene().store.ledger.intend(refused))).toBe('budget_spent');
    const intent = await scene().intent(await scene().opened(), { uses: [assertion] });
    expect(saying(await scene().store.ledger.intend(intent))).toBe('intended');
  });

  test('a repeated Idempotency-Key names the first issuance, and does not use the assertion up', async () => {
    const task = await scene().opened();
    const [key, assertion] = [scene().key(), scene().assertion()];
    const first = await scene().intended(task, { key });
    const again = await scene().store.ledger.intend(await scene().intent(task, { key, uses: [assertion] }));
    expect(again).toEqual({ kind: 'already_issued', issuanceId: first.plan.issuanceId });
    expect(saying(await scene().store.ledger.intend(await scene().intent(task, { uses: [assertion] })))).toBe(
      'intended',
    );
  });

  test('another Idempotency-Key mints', async () => {
    const task = await scene().opened();
    await scene().intended(task, { key: scene().key() });
    await scene().intended(task, { key: scene().key() });
  });

  test('a refused intent leaves its Idempotency-Key free', async () => {
    const key = scene().key();
    const spent = await scene().intent(await scene().opened({ exchanges: 0 }), { key });
    expect(saying(await scene().store.ledger.intend(spent))).toBe('budget_spent');
    await scene().intended(await scene().opened(), { key });
  });
}

function testLeases(scene: () => Scene): void {
  const leaseLeft = async (taskId: string) => {
    const { status } = (await scene().store.tasks.find(taskId, { fresh: true })) ?? {};
    return ((status?.leaseExpiresAt.getTime() ?? 0) - (await scene().store.now()).getTime()) / 1000;
  };

  test('a local issue and a delivery renew the lease, an intent alone does not', async () => {
    const task = await scene().opened();
    await scene().store.leaveLease(task.id, 20);
    const intent = await scene().intended(task);
    expect(await leaseLeft(task.id)).toBeLessThanOrEqual(20);
    await scene().store.ledger.deliver(await scene().delivery(intent));
    expect(await leaseLeft(task.id)).toBeGreaterThan(55);
    await scene().store.leaveLease(task.id, 20);
    await scene().issuedLocally(task);
    expect(await leaseLeft(task.id)).toBeGreaterThan(55);
  });

  test('what the active version leaves of a budget counts, where the grant’s own is wider', async () => {
    const task = await scene().opened({ exchanges: 5 });
    const narrowed = { budget: { exchanges: 1, perMinute: null } };
    const { ledger } = scene().store;
    expect(await ledger.intend(await scene().intent(task, narrowed))).toEqual({ kind: 'intended' });
    const spent = await ledger.intend(await scene().intent(task, narrowed));
    expect(spent).toEqual({ kind: 'refused', reason: 'budget_spent' });
    const paced = await scene().opened();
    const slower = { budget: { exchanges: null, perMinute: 1 } };
    expect(await ledger.intend(await scene().intent(paced, slower))).toEqual({ kind: 'intended' });
    const limited = await ledger.intend(await scene().intent(paced, slower));
    expect(limited).toMatchObject({ kind: 'refused', reason: 'rate_limited' });
  });

  test('one assertion id is used once, whatever expiry it comes with the second time', async () => {
    const task = await scene().opened();
    const { ledger, tasks, newId, now } = scene().store;
    const digest = newId().replaceAll('-', '').repeat(2);
    const expiring = async (seconds: number) => ({
      digest,
      expiresAt: new Date((await now()).getTime() + seconds * 1000),
      replayed: 'assertion_replayed' as const,
    });
    const first = await scene().intent(task, { uses: [await expiring(60)] });
    expect(await ledger.intend(first)).toEqual({ kind: 'intended' });
    const second = await scene().intent(task, { uses: [await expiring(61)] });
    expect(await ledger.intend(second)).toEqual({ kind: 'refused', reason: 'assertion_replayed' });
    expect(await tasks.use([await expiring(62)])).toBe('assertion_replayed');
  });

  test('a delivery does not bring back a lease that has lapsed meanwhile', async () => {
    const task = await scene().opened();
    const intent = await scene().intended(task);
    await scene().store.leaveLease(task.id, -5);
    await scene().store.ledger.deliver(await scene().delivery(intent));
    expect(await leaseLeft(task.id)).toBeLessThan(0);
  });
}
