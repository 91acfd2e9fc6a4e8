import { describe, expect, test } from '@jest/globals';
import { closedStates } from '@mayfly/core';
import type { Scene } from './scene.ts';

/** Claims about `Tasks` once a task is open. */
export function describeTasks(scene: () => Scene): void {
  describe('tasks: ending', () => testEnding(scene));
  describe('tasks: suspending and resuming', () => testSuspending(scene));
  describe('tasks: leases', () => testHeartbeat(scene));
  describe('tasks: what stands between an end and the last credential', () => testCounts(scene));
}

function testEnding(scene: () => Scene): void {
  const endable = closedStates.filter((state) => state !== 'abandoned');

  test.each(endable)('a task that is ended as %s keeps that state', async (state) => {
    const task = await scene().opened();
    expect((await scene().end(task, state))?.state).toBe(state);
    for (const later of endable) expect((await scene().end(task, later))?.state).toBe(state);
    const { status } = await scene().fresh(task);
    expect(status).toMatchObject({ state, stateReason: `because ${state}` });
    expect(status.endedAt).toBeInstanceOf(Date);
    expect(status.outcome).toBe(['completed', 'failed', 'cancelled'].includes(state) ? state : null);
    expect(await scene().store.events(task.id)).toEqual(['task.opened', 'task.ended']);
  });

  test('abandoned is only a task whose lease has lapsed', async () => {
    const task = await scene().opened();
    expect((await scene().end(task, 'abandoned'))?.state).toBe('open');
    await scene().store.leaveLease(task.id, -1);
    expect((await scene().end(task, 'abandoned'))?.state).toBe('abandoned');
  });

  test('a suspended task is not abandoned, whatever its lease', async () => {
    const task = await scene().opened();
    await scene().suspend(task);
    await scene().store.leaveLease(task.id, -1);
    expect((await scene().end(task, 'abandoned'))?.state).toBe('suspended');
    expect((await scene().end(task, 'cancelled'))?.state).toBe('cancelled');
  });

  test('an unknown task cannot be ended, suspended or resumed', async () => {
    const { task } = await scene().opening();
    expect(await scene().end(task)).toBeUndefined();
    expect(await scene().suspend(task)).toBeUndefined();
    expect(await scene().resume(task)).toBeUndefined();
    expect(await scene().store.tasks.ending(task.id)).toBeUndefined();
  });

  test('the end takes back what is out at once: intended is reaped, delivered is revoked', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const delivered = await scene().delivered(task);
    const intended = await scene().intended(task);
    await scene().end(task);
    expect(await store.work(delivered.plan.issuanceId)).toMatchObject({ state: 'revoking', attempts: 0 });
    expect(await store.work(intended.plan.issuanceId)).toMatchObject({ state: 'reaped', attempts: 0 });
    expect((await store.work(delivered.plan.issuanceId))?.dueInSeconds).toBeLessThanOrEqual(0);
    expect(await store.work(task.id)).toBeUndefined();
  });

  test('the end of one task leaves the credentials of another alone', async () => {
    const neighbour = await scene().delivered(await scene().opened());
    await scene().end(await scene().opened());
    expect((await scene().store.work(neighbour.plan.issuanceId))?.state).toBe('delivered');
  });
}

function testSuspending(scene: () => Scene): void {
  test('a suspended task gives back what is out, and is suspended once', async () => {
    const { store } = scene();
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    expect((await scene().suspend(task))?.state).toBe('suspended');
    expect((await scene().suspend(task))?.state).toBe('suspended');
    expect((await store.work(plan.issuanceId))?.state).toBe('revoking');
    const events = await store.events(task.id);
    expect(events.filter((type) => type === 'task.suspended')).toHaveLength(1);
    expect((await scene().fresh(task)).status).toMatchObject({ state: 'suspended', stateReason: 'look' });
  });

  test('each resume gives a new generation and a whole lease', async () => {
    const task = await scene().opened();
    for (const generation of [2, 3]) {
      await scene().suspend(task);
      await scene().store.leaveLease(task.id, -5);
      const resumed = await scene().resume(task);
      expect(resumed?.resumed).toBe(true);
      expect(resumed?.status).toMatchObject({ state: 'open', stateReason: null });
      expect(Object.values(resumed?.status.generations ?? {})).toEqual([generation]);
      const leaseMs = (resumed?.status.leaseExpiresAt.getTime() ?? 0) - (await scene().store.now()).getTime();
      expect(leaseMs).toBeGreaterThan(55_000);
    }
  });

  test('what is open, ended or past its expiry is not resumed', async () => {
    const open = await scene().opened();
    expect(await scene().resume(open)).toMatchObject({ resumed: false, status: { state: 'open' } });
    const ended = await scene().opened();
    await scene().end(ended);
    expect(await scene().resume(ended)).toMatchObject({ resumed: false, status: { state: 'completed' } });
    const late = await scene().opened();
    await scene().suspend(late);
    await scene().store.passExpiry(late.id);
    expect(await scene().resume(late)).toMatchObject({ resumed: false, status: { state: 'suspended' } });
    expect(await scene().store.events(ended.id)).not.toContain('task.resumed');
  });

  test('an ended task is not suspended', async () => {
    const task = await scene().opened();
    await scene().end(task, 'failed');
    expect((await scene().suspend(task))?.state).toBe('failed');
    expect(await scene().store.events(task.id)).toEqual(['task.opened', 'task.ended']);
  });

  test('another process may remember the old state, and reads the new one when asked for it', async () => {
    const task = await scene().opened();
    const other = scene().store.replica();
    expect((await other.tasks.find(task.id))?.status.state).toBe('open');
    await scene().suspend(task);
    expect((await other.tasks.find(task.id, { fresh: true }))?.status.state).toBe('suspended');
    await scene().resume(task);
    expect((await other.tasks.find(task.id, { fresh: true }))?.status.generations).toEqual({
      [task.grants[0]?.id ?? '']: 2,
    });
  });
}

