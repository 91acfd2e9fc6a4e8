import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { Attested, EventReceipt, SubjectCut, Task } from '@mayfly/core';
import { type Scene, saying } from './scene.ts';

/** Claims about what security events leave: `receive`, `tasksOf`, `isCut`, and revocations of a session. */
export function describeSecurityEvents(scene: () => Scene): void {
  describe('security events: what is cut', () => testCuts(scene));
  describe('security events: tasks that are cut', () => testCutTasks(scene));
  describe('security events: what ends', () => testEnds(scene));
  describe('security events: how many', () => testLimit(scene));
}

const issuerName = 'agents';
const ago = async (scene: Scene, seconds: number) =>
  new Date((await scene.store.now()).getTime() - seconds * 1000);

interface Received {
  readonly subject: string;
  /** When it happened, seconds ago. */
  readonly agoSeconds?: number;
  readonly untilSeconds?: number;
  readonly name?: string;
  readonly from?: string;
  readonly endsPerMinute?: number;
}

/** A session-revoked, as the core would ask for it. */
async function receive(
  scene: Scene,
  { subject, agoSeconds = 30, untilSeconds = 600, name = scene.store.newId(), ...wishes }: Received,
): Promise<EventReceipt & { readonly revocation: string }> {
  const { from = issuerName, endsPerMinute = 1_000 } = wishes;
  const [before, until] = [await ago(scene, agoSeconds), await ago(scene, -untilSeconds)];
  const cut: SubjectCut = { issuerName, subject, before, until, withTasks: true };
  const revocation = scene.store.newId();
  const scope = { by: 'session', name: `${issuerName}/${subject}`, attestedBefore: before } as const;
  const receipt = await scene.store.revocations.receive({
    id: createHash('sha256').update(name).digest('hex'),
    issuerName: from,
    cut,
    revocations: [{ id: revocation, ...scope, reason: 'security event', requestedBy: from }],
    endsPerMinute,
    audit: await scene.event('event.received'),
  });
  return { ...receipt, revocation };
}

/** Issued so many seconds ago; null: it does not say. */
async function shown(scene: Scene, subject: string, agoSeconds: number | null): Promise<Attested[]> {
  return [
    { issuerName, subject, ...(agoSeconds === null ? {} : { issuedAt: await ago(scene, agoSeconds) }) },
  ];
}

const subjectOf = (scene: Scene) => `subject-${scene.store.newId()}`;

function testCuts(scene: () => Scene): void {
  test.each([
    ['from before it', 31, true],
    ['from the very moment', 30, true],
    ['that does not say when it was issued', null, true],
    ['from after it', 29, false],
  ] as const)('an assertion %s opens nothing: %s s, %s', async (_, agoSeconds, isCut) => {
    const subject = subjectOf(scene());
    const from = await shown(scene(), subject, 0);
    expect(await scene().store.revocations.isCut(from)).toBe(false);
    const { store } = scene();
    const [before, until] = [await ago(scene(), 30), await ago(scene(), -600)];
    const audit = await scene().event('event.received');
    const cut = { issuerName, subject, before, until, withTasks: true };
    const id = createHash('sha256').update(subject).digest('hex');
    const event = { id, issuerName, cut, revocations: [], endsPerMinute: 1, audit };
    expect(await store.revocations.receive(event)).toEqual({ kind: 'received' });
    const issuedAt =
      agoSeconds === null ? {} : { issuedAt: new Date(before.getTime() + (30 - agoSeconds) * 1000) };
    const attested = [{ issuerName, subject, ...issuedAt }];
    expect(await store.revocations.isCut(attested)).toBe(isCut);
    const opened = await scene().open(await scene().opening({ subject }), {
      ...{ uses: [], idempotencyKey: null },
      attested,
    });
    expect(saying(opened)).toBe(isCut ? 'session_revoked' : 'opened');
  });

  test('the actor’s assertion counts as well as the subject’s, and that of another subject does not', async () => {
    const [subject, acting] = [subjectOf(scene()), subjectOf(scene())];
    await receive(scene(), { subject: acting });
    const fresh = await shown(scene(), subject, 0);
    const stale = await shown(scene(), acting, 60);
    const { revocations } = scene().store;
    expect(await revocations.isCut([...fresh, ...stale])).toBe(true);
    expect(await revocations.isCut(fresh)).toBe(false);
    expect(await revocations.isCut([{ ...stale[0], issuerName: 'others', subject: acting }])).toBe(false);
  });

  test('it passes once no assertion from before can live', async () => {
    const subject = subjectOf(scene());
    await receive(scene(), { subject, untilSeconds: -1 });
    expect(await scene().store.revocations.isCut(await shown(scene(), subject, 60))).toBe(false);
  });

  test('an older event moves it not back', async () => {
    const subject = subjectOf(scene());
    await receive(scene(), { subject, agoSeconds: 10 });
    await receive(scene(), { subject, agoSeconds: 500, untilSeconds: -1 });
    expect(await scene().store.revocations.isCut(await shown(scene(), subject, 20))).toBe(true);
  });
}

