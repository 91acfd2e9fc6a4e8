import { describe, expect, test } from '@jest/globals';
import type { Intent, Task } from '@mayfly/core';
import { type Scene, saying } from './scene.ts';

/** Claims about `Ledger.revoke`. */
export function describeRevocation(scene: () => Scene): void {
  describe('revoking a credential of a cloud', () => testCloud(scene));
  describe('revoking a tool token', () => testLocal(scene));
}

async function revoke(scene: Scene, { plan }: Intent): Promise<boolean> {
  const event = await scene.event('credential.revoke_requested', plan.taskId, plan.issuanceId);
  return scene.store.ledger.revoke(plan.issuanceId, event);
}

const requests = async ({ store }: Scene, task: Task) =>
  (await store.events(task.id)).filter((type) => type === 'credential.revoke_requested').length;

function testCloud(scene: () => Scene): void {
  test('takes it back with all that shares its reach, and leaves another grant of another task alone', async () => {
    const { store } = scene();
    const [task, other] = [await scene().opened(), await scene().opened()];
    const [one, sibling, flying] = [
      await scene().delivered(task),
      await scene().delivered(task),
      await scene().intended(task),
    ];
    const elsewhere = await scene().delivered(other);
    expect(await revoke(scene(), one)).toBe(true);
    const states = [one, sibling, flying, elsewhere].map(
      async ({ plan }) => (await store.work(plan.issuanceId))?.state,
    );
    expect(await Promise.all(states)).toEqual(['revoking', 'revoking', 'reaped', 'delivered']);
    expect((await store.work(one.plan.issuanceId))?.dueInSeconds).toBeLessThanOrEqual(0);
    expect(await requests(scene(), task)).toBe(1);
    // What was on its way is withheld.
    expect(await store.ledger.deliver(await scene().delivery(flying))).toBe(false);
  });

  test('a credential of an earlier generation, not yet ended, leaves those of the present one alone', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const first = await scene().delivered(task);
    expect(await revoke(scene(), first)).toBe(true);
    const second = await scene().delivered(task, { generation: 2 });
    expect(await revoke(scene(), first)).toBe(false);
    expect((await store.work(second.plan.issuanceId))?.state).toBe('delivered');
    expect(await requests(scene(), task)).toBe(1);
  });

  test('the grant goes on under a new generation; the old one is never used again', async () => {
    const { store } = scene();
    const task = await scene().opened();
    expect(await revoke(scene(), await scene().delivered(task))).toBe(true);
    const stale = await store.ledger.intend(await scene().intent(task));
    expect(stale).toMatchObject({ kind: 'stale', generation: 2 });
    expect((await scene().fresh(task)).status.generations).toEqual({ [task.grants[0]?.id ?? '']: 2 });
    expect(saying(await store.ledger.intend(await scene().intent(task, { generation: 2 })))).toBe('intended');
  });

  test('of an ended task, of a base session and of an unknown one is nothing, and leaves no event', async () => {
    const task = await scene().opened();
    const [base, agent] = [await scene().delivered(task, { purpose: 'base' }), await scene().delivered(task)];
    expect(await revoke(scene(), base)).toBe(false);
    await scene().end(task);
    expect(await revoke(scene(), agent)).toBe(false);
    expect(await revoke(scene(), await scene().intent(task))).toBe(false);
    expect(await requests(scene(), task)).toBe(0);
  });
}

function testLocal(scene: () => Scene): void {
  const issued = async (task: Task, ends: Intent['plan']['ends']): Promise<Intent> => {
    const intent = await scene().intent(task, { ends, reach: scene().store.newId() });
    const result = await scene().store.ledger.issueLocal(intent, await scene().delivery(intent));
    if (result.kind !== 'intended') throw new Error(`not issued: ${JSON.stringify(result)}`);
    return intent;
  };

  test('ends this one, once; its siblings and the generation stay', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const ends = { by: 'denied', guaranteedSeconds: 5 } as const;
    const [one, sibling] = [await issued(task, ends), await issued(task, ends)];
    expect([await revoke(scene(), one), await revoke(scene(), one)]).toEqual([true, false]);
    expect(await store.endsOf(one.plan.issuanceId)).toEqual(['denied']);
    expect(await store.endsOf(sibling.plan.issuanceId)).toEqual([]);
    expect(await requests(scene(), task)).toBe(1);
    expect(saying(await scene().issuedLocally(task))).toBe('intended');
  });

  test('of an offline server ends as what it does: by expiry', async () => {
    const one = await issued(await scene().opened(), { by: 'expired' });
    expect(await revoke(scene(), one)).toBe(true);
    expect(await scene().store.endsOf(one.plan.issuanceId)).toEqual(['expired']);
  });

  test('of a suspended and of an ended task is nothing: it is dead already', async () => {
    const task = await scene().opened();
    const one = await issued(task, { by: 'denied' });
    await scene().suspend(task);
    expect(await revoke(scene(), one)).toBe(false);
    await scene().resume(task);
    expect(await revoke(scene(), one)).toBe(false);
    const again = await scene().intent(task, { generation: 2, ends: { by: 'denied' } });
    await scene().store.ledger.issueLocal(again, await scene().delivery(again));
    await scene().end(task);
    expect(await revoke(scene(), again)).toBe(false);
    expect(await scene().store.endsOf(one.plan.issuanceId)).toEqual([]);
  });
}
