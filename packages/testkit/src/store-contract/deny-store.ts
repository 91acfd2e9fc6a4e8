import { describe, expect, test } from '@jest/globals';
import type { DenyAt, DenyEntry, End } from '@mayfly/core';
import type { Scene } from './scene.ts';

/** Claims about `DenyStore`. */
export function describeDenyStore(scene: () => Scene): void {
  describe('deny documents: one writer', () => testWriters(scene));
  describe('deny documents: looked at again', () => testLooks(scene));
  describe('deny documents: not ours any more', () => testForeign(scene));
  describe('deny documents: wider than they should be', () => testWidened(scene));
  describe('deny documents: whom the log was told of', () => testTold(scene));
  describe('deny documents: seen to be felt', () => testProven(scene));
}

const leaseSeconds = 30;

async function entry(scene: Scene, sourceIdentity: string, seconds = 600): Promise<DenyEntry> {
  const neededUntil = new Date((await scene.store.now()).getTime() + seconds * 1000);
  return { sourceIdentity, taskId: scene.store.newId(), neededUntil };
}

function roleOf(scene: Scene): string {
  return `arn:aws:iam::123456789012:role/${scene.store.newId()}`;
}

const inCloud = (role: string): DenyAt => ({ provider: 'cloud', role });

function testWriters(scene: () => Scene): void {
  test('a write holds every entry still needed, sorted, at a version of its own', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    const first = await deny.request(inCloud(role), [await entry(scene(), 'mf-b-1')], leaseSeconds);
    expect(first).toMatchObject({ version: 1, entries: ['mf-b-1'] });
    expect(await deny.acknowledge(inCloud(role), 1)).toBe(true);
    const second = await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    expect(second).toMatchObject({ version: 2, entries: ['mf-a-1', 'mf-b-1'] });
  });

  test('the same entry twice is one entry', async () => {
    const role = roleOf(scene());
    const twice = [await entry(scene(), 'mf-a-1'), await entry(scene(), 'mf-a-1', 900)];
    const write = await scene().store.deny.request(inCloud(role), twice, leaseSeconds);
    expect(write?.entries).toEqual(['mf-a-1']);
  });

  test('while one writes, another is told to wait; each role has its own writer', async () => {
    const { deny } = scene().store;
    const [role, other] = [roleOf(scene()), roleOf(scene())];
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    expect(await deny.request(inCloud(role), [await entry(scene(), 'mf-b-1')], leaseSeconds)).toBeNull();
    expect(await deny.request(inCloud(other), [await entry(scene(), 'mf-b-1')], leaseSeconds)).not.toBeNull();
  });

  test('two Providers with a role of one name have two documents', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    const elsewhere = { provider: 'elsewhere', role };
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    const other = await deny.request(elsewhere, [await entry(scene(), 'mf-b-1')], leaseSeconds);
    expect(other).toMatchObject({ version: 1, entries: ['mf-b-1'] });
    await deny.release(elsewhere, 1);
    expect(await deny.request(inCloud(role), [], leaseSeconds)).toBeNull();
    expect((await deny.request(elsewhere, [], leaseSeconds))?.version).toBe(2);
    expect(await deny.acknowledge(inCloud(role), 2)).toBe(false);
    expect(await deny.acknowledge(elsewhere, 2)).toBe(true);
    const open = await deny.unproven(['mf-a-1', 'mf-b-1'], 10);
    expect(open.filter((one) => one.role === role)).toMatchObject([
      { ...elsewhere, sourceIdentity: 'mf-b-1' },
    ]);
  });

  test('a writer that died is followed after its lease, and its late acknowledgement counts for nothing', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await scene().store.passWriterLease(role);
    const second = await deny.request(inCloud(role), [await entry(scene(), 'mf-b-1')], leaseSeconds);
    expect(second).toMatchObject({ version: 2, entries: ['mf-a-1', 'mf-b-1'] });
    expect(await deny.acknowledge(inCloud(role), 1)).toBe(false);
    expect(await deny.acknowledge(inCloud(role), 2)).toBe(true);
  });

  test('a lease that its writer gives back is free at once; a lease of another version is not', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await deny.release(inCloud(role), 7);
    expect(await deny.request(inCloud(role), [], leaseSeconds)).toBeNull();
    await deny.release(inCloud(role), 1);
    expect(await deny.request(inCloud(role), [], leaseSeconds)).toMatchObject({
      version: 2,
      entries: ['mf-a-1'],
    });
  });

  test('an entry that no session can need any more leaves the document', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    const entries = [await entry(scene(), 'mf-old-1', -301), await entry(scene(), 'mf-new-1', -200)];
    expect((await deny.request(inCloud(role), entries, leaseSeconds))?.entries).toEqual(['mf-new-1']);
  });
}