function testCutTasks(scene: () => Scene): void {
  test('an open task gives nothing from the commit on, before its end has come; nor does one beneath it', async () => {
    const [subject, acting] = [subjectOf(scene()), subjectOf(scene())];
    const old = await shown(scene(), subject, 60);
    const task = await scene().opened({ subject }, old);
    const beneath = await scene().opened({ parent: task });
    const acted = await scene().opened({ acting }, await shown(scene(), acting, 60));
    const intents = await Promise.all([task, beneath, acted].map((one) => scene().intent(one)));
    for (const one of [subject, acting]) await receive(scene(), { subject: one });
    for (const intent of intents)
      expect(saying(await scene().store.ledger.intend(intent))).toBe('session_revoked');
  });

  test('nor is it kept alive, resumed or opened beneath; its status says that it is over', async () => {
    const [subject, { store }] = [subjectOf(scene()), scene()];
    const old = await shown(scene(), subject, 60);
    const [open, suspended] = [
      await scene().opened({ subject }, old),
      await scene().opened({ subject }, old),
    ];
    const beneath = await scene().opened({ parent: open });
    await scene().suspend(suspended);
    const lease = (await scene().fresh(open)).status.leaseExpiresAt;
    await receive(scene(), { subject });
    const over = { state: 'cancelled', stateReason: 'session revoked' };
    for (const task of [open, beneath, suspended])
      expect(await store.tasks.heartbeat(task.id)).toMatchObject(over);
    expect((await scene().fresh(open)).status).toMatchObject({ state: 'open', leaseExpiresAt: lease });
    expect(await scene().resume(suspended)).toMatchObject({ resumed: false, status: over });
    expect(saying(await scene().open(await scene().opening({ parent: open })))).toBe('session_revoked');
    expect(saying(await store.ledger.intend(await scene().intent(suspended)))).toBe('session_revoked');
  });

  test('where tasks are named one by one, those give nothing and the others go on; assertions from before do not count', async () => {
    const subject = subjectOf(scene());
    const old = await shown(scene(), subject, 60);
    const [named, other] = [await scene().opened({ subject }, old), await scene().opened({ subject }, old)];
    const { store } = scene();
    const [before, until] = [await ago(scene(), 30), await ago(scene(), -600)];
    const { id: name } = named;
    const reason = { reason: 'security event', requestedBy: issuerName };
    const receipt = await store.revocations.receive({
      id: createHash('sha256').update(subject).digest('hex'),
      ...{ issuerName, endsPerMinute: 1_000, audit: await scene().event('event.received') },
      cut: { issuerName, subject, before, until, withTasks: false },
      revocations: [{ id: store.newId(), by: 'task', name, ...reason }],
    });
    expect(receipt).toEqual({ kind: 'received' });
    const said = async (task: Task) => saying(await store.ledger.intend(await scene().intent(task)));
    expect([await said(named), await said(other)]).toEqual(['session_revoked', 'intended']);
    expect(await store.revocations.isCut(old)).toBe(true);
  });

  test('a task from after it gives, but not to an assertion from before', async () => {
    const subject = subjectOf(scene());
    await receive(scene(), { subject });
    const task = await scene().opened({ subject }, await shown(scene(), subject, 0));
    const stale = await scene().intent(task, { attested: await shown(scene(), subject, 60) });
    expect(saying(await scene().store.ledger.intend(stale))).toBe('session_revoked');
    expect(saying(await scene().store.ledger.intend(await scene().intent(task)))).toBe('intended');
  });
}

