import { describe, expect, test } from '@jest/globals';
import { coreWorld, onlyTask, reading, type World } from '@mayfly/testkit';
import { Fault, Refusal } from './errors.ts';
import type { LaneCounts } from './lane.ts';
import { endTask } from './lifecycle.ts';
import type { Minter, Revocability } from './minter.ts';
import { reapOnce } from './reap-lanes.ts';

type Outcome = Awaited<ReturnType<Minter['revoke']>> | Error;
type State = 'reaped' | 'delivered' | 'revoking';

/** A world with one cloud credential whose work row has come to this state; it lives for about a minute more. */
async function leftWith(state: State, ends: Revocability['by'] = 'denied'): Promise<World> {
  const world = coreWorld({ minter: { ends } });
  if (state === 'reaped') world.cloud.failNext('applied');
  await world.exchange({ detail: reading() });
  if (state !== 'delivered') await end(world);
  expect(workOf(world)).toMatchObject({ state });
  return world;
}

function end(world: World, taskId = onlyTask(world).task.id) {
  return endTask(taskId, { state: 'completed', reason: 'done', actor: 'agents/reconciler' }, world.ports);
}

function workOf({ store }: World) {
  return [...store.rows.work.values()].find(({ kind }) => kind === 'issuance');
}

function endsOf({ store }: World) {
  return [...store.rows.ends.values()]
    .flat()
    .map(({ method, evidence }) => [method, evidence['wasDelivered']]);
}

/** One pass in which taking back comes to this outcome; how often it was asked for. */
async function reapTo(outcome: Outcome, { ports }: World): Promise<LaneCounts & { readonly calls: number }> {
  let calls = 0;
  const revoke: Minter['revoke'] = async () => {
    calls += 1;
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const minters = new Map([...ports.minters].map(([kind, minter]) => [kind, { ...minter, revoke }]));
  return { ...(await reapOnce({ ...ports, minters })), calls };
}

const lost = new Fault('provider_unavailable', { effect: 'unknown', detail: 'connection lost' });
const notAfter = new Date('2026-07-01T12:01:00Z');

test('what only waits for its turn is looked at again soon, however often it has waited, and nobody is told', async () => {
  const world = await leftWith('revoking');
  const turn = new Fault('provider_unavailable', { effect: 'none', retryAfterSeconds: 1 });
  for (let round = 0; round < 10; round += 1) {
    expect(await reapTo(turn, world)).toMatchObject({ claimed: 1, waiting: 1, failed: 0, calls: 1 });
    world.clock.advance(1);
  }
  expect(await reapTo('gone', world)).toMatchObject({ ended: 1 });
  expect(world.reports).toEqual([]);
});

describe('what was delivered and must end', () => {
  test.each(['deleted', 'denied', 'cut'] as const)(
    'is %s once the provider says that it is gone',
    async (by) => {
      const world = await leftWith('revoking', by);
      expect(await reapTo('gone', world)).toMatchObject({
        claimed: 1,
        ended: 1,
        waiting: 0,
        failed: 0,
        calls: 1,
      });
      expect(endsOf(world)).toEqual([[by, true]]);
      expect(workOf(world)).toBeUndefined();
      expect(world.store.rows.audit.at(-1)).toMatchObject({
        type: 'credential.ended',
        actor: 'mayfly',
        body: { method: by, attempts: 1, wasDelivered: true },
      });
    },
  );

  test.each(['was-absent', 'wait-for-expiry'] as const)(
    'waits past its expiry and the skew of clocks when the provider says %s',
    async (outcome) => {
      const world = await leftWith('revoking');
      expect(await reapTo(outcome, world)).toMatchObject({ ended: 0, waiting: 1, calls: 1 });
      expect(endsOf(world)).toEqual([]);
      expect(workOf(world)?.dueAt.getTime()).toBeGreaterThan(notAfter.getTime() + 30_000);
      world.clock.advance(95);
      expect(await reapTo('gone', world)).toMatchObject({ ended: 1, calls: 0 });
      expect(endsOf(world)).toEqual([['expired', true]]);
    },
  );

  test('comes back by its backoff where only the replica that made it could delete it', async () => {
    const world = await leftWith('revoking', 'deleted');
    expect(await reapTo('wait-for-expiry', world)).toMatchObject({ ended: 0, waiting: 1, failed: 0 });
    expect(world.reports).toEqual([]);
    world.clock.advance(1);
    expect(await reapTo('wait-for-expiry', world)).toMatchObject({ waiting: 1, calls: 1 });
    world.clock.advance(2);
    expect(await reapTo('gone', world)).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['deleted', true]]);
  });

  test('stays and is tried again, ever later, while the provider fails', async () => {
    const world = await leftWith('revoking');
    expect(await reapTo(lost, world)).toMatchObject({ ended: 0, waiting: 0, failed: 1, calls: 1 });
    expect(workOf(world)).toMatchObject({ state: 'revoking', attempts: 1 });
    expect(await reapTo(lost, world)).toMatchObject({ claimed: 0 });
    world.clock.advance(1);
    expect(await reapTo(lost, world)).toMatchObject({ failed: 1 });
    expect(workOf(world)).toMatchObject({ state: 'revoking', attempts: 2 });
    world.clock.advance(2);
    expect(await reapTo('gone', world)).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['denied', true]]);
  });

  test.each([
    ['a Fault', lost, 'connection lost'],
    ['a Fault without detail', new Fault('provider_refused', { effect: 'none' }), 'provider_refused'],
    ['a Refusal', new Refusal('frozen'), 'frozen'],
    ['anything else', new TypeError('undefined is not'), 'TypeError: undefined is not'],
  ])('and fails with %s is reported', async (_, error, detail) => {
    const world = await leftWith('revoking');
    await reapTo(error, world);
    const [issuanceId] = world.store.rows.issuances.keys();
    expect(world.reports).toEqual([
      {
        message: 'ending failed, will be tried again',
        context: { kind: 'issuance', id: issuanceId, attempts: 1, detail },
      },
    ]);
  });

  test('is called for within the skew after its expiry, and not after', async () => {
    const world = await leftWith('revoking');
    world.clock.advance(80);
    expect(await reapTo(lost, world)).toMatchObject({ failed: 1, calls: 1 });
    world.clock.advance(40);
    expect(await reapTo(lost, world)).toMatchObject({ ended: 1, calls: 0 });
    expect(endsOf(world)).toEqual([['expired', true]]);
  });

  test('waits for its expiry where the provider takes nothing back', async () => {
    const world = await leftWith('revoking', 'expired');
    expect(await world.reap()).toMatchObject({ ended: 0, waiting: 1 });
    world.clock.advance(95);
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['expired', true]]);
  });

  test('cannot be denied when its minter is configured no more: it stays, and is reported', async () => {
    const world = await leftWith('revoking');
    expect(await reapOnce({ ...world.ports, minters: new Map() })).toMatchObject({ failed: 1 });
    expect(world.reports[0]?.context['detail']).toBe('no minter fake');
    expect(workOf(world)).toMatchObject({ state: 'revoking' });
  });

  test('and is absent at a second look was deleted by a try whose answer was lost', async () => {
    const world = await leftWith('revoking', 'deleted');
    world.cloud.failNext('applied');
    expect(await world.reap()).toMatchObject({ failed: 1 });
    world.clock.advance(1);
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['deleted', true]]);
  });
});

