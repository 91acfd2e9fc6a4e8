import { describe, expect, test } from '@jest/globals';
import { isClosed, type RevocationScope, type Task } from '@mayfly/core';
import type { Scene } from './scene.ts';

/** Claims about `Revocations`, and the end of one grant. */
export function describeRevocations(scene: () => Scene): void {
  describe('revocations: what they name', () => testScopes(scene));
  describe('revocations: as jobs', () => testJobs(scene));
  describe('one grant', () => testGrant(scene));
}

async function requested(scene: Scene, scope: RevocationScope): Promise<string> {
  const id = scene.store.newId();
  const audit = await scene.event('revocation.requested');
  await scene.store.revocations.request({ id, ...scope, reason: 'drill', requestedBy: 'sso/ada' }, audit);
  return id;
}

/** Claims until it is this one's turn: other jobs of the suite may wait in front of it. */
async function claimed(scene: Scene, id: string, limit = 100) {
  const { revocations } = scene.store;
  for (;;) {
    const batch = await revocations.claim({ limit, leaseSeconds: 60 });
    if (batch === null || batch.id === id) return batch;
  }
}

const settle = async (scene: Scene, id: string) =>
  scene.store.revocations.settle(id, await scene.event('revocation.done'));

/** As settled, whatever older transaction of the suite still runs. */
async function settledDone(scene: Scene, id: string): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    const settled = await settle(scene, id);
    if (settled === 'done') return;
    expect(settled).toBe('waiting');
  }
  throw new Error('an older transaction never ends');
}

const grantOf = (task: Task) => task.grants[0]?.id ?? '';

function testScopes(scene: () => Scene): void {
  test('a task, and no other', async () => {
    const [task] = [await scene().opened(), await scene().opened()];
    const id = await requested(scene(), { by: 'task', name: task.id });
    expect((await claimed(scene(), id))?.targets).toEqual([{ kind: 'task', id: task.id }]);
  });

  test('a grant, and no other', async () => {
    const [task] = [await scene().opened(), await scene().opened()];
    const id = await requested(scene(), { by: 'grant', name: grantOf(task) });
    expect((await claimed(scene(), id))?.targets).toEqual([{ kind: 'grant', id: grantOf(task) }]);
  });

  test('every live task of a template, and neither one that has ended nor one of another', async () => {
    const template = `of ${scene().store.newId()}`;
    const [one, two, over] = [
      await scene().opened({ template }),
      await scene().opened({ template }),
      await scene().opened({ template }),
    ];
    await scene().suspend(two);
    await scene().end(over);
    await scene().opened({ template: `${template} and more` });
    const scope = { by: 'template', name: template } as const;
    expect(await scene().store.revocations.measure(scope)).toBe(2);
    const batch = await claimed(scene(), await requested(scene(), scope));
    expect(new Set(batch?.targets.map(({ id }) => id))).toEqual(new Set([one.id, two.id]));
  });

  test.each([
    ['workload', 'agents/worker', 'agents/work'],
    ['issuer', 'agents', 'agent'],
  ] as const)('every live task of the %s, and none of another', async (by, name, other) => {
    const task = await scene().opened();
    const { revocations } = scene().store;
    const before = await revocations.measure({ by, name });
    await scene().end(task);
    expect(await revocations.measure({ by, name })).toBe(before - 1);
    expect(await revocations.measure({ by, name: other })).toBe(0);
  });

  test('every grant at a provider that has not ended, and none at another', async () => {
    const task = await scene().opened();
    const { revocations, tasks } = scene().store;
    const before = await revocations.measure({ by: 'provider', name: 'cloud' });
    await tasks.endGrant(grantOf(task), { audit: await scene().event('grant.ended', task.id) });
    expect(await revocations.measure({ by: 'provider', name: 'cloud' })).toBe(before - 1);
    expect(await revocations.measure({ by: 'provider', name: 'clouds' })).toBe(0);
  });
}

