import { describe, expect, test } from '@jest/globals';
import { generationOf, type IntendResult, type Task } from '@mayfly/core';
import { type Scene, saying } from './scene.ts';

/** Claims about tasks beneath tasks: what ends, suspends or counts them. */
export function describeLineage(scene: () => Scene): void {
  describe('lineage: opening', () => testOpening(scene));
  describe('lineage: an end above', () => testEnds(scene));
  describe('lineage: a suspension above, and time', () => testSuspensions(scene));
  describe('lineage: what is spent', () => testBudgets(scene));
  describe('what works once', () => testUses(scene));
}

const stateOf = async (scene: () => Scene, task: Task) => (await scene().fresh(task)).status.state;

function testOpening(scene: () => Scene): void {
  test('a child is found with its parent, its actors and its key', async () => {
    const parent = await scene().opened();
    const child = await scene().opened({ parent });
    expect((await scene().fresh(child)).task).toEqual(child);
    expect(child.parentId).toBe(parent.id);
  });

  test('a ref is one beneath each parent', async () => {
    const owner = `family ${scene().store.newId()}`;
    const [one, two] = [await scene().opened(), await scene().opened()];
    const first = await scene().opened({ owner, ref: 'c', parent: one });
    expect(saying(await scene().open(await scene().opening({ owner, ref: 'c', parent: one })))).toBe(
      'ref_taken',
    );
    await scene().opened({ owner, ref: 'c', parent: two });
    await scene().opened({ owner, ref: 'c' });
    const { tasks } = scene().store.replica();
    const key = { template: first.template, owner, ref: 'c' };
    expect((await tasks.findByRef({ ...key, parentId: one.id }))?.task.id).toBe(first.id);
    expect((await tasks.findByRef({ ...key, parentId: null }))?.task.id).not.toBe(first.id);
  });

  test('children are counted, ended ones too, also of those opened at once', async () => {
    const parent = await scene().opened();
    const wishes = { parent, childrenMax: 2 };
    await scene().end(await scene().opened(wishes));
    const openings = await Promise.all(Array.from({ length: 4 }, () => scene().opening(wishes)));
    const results = await Promise.all(openings.map((opening) => scene().open(opening)));
    expect(results.map(saying).sort()).toEqual([
      'child_not_allowed',
      'child_not_allowed',
      'child_not_allowed',
      'opened',
    ]);
  });

  test('nothing opens beneath a task that is suspended, has ended, has lapsed or has expired', async () => {
    const { store } = scene();
    const suspended = await scene().opened();
    await scene().suspend(suspended);
    const ended = await scene().opened();
    await scene().end(ended);
    const lapsed = await scene().opened();
    await store.leaveLease(lapsed.id, -1);
    const expired = await scene().opened();
    await store.passExpiry(expired.id);
    const answers = [];
    for (const parent of [suspended, ended, lapsed, expired])
      answers.push(saying(await scene().open(await scene().opening({ parent }))));
    expect(answers).toEqual(['task_suspended', 'task_ended', 'task_ended', 'task_ended']);
  });

  test('limits are one of all actors of a workload', async () => {
    const id = scene().store.newId();
    const by = (actor: string) => ({ owner: `${id} by ${actor}`, countedAs: id, maxOpen: 1 });
    await scene().opened(by('one'));
    expect(saying(await scene().open(await scene().opening(by('two'))))).toBe('too_many_open_tasks');
    const minute = (actor: string) => ({ owner: `${id} by ${actor}`, countedAs: `${id}'`, perMinute: 1 });
    const [first, second] = [await scene().opened(minute('one')), await scene().opened(minute('two'))];
    const { ledger } = scene().store;
    expect(saying(await ledger.intend(await scene().intent(first)))).toBe('intended');
    expect(saying(await ledger.intend(await scene().intent(second)))).toBe('rate_limited');
  });
}

async function family(scene: () => Scene) {
  const parent = await scene().opened();
  const child = await scene().opened({ parent });
  const grandchild = await scene().opened({ parent: child });
  return { parent, child, grandchild };
}