describe('what was never delivered', () => {
  test.each(['denied', 'cut', 'expired'] as const)(
    'is not taken back where that hits its siblings (%s): it waits for its expiry',
    async (by) => {
      const world = await leftWith('reaped', by);
      expect(await reapTo('gone', world)).toMatchObject({ ended: 0, waiting: 1, calls: 0 });
      world.clock.advance(95);
      expect(await reapTo('gone', world)).toMatchObject({ ended: 1, calls: 0 });
      expect(endsOf(world)).toEqual([['expired', false]]);
    },
  );

  test('is deleted where that hits it alone', async () => {
    const world = await leftWith('reaped', 'deleted');
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['deleted', false]]);
    expect(world.cloud.deleted.size).toBe(1);
  });

  test('and is absent is looked for again until it could live no longer: its mint may still run elsewhere', async () => {
    const world = await leftWith('reaped', 'deleted');
    await reapTo(lost, world);
    world.clock.advance(1);
    expect(await reapTo('was-absent', world)).toMatchObject({ ended: 0, waiting: 1, calls: 1 });
    world.clock.advance(60);
    expect(await reapTo('was-absent', world)).toMatchObject({ ended: 0, waiting: 1, calls: 1 });
    world.clock.advance(95);
    expect(await reapTo('was-absent', world)).toMatchObject({ ended: 1, calls: 1 });
    expect(endsOf(world)).toEqual([['expired', false]]);
  });

  test('and lands after it was looked for is deleted by a later look', async () => {
    const world = await leftWith('reaped', 'deleted');
    await reapTo('was-absent', world);
    world.clock.advance(60);
    expect(await world.reap()).toMatchObject({ ended: 1 });
    expect(endsOf(world)).toEqual([['deleted', false]]);
    expect(world.cloud.deleted.size).toBe(1);
  });

  test('is reaped by its age when its process died', async () => {
    const world = coreWorld();
    world.cloud.failNext('not-applied');
    await world.exchange({ detail: reading() });
    expect(await world.reap()).toMatchObject({ claimed: 0 });
    world.clock.advance(60);
    await world.anotherBroker().reap();
    expect(workOf(world)).toMatchObject({ state: 'reaped' });
  });
});

describe('what was delivered and only expires', () => {
  test('is ended at its expiry without a call, while its task goes on', async () => {
    const world = await leftWith('delivered');
    world.clock.advanceTo(notAfter);
    expect(await reapTo(lost, world)).toMatchObject({ calls: 0 });
    expect(endsOf(world)).toEqual([['expired', true]]);
  });

  test('is deleted at its expiry where it can be, and has expired whether or not that works', async () => {
    for (const [outcome, reports] of [
      ['gone', 0],
      ['was-absent', 0],
      [lost, 1],
    ] as const) {
      const world = await leftWith('delivered', 'deleted');
      world.clock.advance(60);
      expect(await reapTo(outcome, world)).toMatchObject({ failed: 0, calls: 1 });
      expect(endsOf(world)).toEqual([['expired', true]]);
      expect(world.reports).toHaveLength(reports);
    }
  });

  test('and is claimed too early is put back', async () => {
    const world = await leftWith('delivered');
    const work = workOf(world);
    if (work !== undefined) world.store.rows.work.set(work.id, { ...work, dueAt: world.clock.now() });
    expect(await reapTo('gone', world)).toMatchObject({ ended: 0, waiting: 1, calls: 0 });
    expect(workOf(world)?.dueAt.getTime()).toBeGreaterThan(notAfter.getTime());
  });
});
