import { describe, expect, test } from '@jest/globals';
import { noUse, type Scene, saying } from './scene.ts';

/** Claims about opening a task, by itself and with its first intent. */
export function describeOpening(scene: () => Scene): void {
  describe('opening: a task by itself', () => testOpening(scene));
  describe('opening: limits', () => testLimits(scene));
  describe('opening: with its first intent', () => testFirstIntent(scene));
}

function testOpening(scene: () => Scene): void {
  test('an opened task is found by id, by ref and by grant, as it was given', async () => {
    const { tasks } = scene().store.replica();
    const task = await scene().opened({ ref: 'run-1' });
    const byId = await tasks.find(task.id);
    expect(byId?.task).toEqual(task);
    expect(byId?.status).toMatchObject({ state: 'open', endedAt: null, outcome: null });
    const { template, owner } = task;
    expect((await tasks.findByRef({ template, owner, ref: 'run-1', parentId: null }))?.task).toEqual(task);
    expect((await tasks.findByGrant(task.grants[0]?.id ?? ''))?.task).toEqual(task);
  });

  test('what was never opened is not found', async () => {
    const { tasks, newId } = scene().store;
    expect(await tasks.find(newId())).toBeUndefined();
    expect(await tasks.findByGrant(newId())).toBeUndefined();
    expect(
      await tasks.findByRef({ template: 'contract', owner: newId(), ref: 'run-1', parentId: null }),
    ).toBeUndefined();
  });

  test('a ref is taken for good by one task of an owner and template, and free to others', async () => {
    const owner = `one ${scene().store.newId()}`;
    const first = await scene().opened({ owner, ref: 'run-1' });
    const again = () => scene().opening({ owner, ref: 'run-1' });
    expect(saying(await scene().open(await again()))).toBe('ref_taken');
    await scene().end(first);
    expect(saying(await scene().open(await again()))).toBe('ref_taken');
    expect(saying(await scene().open(await scene().opening({ ref: 'run-1' })))).toBe('opened');
    const elsewhere = await scene().opening({ owner, ref: 'run-1', template: 'another' });
    expect(saying(await scene().open(elsewhere))).toBe('opened');
  });

  test('of several that open one ref at once, one opens it', async () => {
    const owner = `race ${scene().store.newId()}`;
    const openings = await Promise.all(
      Array.from({ length: 4 }, () => scene().opening({ owner, ref: 'run-1' })),
    );
    const results = await Promise.all(openings.map((opening) => scene().open(opening)));
    expect(results.map(saying).sort()).toEqual(['opened', 'ref_taken', 'ref_taken', 'ref_taken']);
  });

  test('an opening decided on an older policy is stale', async () => {
    const { store } = scene();
    const opening = await scene().opening();
    const known = await store.epoch();
    await store.raiseEpoch();
    const result = await store.tasks.open(opening, {
      epoch: known,
      use: noUse,
    });
    expect(result).toEqual({ kind: 'stale', epoch: await store.epoch() });
    expect(await store.tasks.find(opening.task.id, { fresh: true })).toBeUndefined();
  });

  test('a once-only assertion opens once; a refused opening does not use it up', async () => {
    const use = { uses: [scene().assertion()], attested: [], idempotencyKey: null };
    const full = await scene().opening({ maxOpen: 0 });
    expect(saying(await scene().open(full, use))).toBe('too_many_open_tasks');
    expect(saying(await scene().open(await scene().opening(), use))).toBe('opened');
    const second = await scene().opening();
    expect(saying(await scene().open(second, use))).toBe('assertion_replayed');
    expect(await scene().store.tasks.find(second.task.id, { fresh: true })).toBeUndefined();
  });

  test('an assertion used for a task token is used', async () => {
    const { tasks } = scene().store;
    const assertion = scene().assertion();
    expect(await tasks.use([assertion])).toBeNull();
    expect(await tasks.use([assertion])).toBe('assertion_replayed');
    const intent = await scene().intent(await scene().opened(), { uses: [assertion] });
    expect(saying(await scene().store.ledger.intend(intent))).toBe('assertion_replayed');
  });
}