function testEnds(scene: () => Scene): void {
  test('an end ends every task beneath, takes back what is out, and is one event of each', async () => {
    const { store } = scene();
    const { parent, child, grandchild } = await family(scene);
    const [above, beneath] = [await scene().delivered(parent), await scene().delivered(grandchild)];
    const ending = await scene().end(parent, 'failed');
    expect(ending).toMatchObject({ state: 'failed', total: 2, pending: 2 });
    for (const task of [child, grandchild]) {
      const { status } = await scene().fresh(task);
      expect(status).toMatchObject({ state: 'cancelled', stateReason: 'parent task ended' });
      expect((await store.events(task.id)).at(-1)).toBe('task.ended');
      expect(await store.work(task.id)).toBeUndefined();
    }
    for (const { plan } of [above, beneath])
      expect(await store.work(plan.issuanceId)).toMatchObject({ state: 'revoking' });
    expect(saying(await store.ledger.intend(await scene().intent(child)))).toBe('task_ended');
  });

  test('many ends are as one after another: what is beneath ends with them, once, and what has ended keeps its end', async () => {
    const { store } = scene();
    const [one, other] = [await family(scene), await family(scene)];
    const done = await scene().opened();
    await scene().end(done, 'completed');
    const out = [await scene().delivered(one.child), await scene().delivered(other.grandchild)];
    const { task: unknown } = await scene().opening();
    await scene().endMany([one.child, one.parent, other.child, done, unknown]);
    const states = [one.parent, one.child, one.grandchild, other.parent, other.child, other.grandchild, done];
    const cancelled = 'cancelled';
    expect(await Promise.all(states.map((task) => stateOf(scene, task)))).toEqual([
      ...[cancelled, cancelled, cancelled, 'open', cancelled, cancelled, 'completed'],
    ]);
    for (const task of [one.parent, one.child, one.grandchild, other.child, other.grandchild, done])
      expect((await store.events(task.id)).filter((type) => type === 'task.ended')).toHaveLength(1);
    for (const { plan } of out)
      expect(await store.work(plan.issuanceId)).toMatchObject({ state: 'revoking' });
    expect(await stateOf(scene, other.parent)).toBe('open');
    await scene().endMany([]);
  });

  test('many ends at once over the same tasks, in both orders, with deliveries between, are all done', async () => {
    const { store } = scene();
    for (let round = 0; round < 3; round += 1) {
      const tasks = await Promise.all(Array.from({ length: 8 }, () => scene().opened()));
      const intents = await Promise.all(tasks.map((task) => scene().intended(task)));
      const deliveries = await Promise.all(intents.map((intent) => scene().delivery(intent)));
      await Promise.all([
        scene().endMany(tasks),
        ...deliveries.map((delivery) => store.ledger.deliver(delivery)),
        scene().endMany(tasks.toReversed()),
        ...tasks.toReversed().map((task) => scene().end(task, 'cancelled')),
      ]);
      for (const [index, task] of tasks.entries()) {
        expect(await stateOf(scene, task)).toBe('cancelled');
        const { state } = (await store.work(intents[index]?.plan.issuanceId ?? '')) ?? {};
        expect(['reaped', 'revoking']).toContain(state);
      }
    }
  });

  test('a task that has ended keeps its own end when the one above ends', async () => {
    const { parent, child } = await family(scene);
    await scene().end(child, 'completed');
    await scene().end(parent, 'failed');
    expect(await stateOf(scene, child)).toBe('completed');
  });

  test('the end of a child leaves the one above alone', async () => {
    const { parent, child, grandchild } = await family(scene);
    await scene().end(child);
    expect(await stateOf(scene, parent)).toBe('open');
    expect(await stateOf(scene, grandchild)).toBe('cancelled');
  });

  test('of an end and an opening beneath at once, no child stays open', async () => {
    for (let round = 0; round < 5; round += 1) {
      const parent = await scene().opened();
      const openings = await Promise.all(Array.from({ length: 3 }, () => scene().opening({ parent })));
      const [, ...results] = await Promise.all([
        scene().end(parent),
        ...openings.map((opening) => scene().open(opening)),
      ]);
      for (const [index, { task }] of openings.entries())
        if (results[index]?.kind === 'opened') expect(await stateOf(scene, task)).toBe('cancelled');
    }
  });
}

function testSuspensions(scene: () => Scene): void {
  test('a suspension reaches those beneath, a resumption those that it had reached', async () => {
    const { store } = scene();
    const { parent, child, grandchild } = await family(scene);
    await scene().suspend(grandchild);
    await scene().suspend(parent);
    expect(saying(await store.ledger.intend(await scene().intent(child)))).toBe('task_suspended');
    expect((await scene().resume(child))?.resumed).toBe(false);
    expect((await scene().resume(parent))?.resumed).toBe(true);
    const { status } = await scene().fresh(child);
    expect([status.state, generationOf(status, child.grants[0]?.id ?? '')]).toEqual(['open', 2]);
    expect(await stateOf(scene, grandchild)).toBe('suspended');
    expect((await store.events(child.id)).slice(-2)).toEqual(['task.suspended', 'task.resumed']);
  });

  test('a resumption stops at what was suspended by itself, whatever its reason says, and what is beneath that', async () => {
    const { parent, child, grandchild } = await family(scene);
    await scene().suspend(child, 'parent task suspended');
    await scene().suspend(parent);
    expect((await scene().resume(parent))?.resumed).toBe(true);
    for (const task of [child, grandchild]) expect(await stateOf(scene, task)).toBe('suspended');
    expect(saying(await scene().store.ledger.intend(await scene().intent(grandchild)))).toBe(
      'task_suspended',
    );
    expect((await scene().resume(grandchild))?.resumed).toBe(false);
    expect((await scene().resume(child))?.resumed).toBe(true);
    expect(await stateOf(scene, grandchild)).toBe('open');
  });

  test('a suspension of its own outlives that of the one above', async () => {
    const { parent, child } = await family(scene);
    await scene().suspend(parent);
    await scene().suspend(child, 'by itself');
    await scene().resume(parent);
    expect((await scene().fresh(child)).status).toMatchObject({
      state: 'suspended',
      stateReason: 'by itself',
    });
  });

  test('beneath a lease that has lapsed, or a life that is over, nothing is given or renewed', async () => {
    const { store } = scene();
    for (const over of ['leaveLease', 'passExpiry'] as const) {
      const { parent, child, grandchild } = await family(scene);
      await (over === 'leaveLease' ? store.leaveLease(parent.id, -1) : store.passExpiry(parent.id));
      expect(saying(await store.ledger.intend(await scene().intent(grandchild)))).toBe('task_ended');
      expect(saying(await scene().open(await scene().opening({ parent: child })))).toBe('task_ended');
      expect(await store.tasks.heartbeat(grandchild.id)).toMatchObject({ state: 'cancelled' });
    }
  });

  test('a lapsed lease is not revived by a suspension', async () => {
    const task = await scene().opened();
    await scene().store.leaveLease(task.id, -1);
    await scene().suspend(task);
    expect(await stateOf(scene, task)).toBe('open');
    expect((await scene().resume(task))?.resumed).toBe(false);
    expect(saying(await scene().store.ledger.intend(await scene().intent(task)))).toBe('task_ended');
  });
}