function testHeartbeat(scene: () => Scene): void {
  test('a heartbeat gives a whole lease again', async () => {
    const task = await scene().opened();
    await scene().store.leaveLease(task.id, 5);
    const status = await scene().store.tasks.heartbeat(task.id);
    expect(status?.state).toBe('open');
    const leftMs = (status?.leaseExpiresAt.getTime() ?? 0) - (await scene().store.now()).getTime();
    expect(leftMs).toBeGreaterThan(55_000);
  });

  test('a lease that has lapsed is not brought back, and the answer says abandoned', async () => {
    const task = await scene().opened();
    await scene().store.leaveLease(task.id, -1);
    expect((await scene().store.tasks.heartbeat(task.id))?.state).toBe('abandoned');
    expect((await scene().end(task, 'abandoned'))?.state).toBe('abandoned');
  });

  test('a heartbeat of an ended, a suspended and an unknown task answers what it is', async () => {
    const { tasks, newId } = scene().store;
    const task = await scene().opened();
    await scene().suspend(task);
    expect((await tasks.heartbeat(task.id))?.state).toBe('suspended');
    await scene().end(task, 'deviated');
    expect((await tasks.heartbeat(task.id))?.state).toBe('deviated');
    expect(await tasks.heartbeat(newId())).toBeUndefined();
  });
}

function testCounts(scene: () => Scene): void {
  const ending = (id: string) => scene().store.tasks.ending(id);

  test('a task without credentials has nothing to wait for', async () => {
    const task = await scene().opened();
    const none = { total: 0, confirmed: 0, pending: 0, byExpiry: 0, worstCaseAt: null };
    expect(await scene().end(task)).toEqual({ state: 'completed', ...none });
  });

  test('a delivered credential is pending until its end is confirmed', async () => {
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    expect(await scene().end(task)).toMatchObject({ total: 1, pending: 1, confirmed: 0 });
    expect((await ending(task.id))?.worstCaseAt).toEqual(new Date(plan.notAfter));
    const audit = await scene().event('credential.ended', task.id, plan.issuanceId);
    const end = { issuanceId: plan.issuanceId, method: 'denied' as const, evidence: {}, audit };
    await scene().store.queue.settle([end]);
    expect(await ending(task.id)).toMatchObject({ total: 1, pending: 0, confirmed: 1, worstCaseAt: null });
  });

  test('what only expires, and what was never delivered, is counted as by expiry', async () => {
    const task = await scene().opened();
    await scene().delivered(task, { ends: { by: 'expired' } });
    await scene().intended(task);
    expect(await scene().end(task)).toMatchObject({ total: 2, byExpiry: 2, pending: 0 });
  });

  test('a tool token is confirmed with the end where its server asks, else by expiry', async () => {
    const task = await scene().opened();
    await scene().issuedLocally(task, { ends: { by: 'denied', guaranteedSeconds: 5 } });
    expect(await scene().end(task)).toMatchObject({ total: 1, confirmed: 1 });
    const offline = await scene().opened();
    await scene().issuedLocally(offline, { ends: { by: 'expired' } });
    expect(await scene().end(offline)).toMatchObject({ total: 1, byExpiry: 1, confirmed: 0 });
  });

  test('a base session is not counted among the credentials of the task', async () => {
    const task = await scene().opened();
    await scene().delivered(task, { purpose: 'base' });
    expect(await scene().end(task)).toMatchObject({ total: 0 });
  });
}
