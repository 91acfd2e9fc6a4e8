import { expect, test } from '@jest/globals';
import { coreWorld, lostAnswer, onlyTask, reading, reasonOf, type World } from '@mayfly/testkit';
import { reviewTasks } from './review.ts';
import type { Template } from './template.ts';

async function opened(template: Partial<Template> = { onChange: 'end' }): Promise<World> {
  const world = coreWorld({ template });
  expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  await reviewTasks(world.ports);
  expect(onlyTask(world).state).toBe('open');
  return world;
}

const review = (world: World): Promise<number> => reviewTasks(world.ports);

const changes: readonly (readonly [string, string, (world: World) => unknown])[] = [
  [
    'a new version of its template',
    'template_version',
    (world: World) => world.documents.apply(world.template),
  ],
  ['a deleted template', 'template_disabled', (world: World) => world.documents.remove('invoice-reconcile')],
  [
    'an issuer that is trusted no longer',
    'workload_not_matched',
    (world: World) => world.documents.publish({ issuers: new Map() }),
  ],
];

test.each(changes)(
  '%s ends the task, told once, and what is out is taken back',
  async (_, reason, change) => {
    const world = await opened();
    change(world);
    expect(await review(world)).toBe(1);
    expect(onlyTask(world)).toMatchObject({ state: 'cancelled', stateReason: `changed: ${reason}` });
    const ends = world.store.rows.audit.filter(({ type }) => type === 'task.ended');
    expect(ends).toMatchObject([
      { actor: 'mayfly', body: { state: 'cancelled', reason: `changed: ${reason}` } },
    ]);
    expect([...world.store.rows.work.values()].map(({ state }) => state)).not.toContain('delivered');
    expect(await review(world)).toBe(0);
  },
);

test('a change of something else ends nothing, nor does a freeze', async () => {
  const world = await opened();
  world.documents.apply({ ...world.template, name: 'another' });
  world.documents.freeze('drill');
  expect(await review(world)).toBe(0);
  expect(onlyTask(world).state).toBe('open');
});

test('a task that keeps is kept, though its template says otherwise by now; nothing is given to it beyond both', async () => {
  const world = await opened({ onChange: 'keep' });
  world.documents.apply({ ...world.template, onChange: 'end', grants: [] });
  expect(await review(world)).toBe(0);
  expect(onlyTask(world).state).toBe('open');
  const again = await world.exchange({
    subject: { kind: 'assertion', token: 'reconciler:2' },
    detail: reading(),
  });
  expect(reasonOf(again)).toBe('tool_not_granted');
});

test('a version that cannot be proven any more ends the task', async () => {
  const world = await opened();
  world.documents.publish({});
  const policies = { ...world.ports.policies, version: async () => undefined };
  expect(await reviewTasks({ ...world.ports, policies })).toBe(1);
  expect(onlyTask(world).stateReason).toBe('changed: template_unproven');
});

test.each(['tasks.end', 'revocations.settleReview'])(
  'cut off at %s, another replica goes on after the lease',
  async (effect) => {
    const world = await opened();
    world.documents.apply(world.template);
    world.trace.failNext(effect, lostAnswer(false));
    await expect(review(world)).rejects.toThrow();
    const other = world.anotherBroker();
    expect(await reviewTasks(other.ports)).toBe(0);
    world.clock.advance(11);
    expect(await reviewTasks(other.ports)).toBe(effect === 'tasks.end' ? 1 : 0);
    expect(onlyTask(world).state).toBe('cancelled');
  },
);

test('a stop is heeded between batches', async () => {
  const world = await opened();
  world.documents.apply(world.template);
  expect(await reviewTasks(world.ports, () => true)).toBe(0);
  expect(onlyTask(world).state).toBe('open');
});

test('where no task says so, nothing is read but the claim', async () => {
  const world = await opened({ onChange: 'keep' });
  world.documents.apply(world.template);
  const refresh = async () => {
    throw new Error('no connection');
  };
  expect(await reviewTasks({ ...world.ports, policies: { ...world.ports.policies, refresh } })).toBe(0);
});
