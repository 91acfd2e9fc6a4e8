import { describe, expect, test } from '@jest/globals';
import type { ReviewBatch, Task } from '@mayfly/core';
import type { Scene } from './scene.ts';

/** Claims about the look at open tasks after a change: `Revocations.claimReview` and `settleReview`. */
export function describeReviews(scene: () => Scene): void {
  describe('reviews', () => testReviews(scene));
}

const claim = (scene: Scene, limit = 1_000) =>
  scene.store.revocations.claimReview({ limit, leaseSeconds: 60 });

/** The pass over everything before is through. */
async function nothingToReview(scene: Scene): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    await scene.store.reviewDue();
    const batch = await claim(scene);
    if (batch !== null && !batch.begun)
      return scene.store.revocations.settleReview({ epoch: batch.epoch, after: null });
  }
}

/** The next batch of a pass that has begun, once older transactions of the suite are over. */
async function batchOf(scene: Scene, limit?: number): Promise<ReviewBatch> {
  for (let round = 0; round < 100; round += 1) {
    const batch = await claim(scene, limit);
    if (batch !== null && !batch.begun) return batch;
  }
  throw new Error('nothing to review');
}

async function marked(scene: Scene, count: number): Promise<readonly Task[]> {
  const tasks: Task[] = [];
  for (let one = 0; one < count; one += 1) tasks.push(await scene.opened({ endsOnChange: true }));
  return tasks;
}

const ours = (batch: ReviewBatch, tasks: readonly Task[]) =>
  batch.tasks.filter((id) => tasks.some((task) => task.id === id));

function testReviews(scene: () => Scene): void {
  test('a change begins a pass over the open and suspended tasks that say so, and over no other', async () => {
    const { store } = scene();
    await store.raiseEpoch();
    await nothingToReview(scene());
    const tasks = await marked(scene(), 3);
    const [first, second, over] = tasks;
    const kept = await scene().opened();
    if (first === undefined || second === undefined || over === undefined) throw new Error('no tasks');
    await scene().suspend(second);
    await scene().end(over);
    expect(await claim(scene())).toBeNull();
    await store.raiseEpoch();
    expect(await claim(scene())).toEqual({ epoch: await store.epoch(), tasks: [], begun: true });
    const batch = await batchOf(scene());
    expect(batch.epoch).toBe(await store.epoch());
    expect(ours(batch, [...tasks, kept])).toEqual([first.id, second.id]);
  });

  test('batch follows batch, each kept from other replicas for its lease, and a pass that is through is over', async () => {
    const { store } = scene();
    await store.raiseEpoch();
    await nothingToReview(scene());
    const tasks = await marked(scene(), 3);
    await store.raiseEpoch();
    await claim(scene());
    const seen: string[] = [];
    for (;;) {
      const batch = await batchOf(scene(), 1);
      expect(batch.tasks.length).toBeLessThanOrEqual(1);
      const other = store.replica().revocations;
      expect(await other.claimReview({ limit: 1, leaseSeconds: 60 })).toBeNull();
      await store.reviewDue();
      // Its claimer died: the next one has the same.
      expect((await batchOf(scene(), 1)).tasks).toEqual(batch.tasks);
      seen.push(...ours(batch, tasks));
      const after = batch.tasks.at(-1) ?? null;
      await other.settleReview({ epoch: batch.epoch, after });
      if (after === null) break;
    }
    expect(seen).toEqual(tasks.map(({ id }) => id));
    expect(await claim(scene())).toBeNull();
  });

  test('a change in the middle of a pass begins another one after it; a late word of the first changes nothing', async () => {
    const { store } = scene();
    await store.raiseEpoch();
    await nothingToReview(scene());
    const tasks = await marked(scene(), 2);
    await store.raiseEpoch();
    await claim(scene());
    const first = await batchOf(scene());
    await store.raiseEpoch();
    await store.revocations.settleReview({ epoch: first.epoch, after: null });
    expect(await claim(scene())).toMatchObject({ begun: true, epoch: first.epoch + 1 });
    await store.revocations.settleReview({ epoch: first.epoch, after: null });
    expect(ours(await batchOf(scene()), tasks)).toEqual(tasks.map(({ id }) => id));
  });
}
