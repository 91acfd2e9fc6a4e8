import { beforeEach, describe, expect, test } from '@jest/globals';
import type { End } from '@mayfly/core';
import type { Scene } from './scene.ts';

/** Claims about `WorkQueue`. */
export function describeWorkQueue(scene: () => Scene): void {
  beforeEach(() => scene().store.nothingDue());
  describe('queue: claims', () => testClaims(scene));
  describe('work: lanes', () => testLanes(scene));
  describe('queue: settling', () => testSettling(scene));
  describe('queue: tasks that come due', () => testTasks(scene));
}

function testClaims(scene: () => Scene): void {
  test('only what is due is claimed, and not again before its backoff', async () => {
    const { store } = scene();
    const { plan } = await scene().intended(await scene().opened());
    expect(await scene().claim(plan.issuanceId)).toEqual([]);
    await store.makeDue(plan.issuanceId);
    const [work] = await scene().claim(plan.issuanceId);
    expect(work).toMatchObject({ kind: 'issuance', issuanceId: plan.issuanceId, attempts: 1, plan });
    expect(await scene().claim(plan.issuanceId)).toEqual([]);
  });

  test('each claim counts and waits longer, up to a minute', async () => {
    const { store } = scene();
    const { plan } = await scene().intended(await scene().opened());
    const waits = [];
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      await store.makeDue(plan.issuanceId);
      expect(await scene().claim(plan.issuanceId)).toMatchObject([{ attempts: attempt }]);
      waits.push((await store.work(plan.issuanceId))?.dueInSeconds ?? 0);
    }
    expect(waits[0]).toBeLessThanOrEqual(1);
    expect(waits[5]).toBeGreaterThan(15);
    for (const wait of waits) expect(wait).toBeLessThanOrEqual(60);
  });

  test('a due intent becomes reaped, a due delivered one stays so', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const intended = (await scene().intended(task)).plan.issuanceId;
    const delivered = (await scene().delivered(task)).plan.issuanceId;
    await store.makeDue(intended);
    await store.makeDue(delivered);
    const states = (await scene().claim(intended, delivered)).map((work) =>
      work.kind === 'issuance' ? [work.issuanceId, work.state] : [],
    );
    expect(new Map(states.map(([id, state]) => [id, state]))).toEqual(
      new Map([
        [intended, 'reaped'],
        [delivered, 'delivered'],
      ]),
    );
  });

  test('a claim says how far the credential is from its notAfter', async () => {
    const { store } = scene();
    const { plan } = await scene().intended(await scene().opened());
    await store.makeDue(plan.issuanceId);
    const [alive] = await scene().claim(plan.issuanceId);
    expect(Reflect.get(alive ?? {}, 'secondsPastNotAfter')).toBeLessThan(-50);
    await store.passNotAfter(plan.issuanceId, 40);
    await store.makeDue(plan.issuanceId);
    const [past] = await scene().claim(plan.issuanceId);
    expect(Reflect.get(past ?? {}, 'secondsPastNotAfter')).toBeGreaterThanOrEqual(40);
  });

  test('of several claimers at once each row goes to one, and a claim keeps to its limit', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const ids = [];
    for (let count = 0; count < 6; count += 1) ids.push((await scene().intended(task)).plan.issuanceId);
    for (const id of ids) await store.makeDue(id);
    const claims = await Promise.all([1, 2, 3].map(() => store.queue.claim({ lane: 'cloud', limit: 2 })));
    for (const claim of claims) expect(claim.length).toBeLessThanOrEqual(2);
    const claimed = claims.flat().map((work) => (work.kind === 'issuance' ? work.issuanceId : work.taskId));
    expect(new Set(claimed).size).toBe(claimed.length);
  });
}