function testLooks(scene: () => Scene): void {
  const due = async (role: string) =>
    (await scene().store.deny.due(10)).find((document) => document.role === role);

  test('a document is due when it was not read for so long, and not while it is written', async () => {
    const { deny, readAgo } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    expect(await due(role)).toBeUndefined();
    await deny.acknowledge(inCloud(role), 1);
    expect(await due(role)).toBeUndefined();
    await readAgo(role, 11);
    const document = {
      role,
      provider: 'cloud',
      version: 1,
      entries: ['mf-a-1'],
      shrinks: false,
      widened: null,
    };
    expect(await due(role)).toEqual({ ...document, acknowledged: true });
    await deny.observed(inCloud(role), { intact: true, audit: null });
    expect(await due(role)).toBeUndefined();
  });

  test('a write that was never acknowledged is due as unfinished; released, another may write at once', async () => {
    const { deny, readAgo } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await deny.acknowledge(inCloud(role), 1);
    expect((await deny.request(inCloud(role), [], leaseSeconds))?.version).toBe(2);
    await deny.release(inCloud(role), 1); // Another version's lease is not theirs to give back.
    expect(await deny.request(inCloud(role), [], leaseSeconds)).toBeNull();
    await deny.release(inCloud(role), 2);
    await readAgo(role, 11);
    expect(await due(role)).toMatchObject({ version: 2, acknowledged: false });
    expect((await deny.request(inCloud(role), [], leaseSeconds))?.version).toBe(3);
  });

  test('a write that was never read back is due as unfinished', async () => {
    const { deny, passWriterLease } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await passWriterLease(role);
    expect(await due(role)).toMatchObject({ version: 1, acknowledged: false });
  });

  test('a document whose entries nobody has needed for a day is looked at no more', async () => {
    const { deny, passWriterLease, neededUntil } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await passWriterLease(role);
    await neededUntil(role, -86_300);
    expect(await due(role)).toMatchObject({ shrinks: true });
    await neededUntil(role, -86_500);
    expect(await due(role)).toBeUndefined();
  });
}

function testForeign(scene: () => Scene): void {
  const ended = async (reach: string) => {
    const task = await scene().opened();
    const { plan } = await scene().delivered(task, { reach });
    const audit = await scene().event('credential.ended', task.id, plan.issuanceId);
    const end: End = { issuanceId: plan.issuanceId, method: 'denied', evidence: {}, audit };
    await scene().store.queue.settle([end]);
    return { task, id: plan.issuanceId };
  };

  test('a document that is not ours any more puts what it denied back to revoking', async () => {
    const { deny, work, newId, events } = scene().store;
    const role = roleOf(scene());
    const reach = `mf-${newId()}-1`;
    const { task, id } = await ended(reach);
    await deny.request(inCloud(role), [await entry(scene(), reach)], leaseSeconds);
    await deny.acknowledge(inCloud(role), 1);
    const audit = await scene().event('deny.foreign', task.id);
    await deny.observed(inCloud(role), { intact: false, audit });
    expect(await work(id)).toMatchObject({ state: 'revoking', attempts: 0 });
    expect(await events(task.id)).toContain('deny.foreign');
  });

  test('an intact document, and one that denied something else, put nothing back', async () => {
    const { deny, work, newId } = scene().store;
    const role = roleOf(scene());
    const reach = `mf-${newId()}-1`;
    const { id } = await ended(reach);
    await deny.request(inCloud(role), [await entry(scene(), reach)], leaseSeconds);
    await deny.observed(inCloud(role), { intact: true, audit: null });
    expect(await work(id)).toBeUndefined();
    const elsewhere = { provider: 'elsewhere', role };
    await deny.request(elsewhere, [await entry(scene(), reach)], leaseSeconds);
    await deny.observed(elsewhere, { intact: false, audit: null });
    expect(await work(id)).toBeUndefined();
    const other = roleOf(scene());
    await deny.request(inCloud(other), [await entry(scene(), 'mf-else-1')], leaseSeconds);
    await deny.observed(inCloud(other), { intact: false, audit: null });
    expect(await work(id)).toBeUndefined();
  });
}