function testLimits(scene: () => Scene): void {
  test('maxOpen counts open and suspended tasks; an end makes room', async () => {
    const wishes = { owner: `crowd ${scene().store.newId()}`, maxOpen: 2 };
    const first = await scene().opened(wishes);
    await scene().suspend(await scene().opened(wishes));
    expect(saying(await scene().open(await scene().opening(wishes)))).toBe('too_many_open_tasks');
    await scene().end(first);
    expect(saying(await scene().open(await scene().opening(wishes)))).toBe('opened');
  });

  test('maxOpen holds for openings at once', async () => {
    const wishes = { owner: `rush ${scene().store.newId()}`, maxOpen: 1 };
    const openings = await Promise.all(Array.from({ length: 4 }, () => scene().opening(wishes)));
    const results = await Promise.all(openings.map((opening) => scene().open(opening)));
    expect(results.filter(({ kind }) => kind === 'opened')).toHaveLength(1);
  });

  test('opensPerHour counts openings, ended or not, and says when to come back', async () => {
    const wishes = { owner: `eager ${scene().store.newId()}`, opensPerHour: 1 };
    const results = [];
    for (let tries = 0; tries < 3; tries += 1) {
      const opening = await scene().opening(wishes);
      results.push(await scene().open(opening));
      await scene().end(opening.task);
    }
    const limited = results.find(({ kind }) => kind === 'refused');
    expect(limited).toMatchObject({ reason: 'rate_limited' });
    expect(Reflect.get(limited ?? {}, 'retryAfterSeconds')).toBeLessThanOrEqual(3600);
    await scene().store.nextWindow();
    expect(saying(await scene().open(await scene().opening(wishes)))).toBe('opened');
  });
}

function testFirstIntent(scene: () => Scene): void {
  test('task and first intent are one', async () => {
    const { store } = scene();
    const opening = await scene().opening({ ref: 'run-1' });
    const intent = await scene().intent(opening.task, { opening });
    expect(await store.ledger.intend(intent)).toEqual({ kind: 'intended' });
    expect(await store.events(opening.task.id)).toEqual(['task.opened', 'exchange.intended']);
    expect((await scene().fresh(opening.task)).status.state).toBe('open');
  });

  test('a local issue opens too', async () => {
    const opening = await scene().opening();
    expect(saying(await scene().issuedLocally(opening.task, { opening }))).toBe('intended');
    expect((await scene().fresh(opening.task)).task.id).toBe(opening.task.id);
  });

  test('a refused first intent leaves no task, no event and no count', async () => {
    const { store } = scene();
    const wishes = { owner: `undone ${store.newId()}`, opensPerHour: 1, maxOpen: 1 };
    const assertion = scene().assertion();
    await store.tasks.use([assertion]);
    const opening = await scene().opening({ ...wishes, ref: 'run-1' });
    const refused = await store.ledger.intend(
      await scene().intent(opening.task, { opening, uses: [assertion] }),
    );
    expect(saying(refused)).toBe('assertion_replayed');
    expect(await store.tasks.find(opening.task.id, { fresh: true })).toBeUndefined();
    expect(await store.events(opening.task.id)).toEqual([]);
    expect(await store.work(opening.task.id)).toBeUndefined();
    expect(saying(await scene().open(await scene().opening({ ...wishes, ref: 'run-1' })))).toBe('opened');
  });

  test('a first intent of a taken ref says so', async () => {
    const owner = `taken ${scene().store.newId()}`;
    await scene().opened({ owner, ref: 'run-1' });
    const opening = await scene().opening({ owner, ref: 'run-1' });
    const intent = await scene().intent(opening.task, { opening });
    expect(await scene().store.ledger.intend(intent)).toEqual({ kind: 'ref_taken' });
  });

  test('a first intent decided on an older policy is stale and opens nothing', async () => {
    const { store } = scene();
    const opening = await scene().opening();
    const intent = await scene().intent(opening.task, { opening });
    await store.raiseEpoch();
    expect(saying(await store.ledger.intend(intent))).toBe('stale');
    expect(await store.tasks.find(opening.task.id, { fresh: true })).toBeUndefined();
  });
}