function testLanes(scene: () => Scene): void {
  test('each provider has a lane of its own, and tasks have theirs; a lane without due work is none', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { plan } = await scene().intended(task);
    expect(await store.queue.claim({ lane: 'elsewhere', limit: 1_000 })).toEqual([]);
    await store.makeDue(plan.issuanceId);
    await store.makeDue(task.id);
    expect(await store.queue.lanes()).toEqual(expect.arrayContaining(['', 'cloud']));
    const [tasks, cloud] = [
      await store.queue.claim({ lane: '', limit: 1_000 }),
      await store.queue.claim({ lane: 'cloud', limit: 1_000 }),
    ];
    expect(tasks.map(({ kind }) => kind)).toEqual(tasks.map(() => 'task'));
    expect(tasks).toContainEqual(expect.objectContaining({ taskId: task.id }));
    expect(cloud).toContainEqual(expect.objectContaining({ issuanceId: plan.issuanceId }));
    // Claimed, they are due later.
    expect(await store.queue.claim({ lane: 'cloud', limit: 1_000 })).not.toContainEqual(
      expect.objectContaining({ issuanceId: plan.issuanceId }),
    );
  });
}

function testSettling(scene: () => Scene): void {
  const endOf = async (issuanceId: string, taskId: string): Promise<End> => {
    const audit = await scene().event('credential.ended', taskId, issuanceId);
    return { issuanceId, method: 'denied', evidence: { attempts: 1 }, audit };
  };

  test('a settled end is recorded with its event, and the work is gone', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    await store.queue.settle([await endOf(plan.issuanceId, task.id)]);
    expect(await store.endsOf(plan.issuanceId)).toEqual(['denied']);
    expect(await store.work(plan.issuanceId)).toBeUndefined();
    expect(await store.events(task.id)).toContain('credential.ended');
  });

  test('what two settle is one end and one event', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    const ends = [await endOf(plan.issuanceId, task.id), await endOf(plan.issuanceId, task.id)];
    await Promise.all(ends.map((end) => store.queue.settle([end])));
    expect(await store.endsOf(plan.issuanceId)).toEqual(['denied']);
    const events = await store.events(task.id);
    expect(events.filter((type) => type === 'credential.ended')).toHaveLength(1);
  });

  test('what is postponed is due later', async () => {
    const { store } = scene();
    const { plan } = await scene().delivered(await scene().opened());
    await store.makeDue(plan.issuanceId);
    await store.queue.postpone([plan.issuanceId], 90);
    expect(await scene().claim(plan.issuanceId)).toEqual([]);
    expect((await store.work(plan.issuanceId))?.dueInSeconds).toBeGreaterThan(85);
  });
}

function testTasks(scene: () => Scene): void {
  test('a task comes due at the end of its lease, and a live one is armed again', async () => {
    const { store } = scene();
    const task = await scene().opened();
    await store.makeDue(task.id);
    expect(await scene().claim(task.id)).toEqual([{ kind: 'task', taskId: task.id, attempts: 1 }]);
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    const work = await store.work(task.id);
    expect(work).toMatchObject({ state: 'task', attempts: 0 });
    expect(work?.dueInSeconds).toBeGreaterThan(50);
  });

  test('a lapsed lease is abandoned, a passed expiry is expired, whatever the lease', async () => {
    const { store } = scene();
    const task = await scene().opened();
    await store.leaveLease(task.id, -1);
    expect(await scene().taskDue(task.id)).toBe('abandoned');
    await store.passExpiry(task.id);
    expect(await scene().taskDue(task.id)).toBe('expired');
  });

  test('a suspended task keeps no lease, but expires', async () => {
    const { store } = scene();
    const task = await scene().opened({ lifeSeconds: 500 });
    await scene().suspend(task);
    await store.leaveLease(task.id, -1);
    expect(await scene().taskDue(task.id)).toBe('rearmed');
    expect((await store.work(task.id))?.dueInSeconds).toBeGreaterThan(400);
    await store.passExpiry(task.id);
    expect(await scene().taskDue(task.id)).toBe('expired');
  });

  test('a resumed task is looked at at once, so that its lease counts again', async () => {
    const { store } = scene();
    const task = await scene().opened();
    await scene().suspend(task);
    await scene().resume(task);
    expect((await store.work(task.id))?.dueInSeconds).toBeLessThanOrEqual(0);
    expect(await scene().taskDue(task.id)).toBe('rearmed');
  });

  test('an ended and an unknown task are gone', async () => {
    const { store } = scene();
    const task = await scene().opened();
    await scene().end(task);
    expect(await scene().taskDue(task.id)).toBe('gone');
    expect(await scene().taskDue(store.newId())).toBe('gone');
  });
}