function testJobs(scene: () => Scene): void {
  test('a batch holds no more than asked for, the next one the rest, and progress is read from the tasks', async () => {
    const template = `batches ${scene().store.newId()}`;
    for (let count = 0; count < 3; count += 1) await scene().opened({ template });
    const id = await requested(scene(), { by: 'template', name: template });
    const { revocations, tasks } = scene().store;
    const first = await claimed(scene(), id, 2);
    expect(first).toMatchObject({ reason: 'drill', requestedBy: 'sso/ada' });
    expect(first?.targets).toHaveLength(2);
    for (const target of first?.targets ?? []) {
      const audit = await scene().event('task.ended', target.id);
      const ending = await tasks.end(target.id, { state: 'cancelled', reason: 'drill', audit });
      expect(isClosed(ending?.state ?? 'open')).toBe(true);
    }
    expect(await revocations.find(id)).toMatchObject({ total: 3, remaining: 1, doneAt: null });
    expect(await settle(scene(), id)).toBe('more');
    const second = await claimed(scene(), id, 2);
    expect(second?.targets).toHaveLength(1);
    for (const target of second?.targets ?? [])
      await tasks.end(target.id, {
        ...{ state: 'cancelled', reason: 'drill' },
        audit: await scene().event('task.ended', target.id),
      });
    await settledDone(scene(), id);
    const done = await revocations.find(id);
    expect(done).toMatchObject({ total: 3, remaining: 0, doneAt: expect.any(Date) });
    expect(await claimed(scene(), id)).toBeNull();
  });

  test('one replica has it until its lease is over; then another goes on where the rows are', async () => {
    const task = await scene().opened();
    const id = await requested(scene(), { by: 'task', name: task.id });
    expect(await claimed(scene(), id)).not.toBeNull();
    const other = scene().store.replica().revocations;
    expect(await claimed(scene(), id)).toBeNull();
    await scene().store.revocationDue(id);
    const batch = await other.claim({ limit: 10, leaseSeconds: 60 });
    expect(batch).toMatchObject({ id, targets: [{ kind: 'task', id: task.id }] });
  });

  test('what was opened after it was asked for is not part of it', async () => {
    const template = `later ${scene().store.newId()}`;
    await scene().opened({ template });
    const id = await requested(scene(), { by: 'template', name: template });
    const later = await scene().opened({ template });
    const batch = await claimed(scene(), id);
    expect(batch?.targets).toHaveLength(1);
    expect(batch?.targets[0]?.id).not.toBe(later.id);
  });

  test('credentials that the cloud has not confirmed are counted until they are', async () => {
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    const id = await requested(scene(), { by: 'task', name: task.id });
    const { revocations, queue } = scene().store;
    expect(await revocations.find(id)).toMatchObject({ pending: 0, remaining: 1 });
    await scene().end(task, 'cancelled');
    await settledDone(scene(), id);
    expect(await revocations.find(id)).toMatchObject({ pending: 1, byExpiry: 0, remaining: 0 });
    const audit = await scene().event('credential.ended', task.id, plan.issuanceId);
    await queue.settle([{ issuanceId: plan.issuanceId, method: 'denied', evidence: {}, audit }]);
    expect(await revocations.find(id)).toMatchObject({ pending: 0, byExpiry: 0 });
  });

  test('an unknown one is not found', async () => {
    expect(await scene().store.revocations.find(scene().store.newId())).toBeUndefined();
  });
}

function testGrant(scene: () => Scene): void {
  const end = async (task: Task) =>
    scene().store.tasks.endGrant(grantOf(task), { audit: await scene().event('grant.ended', task.id) });

  test('ends with its credentials, is told once, and its task lives on', async () => {
    const task = await scene().opened();
    const { plan } = await scene().delivered(task);
    expect(await end(task)).toBe(true);
    expect(await scene().store.work(plan.issuanceId)).toMatchObject({ state: 'revoking' });
    expect((await scene().fresh(task)).status.state).toBe('open');
    expect(await end(task)).toBe(false);
    const events = await scene().store.events(task.id);
    expect(events.filter((type) => type === 'grant.ended')).toHaveLength(1);
  });

  test('gives nothing any more, on no replica, and not after a resumption', async () => {
    const task = await scene().opened();
    await end(task);
    const { ledger } = scene().store.replica();
    expect(await ledger.intend(await scene().intent(task))).toEqual({
      kind: 'refused',
      reason: 'grant_ended',
    });
    await scene().suspend(task);
    await scene().resume(task);
    expect(await scene().store.ledger.intend(await scene().intent(task))).toEqual({
      kind: 'refused',
      reason: 'grant_ended',
    });
  });

  test('takes along what came from it beneath, and leaves the neighbour', async () => {
    const task = await scene().opened();
    const child = await scene().opened({ parent: task });
    const neighbour = await scene().opened();
    const [below, beside] = [await scene().delivered(child), await scene().delivered(neighbour)];
    await end(task);
    expect(await scene().store.work(below.plan.issuanceId)).toMatchObject({ state: 'revoking' });
    expect(await scene().store.work(beside.plan.issuanceId)).toMatchObject({ state: 'delivered' });
    expect(await scene().store.ledger.intend(await scene().intent(child))).toEqual({
      kind: 'refused',
      reason: 'grant_ended',
    });
  });

  test('gives nothing to a child that is opened afterwards either', async () => {
    const task = await scene().opened();
    await end(task);
    const child = await scene().opened({ parent: task });
    const grandchild = await scene().opened({ parent: child });
    for (const below of [child, grandchild])
      expect(await scene().store.ledger.intend(await scene().intent(below))).toEqual({
        kind: 'refused',
        reason: 'grant_ended',
      });
  });

  test('that never was ends nothing', async () => {
    const audit = await scene().event('grant.ended');
    expect(await scene().store.tasks.endGrant(scene().store.newId(), { audit })).toBe(false);
  });
}
