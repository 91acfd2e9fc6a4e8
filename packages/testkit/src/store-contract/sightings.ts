import { describe, expect, test } from '@jest/globals';
import type { DeviationAct, DeviationLimit, Sighting, Task } from '@mayfly/core';
import { type Scene, saying } from './scene.ts';

/** Claims about what refusals make of a task: `Ledger.refuse` with a sighting, and quarantine. */
export function describeSightings(scene: () => Scene): void {
  describe('sightings: counting', () => testCounting(scene));
  describe('sightings: acts', () => testActs(scene));
  describe('a lapsed lease that suspends', () => testLapse(scene));
  describe('a lapsed lease that is noted', () => testSilence(scene));
  describe('quarantine', () => testQuarantine(scene));
}

interface Wishes {
  readonly what?: string;
  readonly limits?: readonly DeviationLimit[];
  readonly rule?: Sighting['rule'];
  readonly quarantineSeconds?: number | null;
}

const limit = (after: number, act: DeviationAct, withinSeconds = 600): DeviationLimit => ({
  ...{ after, withinSeconds, act },
});

/** One more refusal of the task; what it did. */
async function refused(scene: Scene, task: Task, wishes: Wishes = {}): Promise<DeviationAct | null> {
  const { record } = await scene.intent(task);
  const {
    what = scene.key(),
    limits = [limit(2, 'suspend')],
    rule = 'refused',
    quarantineSeconds = null,
  } = wishes;
  const audit = await scene.event('exchange.refused', task.id, record.id);
  const sighting: Sighting = {
    ...{ taskId: task.id, rule, evidence: record.id, what, retrySeconds: 60, limits, quarantineSeconds },
    audit: await scene.event('task.deviated', task.id),
  };
  return scene.store.ledger.refuse({ ...record, reason: 'tool_not_granted' }, { audit, sighting });
}

function testCounting(scene: () => Scene): void {
  test('the limit acts when it is reached, not before', async () => {
    const task = await scene().opened();
    const limits = [limit(3, 'end')];
    expect([await refused(scene(), task, { limits }), await refused(scene(), task, { limits })]).toEqual([
      null,
      null,
    ]);
    expect((await scene().fresh(task)).status.state).toBe('open');
    expect(await refused(scene(), task, { limits })).toBe('end');
    expect((await scene().fresh(task)).status).toMatchObject({
      state: 'deviated',
      stateReason: 'deviation: refused',
    });
  });

  test('the same thing again is a retry, and counts once', async () => {
    const [task, what] = [await scene().opened(), scene().key()];
    for (let count = 0; count < 4; count += 1) expect(await refused(scene(), task, { what })).toBeNull();
    expect(await refused(scene(), task)).toBe('suspend');
  });

  test('what lies further back than the window does not count', async () => {
    const task = await scene().opened();
    expect(await refused(scene(), task)).toBeNull();
    await scene().store.sightingsAgo(task.id, 601);
    expect(await refused(scene(), task)).toBeNull();
    await scene().store.sightingsAgo(task.id, 590);
    expect(await refused(scene(), task)).toBe('suspend');
  });

  test('of two limits the sharper one that is reached acts', async () => {
    const task = await scene().opened();
    const limits = [limit(1, 'note'), limit(2, 'end'), limit(2, 'suspend')];
    expect(await refused(scene(), task, { limits: [limit(3, 'end')] })).toBeNull();
    expect(await refused(scene(), task, { limits })).toBe('end');
  });

  test('each rule and each task is counted alone', async () => {
    const [task, other] = [await scene().opened(), await scene().opened()];
    expect(await refused(scene(), task)).toBeNull();
    expect(await refused(scene(), task, { rule: 'budgetSpent' })).toBeNull();
    expect(await refused(scene(), other)).toBeNull();
    expect((await scene().fresh(task)).status.state).toBe('open');
  });

  test('a task that is suspended, lapsed or over is seen no more', async () => {
    const limits = [limit(1, 'end')];
    const [suspended, lapsed, over] = [
      await scene().opened(),
      await scene().opened(),
      await scene().opened(),
    ];
    await scene().suspend(suspended);
    await scene().store.leaveLease(lapsed.id, -1);
    await scene().end(over);
    for (const task of [suspended, lapsed, over]) expect(await refused(scene(), task, { limits })).toBeNull();
    expect((await scene().fresh(suspended)).status.state).toBe('suspended');
    expect((await scene().fresh(over)).status.state).toBe('completed');
  });

  test('of refusals at once, by two replicas, exactly one is the last straw', async () => {
    const task = await scene().opened();
    const limits = [limit(4, 'note')];
    const acts = await Promise.all([1, 2, 3, 4, 5, 6].map(() => refused(scene(), task, { limits })));
    expect(acts.filter((act) => act === 'note')).toHaveLength(1);
  });
}

