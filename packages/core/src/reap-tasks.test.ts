import { describe, expect, test } from '@jest/globals';
import { coreWorld, lostAnswer, onlyTask, reading, reasonOf, type World } from '@mayfly/testkit';
import { claimLimit } from './lane.ts';
import { endTask, suspendTask } from './lifecycle.ts';
import { reapOnce } from './reap-lanes.ts';

async function worldWithTask(): Promise<World> {
  const world = coreWorld();
  expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  return world;
}

function end(world: World) {
  const cause = { state: 'completed', reason: 'done', actor: 'agents/reconciler' } as const;
  return endTask(onlyTask(world).task.id, cause, world.ports);
}

function issuanceWork({ store }: World) {
  return [...store.rows.work.values()].filter(({ kind }) => kind === 'issuance');
}

describe('a task that comes due', () => {
  test('is abandoned once its lease has lapsed, and its credentials are taken back', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading({ ttl: 120 }) });
    world.clock.advance(59);
    expect(await world.reap()).toMatchObject({ claimed: 0 });
    world.clock.advance(1);
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(issuanceWork(world)).toMatchObject([{ state: 'revoking' }]);
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(world.cloud.denied.size).toBe(1);
    expect(onlyTask(world)).toMatchObject({ state: 'abandoned', stateReason: 'lease lost', outcome: null });
    expect(world.store.rows.audit.filter(({ type }) => type === 'task.ended')).toMatchObject([
      { actor: 'mayfly', body: { state: 'abandoned', reason: 'lease lost' } },
    ]);
  });

  test('is armed again while its lease lies ahead', async () => {
    const world = await worldWithTask();
    world.clock.advance(30);
    await world.ports.tasks.heartbeat(onlyTask(world).task.id);
    world.clock.advance(30);
    await world.reap();
    expect(onlyTask(world).state).toBe('open');
    expect(world.store.rows.work.get(onlyTask(world).task.id)?.dueAt).toEqual(onlyTask(world).leaseUntil);
  });

  test('expires at its maximum duration, suspended or not', async () => {
    const world = await worldWithTask();
    await suspendTask(onlyTask(world).task.id, { reason: 'look', actor: 'sso/ada' }, world.ports);
    world.clock.advance(120);
    await world.reap();
    expect(onlyTask(world).state).toBe('suspended');
    world.clock.advance(1800);
    await world.reap();
    expect(onlyTask(world)).toMatchObject({ state: 'expired', stateReason: 'maximum duration reached' });
  });

  test('and was ended meanwhile keeps its first end', async () => {
    const world = await worldWithTask();
    world.clock.advance(61);
    world.trace.beforeNext('queue.taskDue', () => end(world));
    await world.reap();
    expect(onlyTask(world)).toMatchObject({ state: 'completed', stateReason: 'done' });
    expect(world.trace.count('tasks.end')).toBe(1);
  });

  test('and was ended between the look and the end keeps its first end', async () => {
    const world = await worldWithTask();
    world.clock.advance(61);
    world.trace.beforeNext('tasks.end', () => world.store.tasks.end(onlyTask(world).task.id, ended(world)));
    await world.reap();
    expect(onlyTask(world)).toMatchObject({ state: 'cancelled' });
    expect(world.store.rows.audit.filter(({ type }) => type === 'task.ended')).toHaveLength(1);
  });

  test.each([false, true])(
    'whose end was lost (applied: %s) is ended once by the next pass',
    async (applied) => {
      const world = await worldWithTask();
      world.clock.advance(61);
      world.trace.failNext('tasks.end', lostAnswer(applied));
      expect(await world.reap()).toMatchObject({ failed: 1 });
      expect(world.reports).toMatchObject([{ context: { kind: 'task', detail: 'connection lost' } }]);
      world.clock.advance(2);
      await world.reap();
      expect(onlyTask(world).state).toBe('abandoned');
      expect(world.store.rows.audit.filter(({ type }) => type === 'task.ended')).toHaveLength(1);
    },
  );
});

function ended({ newId, clock }: World) {
  const audit = { id: newId(), at: clock.now(), actor: null, taskId: null, issuanceId: null, body: {} };
  return { state: 'cancelled', reason: 'x', audit: { ...audit, type: 'task.ended' } } as const;
}