const cohort = (...prefixes: string[]) => ({ step: 'cohort', prefixes }) as const;
const untoldIn = (scene: () => Scene) => async (role: string) =>
  (await scene().store.deny.untold()).find((document) => document.role === role);

function testWidened(scene: () => Scene): void {
  const untold = untoldIn(scene);

  test('a document that names each is nothing to tell', async () => {
    const { deny } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await deny.acknowledge(inCloud(role), 1, null);
    expect(await untold(role)).toBeUndefined();
  });

  test('it counts live grants of the role that are hit and that nobody has ended', async () => {
    const { deny, newId, queue } = scene().store;
    const [role, other] = [roleOf(scene()), roleOf(scene())];
    const task = await scene().opened();
    const [mark, apart] = [`mf-${newId()}`, `mf-apart-${newId()}`];
    const reaches = [`${mark}-killed`, `${mark}-1`, `${mark}-1`, `${mark}-2`, `${apart}-1`];
    for (const reach of reaches) await scene().delivered(task, { role, reach });
    await scene().delivered(task, { role: other, reach: `${mark}-3` });
    const { plan } = await scene().delivered(task, { role, reach: `${mark}-4` });
    const audit = await scene().event('credential.ended', task.id, plan.issuanceId);
    await queue.settle([{ issuanceId: plan.issuanceId, method: 'denied', evidence: {}, audit }]);
    await deny.request(inCloud(role), [await entry(scene(), `${mark}-killed`)], leaseSeconds);
    const widened = cohort(mark);
    await deny.acknowledge(inCloud(role), 1, widened);
    const told = { role, provider: 'cloud', version: 1, entries: 1, widened };
    expect(await untold(role)).toEqual({ ...told, innocents: 2 });
    await deny.acknowledge(inCloud(role), 1, { step: 'everything' });
    expect(await untold(role)).toMatchObject({ widened: { step: 'everything' }, innocents: 3 });
  });

  test('it counts nobody of another Provider, and is told apart from its document', async () => {
    const { deny, newId, events } = scene().store;
    const role = roleOf(scene());
    const elsewhere = { provider: 'elsewhere', role };
    const task = await scene().opened();
    await scene().delivered(task, { role, reach: `mf-${newId()}-1` });
    for (const at of [inCloud(role), elsewhere]) {
      await deny.request(at, [await entry(scene(), 'mf-a-1')], leaseSeconds);
      await deny.acknowledge(at, 1, { step: 'everything' });
    }
    const told = async () =>
      (await deny.untold())
        .filter((one) => one.role === role)
        .map(({ provider, innocents }) => [provider, innocents]);
    expect((await told()).sort()).toEqual([
      ['cloud', 1],
      ['elsewhere', 0],
    ]);
    await deny.told(inCloud(role), 1, await scene().event('deny.widened', task.id));
    expect(await told()).toEqual([['elsewhere', 0]]);
    expect((await events(task.id)).filter((type) => type === 'deny.widened')).toHaveLength(1);
  });

  test('a cut hits what was issued before it', async () => {
    const { deny, newId, now } = scene().store;
    const role = roleOf(scene());
    const task = await scene().opened();
    for (const count of [1, 2]) await scene().delivered(task, { role, reach: `mf-${newId()}-${count}` });
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    const at = async (seconds: number) => new Date((await now()).getTime() + seconds * 1000).toISOString();
    await deny.acknowledge(inCloud(role), 1, { step: 'issued-before', issuedBefore: await at(60) });
    expect((await untold(role))?.innocents).toBe(2);
    await deny.acknowledge(inCloud(role), 1, { step: 'issued-before', issuedBefore: await at(-3600) });
    expect((await untold(role))?.innocents).toBe(0);
  });
}