async function targets(scene: Scene, id: string): Promise<readonly string[]> {
  for (;;) {
    const batch = await scene.store.revocations.claim({ limit: 100, leaseSeconds: 60 });
    if (batch === null || batch.id === id) return batch?.targets.map((one) => one.id).sort() ?? [];
  }
}

const ids = (tasks: readonly Task[]) => tasks.map(({ id }) => id).sort();

function testEnds(scene: () => Scene): void {
  test('what was opened with assertions from before ends, of the subject and where it acts, and nothing else', async () => {
    const [subject, other] = [subjectOf(scene()), subjectOf(scene())];
    const old = await shown(scene(), subject, 60);
    const before = [
      await scene().opened({ subject }, old),
      await scene().opened({ subject }, await shown(scene(), subject, null)),
      await scene().opened({ subject: other, acting: subject }, [
        ...old,
        ...(await shown(scene(), other, 0)),
      ]),
    ];
    const [parent] = before;
    if (parent === undefined) throw new Error('no parent');
    const child = await scene().opened({ subject, parent });
    const ended = await scene().opened({ subject }, old);
    await scene().end(ended);
    await scene().opened({ subject }, await shown(scene(), subject, 0));
    await scene().opened({ subject: other }, await shown(scene(), other, 60));
    // Somebody else opened it, after the event: that is no assertion of the subject.
    await scene().opened({ subject }, await shown(scene(), other, 60));
    const { kind, revocation } = await receive(scene(), { subject });
    expect(kind).toBe('received');
    expect(await targets(scene(), revocation)).toEqual(ids([...before, child]));
    const status = await scene().store.revocations.find(revocation);
    expect(status).toMatchObject({ by: 'session', name: `agents/${subject}`, total: 4, remaining: 4 });
  });

  test('the same event again has no second effect', async () => {
    const subject = subjectOf(scene());
    const task = await scene().opened({ subject }, await shown(scene(), subject, 60));
    const first = await receive(scene(), { subject, name: subject });
    const id = createHash('sha256').update(subject).digest('hex');
    expect(await scene().store.revocations.settled(id)).toBe(true);
    const second = await receive(scene(), { subject, name: subject });
    expect([first.kind, second.kind]).toEqual(['received', 'seen']);
    expect(await targets(scene(), first.revocation)).toEqual([task.id]);
    expect(await scene().store.revocations.find(second.revocation)).toBeUndefined();
  });

  test('the live tasks of a subject, page by page', async () => {
    const subject = subjectOf(scene());
    const tasks = [
      await scene().opened({ subject }),
      await scene().opened({ acting: subject }),
      await scene().opened({ subject }),
    ];
    const over = await scene().opened({ subject });
    await scene().end(over);
    await scene().opened();
    const { revocations } = scene().store;
    const named = { issuerName, subject };
    const first = await revocations.tasksOf(named, { after: null, limit: 2 });
    const rest = await revocations.tasksOf(named, { after: first[1] ?? null, limit: 2 });
    expect([first.length, [...first, ...rest]]).toEqual([2, ids(tasks)]);
  });
}

function testLimit(scene: () => Scene): void {
  test('one transmitter ends so many in a minute; its first may end more; what is refused leaves nothing and may come again', async () => {
    const from = `transmitter-${scene().store.newId()}`;
    const subjects = [subjectOf(scene()), subjectOf(scene())];
    for (const subject of subjects)
      for (const _ of [1, 2]) await scene().opened({ subject }, await shown(scene(), subject, 60));
    const [one = '', two = ''] = subjects;
    expect((await receive(scene(), { subject: one, from, endsPerMinute: 1 })).kind).toBe('received');
    const limited = await receive(scene(), { subject: two, from, name: two, endsPerMinute: 3 });
    expect(limited).toMatchObject({ kind: 'limited' });
    expect(limited.kind === 'limited' && limited.retryAfterSeconds).toBeGreaterThan(0);
    expect(await scene().store.revocations.find(limited.revocation)).toBeUndefined();
    expect(await scene().store.revocations.isCut(await shown(scene(), two, 60))).toBe(false);
    // That which ends nothing is not held up, and what is of another transmitter is not counted.
    const nobody = { subject: subjectOf(scene()), from, endsPerMinute: 1 };
    expect((await receive(scene(), nobody)).kind).toBe('received');
    expect((await receive(scene(), { subject: two, name: two, endsPerMinute: 4, from })).kind).toBe(
      'received',
    );
  });
}