describe('nothing is lost', () => {
  test.each([
    [false, 1],
    [true, 0],
  ])('when the confirmation is lost (applied: %s), and there is one end', async (applied, left) => {
    const world = await worldWithTask();
    await end(world);
    world.trace.failNext('queue.settle', lostAnswer(applied));
    await expect(world.reap()).rejects.toMatchObject({ reason: 'database_unavailable' });
    expect(issuanceWork(world)).toHaveLength(left);
    world.clock.advance(1);
    expect(await world.reap()).toMatchObject({ ended: left });
    expect([...world.store.rows.ends.values()].flat()).toMatchObject([{ method: 'denied' }]);
    expect(world.store.rows.audit.filter(({ type }) => type === 'credential.ended')).toHaveLength(1);
  });

  test.each([false, true])('when the claim is lost (applied: %s)', async (applied) => {
    const world = await worldWithTask();
    await end(world);
    world.trace.failNext('queue.claim', lostAnswer(applied));
    await expect(world.reap()).rejects.toMatchObject({ reason: 'database_unavailable' });
    world.clock.advance(1);
    expect(await world.reap()).toMatchObject({ ended: 1 });
  });

  test.each([false, true])('when putting back is lost (applied: %s)', async (applied) => {
    const world = coreWorld({ minter: { ends: 'expired' } });
    await world.exchange({ detail: reading() });
    await end(world);
    world.trace.failNext('queue.postpone', lostAnswer(applied));
    expect(await world.reap()).toMatchObject({ failed: 1, waiting: 0 });
    world.clock.advance(95);
    expect(await world.reap()).toMatchObject({ ended: 1 });
  });

  test.each(['not-applied', 'applied', 'refused'] as const)('when the denial is %s', async (fault) => {
    const world = await worldWithTask();
    await end(world);
    world.cloud.failNext(fault);
    expect(await world.reap()).toMatchObject({ failed: 1, ended: 0 });
    world.clock.advance(1);
    expect(await world.reap()).toMatchObject({ failed: 0, ended: 1 });
    const [credential] = world.cloud.minted;
    expect(credential && world.cloud.accepts(credential, world.clock.now())).toBe(false);
  });

  test('when one of many fails: the others are ended in the same pass', async () => {
    const world = await worldWithTask();
    for (const jti of ['2', '3'])
      await world.exchange({ subject: { kind: 'assertion', token: `reconciler:${jti}` }, detail: reading() });
    await end(world);
    world.cloud.failNext('not-applied');
    expect(await world.reap()).toMatchObject({ claimed: 3, ended: 2, failed: 1 });
    expect(issuanceWork(world)).toHaveLength(1);
  });

  test('by another process that takes over, and two at once end it once', async () => {
    const world = await worldWithTask();
    await end(world);
    const passes = await Promise.all([world.reap(), world.anotherBroker().reap()]);
    expect(passes.map(({ claimed }) => claimed).sort()).toEqual([0, 1]);
    expect([...world.store.rows.ends.values()].flat()).toHaveLength(1);
  });
});

describe('a pass', () => {
  test('with nothing due does nothing', async () => {
    const world = coreWorld();
    expect(await world.reap()).toEqual({ claimed: 0, ended: 0, waiting: 0, failed: 0 });
    expect(world.trace.calls).toEqual(['queue.lanes']);
  });

  test('keeps no more calls running than it may, and all of them', async () => {
    const world = coreWorld({ concurrency: 3 });
    for (let jti = 0; jti < 10; jti += 1)
      await world.exchange({ subject: { kind: 'assertion', token: `reconciler:${jti}` }, detail: reading() });
    await end(world);
    const running = { now: 0, most: 0 };
    const revoke = async () => {
      running.now += 1;
      running.most = Math.max(running.most, running.now);
      await Promise.resolve();
      running.now -= 1;
      return 'gone' as const;
    };
    const minters = new Map([...world.ports.minters].map(([kind, minter]) => [kind, { ...minter, revoke }]));
    expect(await reapOnce({ ...world.ports, minters })).toMatchObject({ claimed: 10, ended: 10 });
    expect(running.most).toBe(3);
  });

  test('claims so many at most, and goes on while there is more', async () => {
    const world = coreWorld();
    for (let run = 0; run <= claimLimit; run += 1) {
      const task = { template: 'invoice-reconcile', ref: `run-${run}`, params: { quarter: '2026q3' } };
      const subject = { kind: 'assertion', token: `reconciler:${run}` } as const;
      await world.exchange({ subject, detail: reading({ task }) });
    }
    world.clock.advance(59.8);
    expect(await world.reap()).toMatchObject({ claimed: claimLimit + 1 });
    expect(await world.reap()).toMatchObject({ claimed: 0 });
  });
});