function testTold(scene: () => Scene): void {
  const untold = untoldIn(scene);

  test('it is told once; another step is told again, the same one is not', async () => {
    const { deny, events } = scene().store;
    const role = roleOf(scene());
    const task = await scene().opened();
    const tell = async (version: number) =>
      deny.told(inCloud(role), version, await scene().event('deny.widened', task.id));
    const count = async () => (await events(task.id)).filter((type) => type === 'deny.widened').length;
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await deny.acknowledge(inCloud(role), 1, cohort('mf-a'));
    await tell(2);
    expect(await count()).toBe(0);
    await tell(1);
    await tell(1);
    expect([await count(), await untold(role)]).toEqual([1, undefined]);
    await deny.request(inCloud(role), [], leaseSeconds);
    await deny.acknowledge(inCloud(role), 2, cohort('mf-a'));
    expect(await untold(role)).toBeUndefined();
    await deny.request(inCloud(role), [], leaseSeconds);
    expect(await untold(role)).toBeUndefined();
    await deny.acknowledge(inCloud(role), 3, cohort('mf-a', 'mf-b'));
    expect(await untold(role)).toMatchObject({ version: 3 });
    await tell(3);
    expect(await count()).toBe(2);
  });

  test('what it said is there when it is looked at again', async () => {
    const { deny, readAgo } = scene().store;
    const role = roleOf(scene());
    await deny.request(inCloud(role), [await entry(scene(), 'mf-a-1')], leaseSeconds);
    await deny.acknowledge(inCloud(role), 1, cohort('mf-a'));
    await readAgo(role, 11);
    const [due] = (await deny.due(10)).filter((document) => document.role === role);
    expect(due?.widened).toEqual(cohort('mf-a'));
  });
}

function testProven(scene: () => Scene): void {
  const denied = async (...names: string[]) => {
    const { deny, newId } = scene().store;
    const role = roleOf(scene());
    const identities = names.map((name) => `mf-${newId()}-${name}`);
    const entries = await Promise.all(identities.map((identity) => entry(scene(), identity)));
    await deny.request(inCloud(role), entries, leaseSeconds);
    return { role, identities, entries };
  };
  const open = (identities: readonly string[]) => scene().store.deny.unproven(identities, 10);

  test('what was only asked for is not looked at; acknowledged, it is, once each and for those who asked', async () => {
    const { deny } = scene().store;
    const { role, identities, entries } = await denied('1', '2');
    expect(await open(identities)).toEqual([]);
    await deny.acknowledge(inCloud(role), 1);
    const [first = ''] = identities;
    expect(await open(['mf-another', first])).toEqual([
      {
        ...{ role, provider: 'cloud', sourceIdentity: first, taskId: entries[0]?.taskId },
        acknowledgedAt: expect.any(Date),
      },
    ]);
    expect(await open(identities)).toHaveLength(2);
    expect(await deny.unproven(identities, 1)).toHaveLength(1);
  });

  test('seen refused, it is told once and not looked at again', async () => {
    const { deny, events } = scene().store;
    const { role, identities } = await denied('1');
    await deny.acknowledge(inCloud(role), 1);
    const [found] = await open(identities);
    if (found === undefined) throw new Error('nothing to prove');
    const task = await scene().opened();
    const prove = async () => deny.proven(found, await scene().event('deny.effective', task.id));
    expect([await prove(), await prove()]).toEqual([true, false]);
    expect((await events(task.id)).filter((type) => type === 'deny.effective')).toHaveLength(1);
    expect(await open(identities)).toEqual([]);
  });

  test('of two Providers with a role of one name, what was seen at one proves nothing at the other', async () => {
    const { deny } = scene().store;
    const { role, identities, entries } = await denied('1');
    const elsewhere = { provider: 'elsewhere', role };
    await deny.request(elsewhere, entries, leaseSeconds);
    await deny.acknowledge(inCloud(role), 1);
    await deny.acknowledge(elsewhere, 1);
    const found = await open(identities);
    expect(found.map(({ provider }) => provider).sort()).toEqual(['cloud', 'elsewhere']);
    const here = found.find(({ provider }) => provider === 'cloud');
    if (here === undefined) throw new Error('nothing to prove');
    const task = await scene().opened();
    expect(await deny.proven(here, await scene().event('deny.effective', task.id))).toBe(true);
    expect((await open(identities)).map(({ provider }) => provider)).toEqual(['elsewhere']);
  });

  test('what was seen under a document that is not ours any more proves nothing', async () => {
    const { deny, events } = scene().store;
    const { role, identities } = await denied('1');
    await deny.acknowledge(inCloud(role), 1);
    const [found] = await open(identities);
    if (found === undefined) throw new Error('nothing to prove');
    const task = await scene().opened();
    await deny.observed(inCloud(role), { intact: false, audit: null });
    expect(await open(identities)).toEqual([]);
    expect(await deny.proven(found, await scene().event('deny.effective', task.id))).toBe(false);
    expect(await events(task.id)).not.toContain('deny.effective');
  });
}