function testActs(scene: () => Scene): void {
  test('a note is one event with what it was seen in, and the count begins again', async () => {
    const { store } = scene();
    const [task, limits] = [await scene().opened(), [limit(2, 'note')]];
    const acts = [];
    for (let count = 0; count < 4; count += 1) acts.push(await refused(scene(), task, { limits }));
    expect(acts).toEqual([null, 'note', null, 'note']);
    expect((await scene().fresh(task)).status.state).toBe('open');
    expect((await store.events(task.id)).filter((type) => type === 'task.deviated')).toHaveLength(2);
    const [first, second] = await store.bodies('task.deviated', task.id);
    expect(first).toEqual({
      act: 'note',
      evidence: [expect.any(String), expect.any(String)],
      quarantineSeconds: null,
      rule: 'refused',
    });
    const named = [first, second].flatMap((body) => body?.['evidence']);
    expect(new Set(named).size).toBe(4);
  });

  test.each([
    ['suspend', 'suspended', 'task_suspended'],
    ['end', 'deviated', 'task_ended'],
  ] as const)(
    '%s takes back what is out, and every replica refuses from then on',
    async (act, state, reason) => {
      const { store } = scene();
      const task = await scene().opened();
      const out = await scene().delivered(task);
      await store.replica().tasks.find(task.id);
      expect(await refused(scene(), task, { limits: [limit(1, act)] })).toBe(act);
      expect((await store.work(out.plan.issuanceId))?.state).toBe('revoking');
      expect((await store.tasks.find(task.id))?.status.state).toBe(state);
      expect(saying(await store.replica().ledger.intend(await scene().intent(task)))).toBe(reason);
      expect((await store.events(task.id)).at(-1)).toBe('task.deviated');
      expect((await store.tasks.ending(task.id))?.state).toBe(state);
    },
  );

  test('a signal is recorded by itself, and with a sighting acts like a refusal', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const signalled = async () => scene().event('task.signalled', task.id);
    expect(await store.ledger.signal({ audit: await signalled(), sighting: null })).toBeNull();
    expect((await scene().fresh(task)).status.state).toBe('open');
    const audit = await signalled();
    const sighting: Sighting = {
      ...{ taskId: task.id, rule: 'signal', evidence: audit.id, what: scene().key(), retrySeconds: 60 },
      ...{ limits: [limit(1, 'end')], quarantineSeconds: null },
      audit: await scene().event('task.deviated', task.id),
    };
    expect(await store.ledger.signal({ audit, sighting })).toBe('end');
    expect(await store.bodies('task.deviated', task.id)).toEqual([
      { act: 'end', evidence: [audit.id], quarantineSeconds: null, rule: 'signal' },
    ]);
    expect((await store.tasks.find(task.id))?.status.state).toBe('deviated');
  });

  test('a child goes with it, under an event of its own kind that names the parent', async () => {
    const { store } = scene();
    const parent = await scene().opened();
    const child = await scene().opened({ parent });
    expect(await refused(scene(), parent, { limits: [limit(1, 'end')] })).toBe('end');
    expect((await scene().fresh(child)).status.state).toBe('cancelled');
    expect((await store.events(child.id)).at(-1)).toBe('task.ended');
  });

  test('a refusal that cannot be recorded does nothing to the task', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { record } = await scene().intended(task);
    const audit = await scene().event('exchange.refused', task.id, record.id);
    const sighting: Sighting = {
      ...{ taskId: task.id, rule: 'refused', evidence: record.id, what: scene().key(), retrySeconds: 60 },
      ...{ limits: [limit(1, 'end')], quarantineSeconds: null, audit },
    };
    await expect(
      store.ledger.refuse({ ...record, reason: 'tool_not_granted' }, { audit, sighting }),
    ).rejects.toThrow();
    expect((await scene().fresh(task)).status.state).toBe('open');
  });
}

function testLapse(scene: () => Scene): void {
  test('a lapsed task that is to be suspended gives nothing and is kept alive by nothing, before a reaper comes', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'suspend' });
    const child = await scene().opened({ parent: task });
    const intents = [await scene().intent(task), await scene().intent(child)];
    await store.leaveLease(task.id, -1);
    for (const intent of intents) expect(saying(await store.ledger.intend(intent))).toBe('task_suspended');
    for (const _ of [1, 2])
      expect(await store.tasks.heartbeat(task.id)).toMatchObject({
        state: 'suspended',
        stateReason: 'lease lost',
      });
    expect(await scene().taskDue(task.id)).toBe('lapsed');
  });

  test('it is suspended with what is out and what is beneath, and a resumption gives a new lease', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'suspend' });
    const child = await scene().opened({ parent: task });
    const out = await scene().delivered(task);
    await store.leaveLease(task.id, -1);
    expect((await scene().suspend(task, 'lease lost'))?.state).toBe('suspended');
    expect((await store.work(out.plan.issuanceId))?.state).toBe('revoking');
    expect((await scene().fresh(child)).status.state).toBe('suspended');
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    expect((await scene().resume(task))?.resumed).toBe(true);
    expect((await store.tasks.heartbeat(task.id))?.state).toBe('open');
  });

  test('its maximum age ends it all the same, and another task is abandoned as before', async () => {
    const { store } = scene();
    const [old, other] = [await scene().opened({ onLapse: 'suspend' }), await scene().opened()];
    const intent = await scene().intent(old);
    await store.leaveLease(old.id, -1);
    await store.passExpiry(old.id);
    expect(saying(await store.ledger.intend(intent))).toBe('task_ended');
    expect(await scene().taskDue(old.id)).toBe('expired');
    await store.leaveLease(other.id, -1);
    expect(await scene().taskDue(other.id)).toBe('abandoned');
    expect((await scene().suspend(other))?.state).toBe('open');
  });
}

