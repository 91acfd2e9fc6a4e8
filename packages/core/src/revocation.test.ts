import { describe, expect, test } from '@jest/globals';
import { coreWorld, lostAnswer, posting, reading, reasonOf, type World } from '@mayfly/testkit';
import { Fault } from './errors.ts';
import type { RevocationScope } from './revocation.ts';
import { advanceRevocations } from './revocation.ts';

async function worldWithTasks(count: number): Promise<World> {
  const world = coreWorld();
  for (let nth = 0; nth < count; nth += 1) {
    expect(reasonOf(await world.exchange(asking(nth)))).toBe('delivered');
  }
  return world;
}

let assertions = 0;
function asking(nth: number) {
  assertions += 1;
  const subject = { kind: 'assertion', token: `reconciler-${nth}:${assertions}` } as const;
  return { subject, detail: reading() };
}

async function request({ ports, newId }: World, scope: RevocationScope): Promise<string> {
  const id = newId();
  const event = { id: newId(), type: 'revocation.requested', at: ports.now(), actor: 'sso/ada' };
  await ports.revocations.request(
    { id, ...scope, reason: 'key leaked', requestedBy: 'sso/ada' },
    { ...event, taskId: null, issuanceId: null, body: {} },
  );
  return id;
}
const tasksOf = ({ store }: World) => [...store.rows.tasks.values()];
const open = (world: World) => tasksOf(world).filter(({ state }) => state === 'open').length;
const types = ({ store }: World) => store.rows.audit.map(({ type }) => type);

describe('a revocation', () => {
  test('ends what it names in batches, is told once with its end, and the next exchange is refused', async () => {
    const world = await worldWithTasks(250);
    await request(world, { by: 'template', name: 'invoice-reconcile' });
    expect(open(world)).toBe(250);
    expect(await advanceRevocations(world.ports)).toBe(250);
    expect(open(world)).toBe(0);
    expect(tasksOf(world)[0]).toMatchObject({ state: 'cancelled', stateReason: 'key leaked' });
    expect(types(world).filter((type) => type === 'revocation.done')).toHaveLength(1);
    expect(types(world).filter((type) => type === 'task.ended')).toHaveLength(250);
    expect(world.trace.count('revocations.claim')).toBe(4);
    expect(reasonOf(await world.exchange(asking(0)))).toBe('task_ended');
    expect(await advanceRevocations(world.ports)).toBe(0);
  });

  test('of one workload leaves the tasks of another', async () => {
    const world = await worldWithTasks(2);
    await request(world, { by: 'workload', name: 'agents/reconciler-1' });
    await advanceRevocations(world.ports);
    expect(tasksOf(world).map(({ state }) => state)).toEqual(['open', 'cancelled']);
  });

  test('of a provider ends grants there, while the task and its other grants go on', async () => {
    const world = await worldWithTasks(1);
    await request(world, { by: 'provider', name: 'cloud' });
    await advanceRevocations(world.ports);
    expect(open(world)).toBe(1);
    expect(reasonOf(await world.exchange(asking(0)))).toBe('grant_ended');
    const posted = { ...asking(0), detail: posting() };
    expect(reasonOf(await world.exchange(posted))).toBe('delivered');
    await world.reap();
    expect(world.cloud.denied.size).toBe(1);
  });

  test('whose replica stopped half-way is gone on with by another, and nothing is ended twice', async () => {
    const world = await worldWithTasks(3);
    const id = await request(world, { by: 'issuer', name: 'agents' });
    world.trace.failNext('revocations.settle', lostAnswer(false));
    await expect(advanceRevocations(world.ports)).rejects.toMatchObject({ reason: 'database_unavailable' });
    const other = world.anotherBroker();
    // Its lease has not ended yet.
    expect(await advanceRevocations(other.ports)).toBe(0);
    expect((await other.ports.revocations.find(id))?.doneAt).toBeNull();
    world.clock.advance(10);
    expect(await advanceRevocations(other.ports)).toBe(0);
    expect((await other.ports.revocations.find(id))?.doneAt).not.toBeNull();
    expect(types(world).filter((type) => type === 'task.ended')).toHaveLength(3);
  });

  test.each([true, false])('is right when the answer of its ends is lost (applied: %s)', async (applied) => {
    const world = await worldWithTasks(2);
    const id = await request(world, { by: 'issuer', name: 'agents' });
    world.trace.failNext('tasks.endMany', lostAnswer(applied));
    expect(await advanceRevocations(world.ports)).toBe(0);
    expect(world.trace.count('tasks.end')).toBe(0);
    world.clock.advance(10); // The lease is its backoff.
    await advanceRevocations(world.ports);
    expect(open(world)).toBe(0);
    expect((await world.ports.revocations.find(id))?.doneAt).not.toBeNull();
    expect(types(world).filter((type) => type === 'task.ended')).toHaveLength(2);
    expect(world.reports).toMatchObject([{ context: { revocation: id } }]);
  });

  test('ends what it can where something in a batch cannot be ended', async () => {
    const world = await worldWithTasks(3);
    await request(world, { by: 'issuer', name: 'agents' });
    world.trace.failNext('tasks.endMany', {
      applied: false,
      error: new Fault('internal', { effect: 'none' }),
    });
    world.trace.failNext('tasks.end', lostAnswer(false));
    expect(await advanceRevocations(world.ports)).toBe(3);
    expect(open(world)).toBe(0);
    expect(world.trace.count('tasks.endMany')).toBe(2);
    expect(world.reports.map(({ context }) => context['kind'])).toEqual([undefined, 'task']);
  });

  test('that is told to stop leaves the rest to others', async () => {
    const world = await worldWithTasks(1);
    await request(world, { by: 'issuer', name: 'agents' });
    expect(await advanceRevocations(world.ports, () => true)).toBe(0);
    expect(open(world)).toBe(1);
  });
});