function testUses(scene: () => Scene): void {
  test('assertion and proof are used up together, or neither', async () => {
    const { ledger } = scene().store;
    const task = await scene().opened();
    const [assertion, proof] = [scene().assertion(), scene().proof()];
    await ledger.intend(await scene().intent(task, { uses: [proof] }));
    const both = await ledger.intend(await scene().intent(task, { uses: [assertion, proof] }));
    expect(saying(both)).toBe('dpop_replayed');
    const fresh = { uses: [assertion, scene().proof()] };
    expect(saying(await ledger.intend(await scene().intent(task, fresh)))).toBe('intended');
  });

  test('of twenty uses of one proof over two replicas, one wins', async () => {
    const task = await scene().opened();
    const proof = scene().proof();
    const { store } = scene();
    const replica = store.replica();
    const intents = await Promise.all(
      Array.from({ length: 20 }, () => scene().intent(task, { uses: [proof] })),
    );
    const results = await Promise.all(
      intents.map((intent, index) => (index % 2 === 0 ? store : replica).ledger.intend(intent)),
    );
    expect(results.filter(({ kind }) => kind === 'intended')).toHaveLength(1);
    expect(results.map(saying).filter((reason) => reason === 'dpop_replayed')).toHaveLength(19);
  });

  test('the same twice in one call is a replay, and gives the rest back', async () => {
    const { tasks } = scene().store;
    const [assertion, other] = [scene().assertion(), scene().assertion()];
    expect(await tasks.use([assertion, other, assertion])).toBe('assertion_replayed');
    expect(await tasks.use([assertion, other])).toBeNull();
  });
}

/** Never richer, all together, than the one above. */
function testBudgets(scene: () => Scene): void {
  const asks = (task: Task, count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => scene().store.ledger.intend(await scene().intent(task))),
    );
  const counted = (results: readonly IntendResult[]) => results.map(saying).sort();

  test('children and their children spend the budget above, however many ask at once', async () => {
    const parent = await scene().opened({ exchanges: 3 });
    const child = await scene().opened({ parent, exchanges: 3 });
    const grandchild = await scene().opened({ parent: child, exchanges: 3 });
    const sibling = await scene().opened({ parent, exchanges: 3 });
    const results = await Promise.all([grandchild, sibling, child, parent].map((task) => asks(task, 2)));
    const spent = Array.from({ length: 5 }, () => 'budget_spent');
    expect(counted(results.flat())).toEqual([...spent, 'intended', 'intended', 'intended']);
    expect(counted(await asks(parent, 1))).toEqual(['budget_spent']);
  });

  test('a child that has spent its own leaves the rest to the others', async () => {
    const parent = await scene().opened({ exchanges: 3 });
    const child = await scene().opened({ parent, exchanges: 1 });
    expect(counted(await asks(child, 2))).toEqual(['budget_spent', 'intended']);
    expect(counted(await asks(parent, 3))).toEqual(['budget_spent', 'intended', 'intended']);
  });

  test('exchanges beneath count against the minute above', async () => {
    const parent = await scene().opened({ perMinute: 2 });
    const children = [1, 2, 3].map(() => scene().opened({ parent, perMinute: 2 }));
    const results = await Promise.all(children.map(async (child) => asks(await child, 2)));
    // Six, of which each child alone would give two; two minutes at most lie within.
    expect(counted(results.flat()).slice(4)).toEqual(['rate_limited', 'rate_limited']);
  });

  test('a refusal spends nothing above', async () => {
    const parent = await scene().opened({ exchanges: 1 });
    const child = await scene().opened({ parent, exchanges: 1 });
    const assertion = scene().assertion();
    await scene().store.ledger.intend(await scene().intent(await scene().opened(), { uses: [assertion] }));
    const replayed = await scene().intent(child, { uses: [assertion] });
    expect(saying(await scene().store.ledger.intend(replayed))).toBe('assertion_replayed');
    expect(counted(await asks(parent, 1))).toEqual(['intended']);
  });
}