function testSilence(scene: () => Scene): void {
  const told = async (task: Task) => scene().store.bodies('task.deviated', task.id);

  test('a task whose silence is only noted lives on, and a beat makes it heard again', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'note' });
    await store.leaveLease(task.id, -1);
    expect(saying(await store.ledger.intend(await scene().intent(task)))).toBe('intended');
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    expect(await told(task)).toHaveLength(1);
    expect((await store.tasks.heartbeat(task.id))?.state).toBe('open');
    await scene().taskDue(task.id);
    expect(await told(task)).toHaveLength(1);
    await store.leaveLease(task.id, -1);
    await scene().taskDue(task.id);
    expect(await told(task)).toHaveLength(2);
  });

  test('it is looked at again after a lease, and its maximum age ends it', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'note' });
    await store.makeDue(task.id);
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    expect(await told(task)).toEqual([]);
    const dueInSeconds = (await store.work(task.id))?.dueInSeconds ?? 0;
    expect(dueInSeconds).toBeGreaterThan(55);
    expect(dueInSeconds).toBeLessThanOrEqual(60);
    await store.passExpiry(task.id);
    expect(await scene().taskDue(task.id)).toBe('expired');
  });

  test('what is delivered is a sign of life too', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'note' });
    await store.leaveLease(task.id, -1);
    await scene().delivered(task);
    await scene().taskDue(task.id);
    expect(await told(task)).toEqual([]);
  });

  test('a suspended task is not silent, and a resumption listens anew', async () => {
    const { store } = scene();
    const task = await scene().opened({ onLapse: 'note' });
    await scene().suspend(task);
    await store.leaveLease(task.id, -1);
    await scene().taskDue(task.id);
    await scene().resume(task);
    await scene().taskDue(task.id);
    expect(await told(task)).toEqual([]);
  });
}

function testQuarantine(scene: () => Scene): void {
  const apart = { limits: [limit(1, 'end')], quarantineSeconds: 900 };

  test('nothing opens and nothing mints for the workload under the template, until it is over', async () => {
    const { store } = scene();
    const template = `quarantine ${store.newId()}`;
    const [deviant, other] = [await scene().opened({ template }), await scene().opened({ template })];
    await refused(scene(), deviant, apart);
    const intent = await scene().intent(other);
    expect(saying(await store.ledger.intend(intent))).toBe('quarantined');
    expect(saying(await store.replica().ledger.intend(intent))).toBe('quarantined');
    expect(saying(await scene().open(await scene().opening({ template })))).toBe('quarantined');
    const opening = await scene().opening({ template });
    expect(saying(await store.ledger.intend(await scene().intent(opening.task, { opening })))).toBe(
      'quarantined',
    );
    await store.passQuarantine(template);
    expect(saying(await store.ledger.intend(intent))).toBe('intended');
    expect(saying(await scene().open(opening))).toBe('opened');
  });

  test('another template goes on, and so does what is out of another task', async () => {
    const { store } = scene();
    const template = `quarantine ${store.newId()}`;
    const [deviant, other] = [await scene().opened({ template }), await scene().opened({ template })];
    const elsewhere = await scene().opened();
    const out = await scene().delivered(other);
    await refused(scene(), deviant, apart);
    expect(saying(await store.ledger.intend(await scene().intent(elsewhere)))).toBe('intended');
    expect((await store.work(out.plan.issuanceId))?.state).toBe('delivered');
  });

  test('it reaches what lies beneath a task of that template', async () => {
    const { store } = scene();
    const template = `quarantine ${store.newId()}`;
    const [deviant, parent] = [await scene().opened({ template }), await scene().opened({ template })];
    const child = await scene().opened({ parent });
    await refused(scene(), deviant, apart);
    expect(saying(await store.ledger.intend(await scene().intent(child)))).toBe('quarantined');
    expect(saying(await scene().open(await scene().opening({ parent })))).toBe('quarantined');
  });

  test('a note sets nobody apart', async () => {
    const { store } = scene();
    const template = `quarantine ${store.newId()}`;
    const task = await scene().opened({ template });
    expect(await refused(scene(), task, { limits: [limit(1, 'note')], quarantineSeconds: 900 })).toBe('note');
    expect(saying(await store.ledger.intend(await scene().intent(task)))).toBe('intended');
  });
}
