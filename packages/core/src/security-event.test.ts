import { expect, test } from '@jest/globals';
import { coreWorld, lostAnswer, onlyTask, reading, reasonOf, type World } from '@mayfly/testkit';
import { advanceRevocations } from './revocation.ts';
import { receiveEvent, type SecurityEvent } from './security-event.ts';

const caep = 'https://schemas.openid.net/secevent/caep/event-type/';
let subjects = 0;
const by = () => {
  subjects += 1;
  return { kind: 'assertion' as const, token: `reconciler:${subjects}` };
};

async function opened(more: Parameters<typeof coreWorld>[0] = {}): Promise<World> {
  const world = coreWorld(more);
  world.claims.set('reconciler', { groups: ['finance'] });
  world.bound.set('reconciler', { assertionIssuedAt: world.clock.now() });
  expect(reasonOf(await world.exchange({ subject: by(), detail: reading() }))).toBe('delivered');
  world.clock.advance(10);
  return world;
}

function event(world: World, more: Partial<SecurityEvent> = {}): SecurityEvent {
  return {
    id: '00'.repeat(32),
    jti: 'event-1',
    type: `${caep}session-revoked`,
    effect: 'end',
    subject: 'reconciler',
    at: world.clock.now(),
    claims: {},
    ...more,
  };
}

const received = (world: World, more: Partial<SecurityEvent> = {}) =>
  receiveEvent(event(world, more), world.issuer, world.ports);
const told = (world: World) => world.store.rows.audit.filter(({ type }) => type === 'event.received');

test('a session that was revoked ends its tasks; the next exchange is refused before they have ended', async () => {
  const world = await opened();
  expect(await received(world)).toBe('received');
  expect(onlyTask(world).state).toBe('open');
  expect(reasonOf(await world.exchange({ subject: by(), detail: reading() }))).toBe('session_revoked');
  await advanceRevocations(world.ports);
  expect(onlyTask(world)).toMatchObject({
    state: 'cancelled',
    stateReason: 'security event: session-revoked',
  });
  expect(told(world)).toMatchObject([
    { actor: 'agents', body: { subject: 'agents/reconciler', effect: 'end', jti: 'event-1' } },
  ]);
});

test('a new session opens again; the old one does not, and the same event has no second effect', async () => {
  const world = await opened();
  await received(world);
  await advanceRevocations(world.ports);
  world.clock.advance(1);
  const task = { ...Object(reading().task), ref: 'run-2' };
  const old = await world.exchange({ subject: by(), detail: reading({ task }) });
  expect(reasonOf(old)).toBe('session_revoked');
  world.bound.set('reconciler', { assertionIssuedAt: world.clock.now() });
  expect(reasonOf(await world.exchange({ subject: by(), detail: reading({ task }) }))).toBe('delivered');
  expect(await received(world)).toBe('seen');
  await advanceRevocations(world.ports);
  expect([...world.store.rows.tasks.values()].map(({ state }) => state)).toEqual(['cancelled', 'open']);
  expect(told(world)).toHaveLength(1);
});

test('a late event about an older session ends nothing newer', async () => {
  const world = await opened();
  await received(world, { at: new Date(world.clock.now().getTime() - 11_000) });
  await advanceRevocations(world.ports);
  expect(onlyTask(world).state).toBe('open');
  expect(reasonOf(await world.exchange({ subject: by(), detail: reading() }))).toBe('delivered');
});

test('one that means nothing here is remembered, and changes nothing', async () => {
  const world = await opened();
  await received(world, { effect: 'none', type: `${caep}assurance-level-change` });
  expect(reasonOf(await world.exchange({ subject: by(), detail: reading() }))).toBe('delivered');
  expect([told(world).length, world.store.rows.revocations.size]).toEqual([1, 0]);
});

test.each([
  ['still open the template', { groups: ['audit', 'finance'] }, 'open'],
  ['do not open the template any more', { groups: ['audit'] }, 'cancelled'],
  ['are gone', { groups: null }, 'cancelled'],
] as const)('new claims that %s leave the task %j: %s', async (_, claims, state) => {
  const world = await opened();
  const [match] = world.template.workloads;
  if (match === undefined) throw new Error('a template for nobody');
  const finance = [{ matches: (text: string) => text === 'finance', text: 'finance' }];
  world.documents.apply({
    ...world.template,
    workloads: [{ ...match, match: { ...match.match, groups: finance } }],
  });
  await received(world, { effect: 'reevaluate', type: `${caep}token-claims-change`, claims });
  await advanceRevocations(world.ports);
  expect(onlyTask(world).state).toBe(state);
  // The old claims count for nobody from now on, but a task that still holds goes on.
  const [id, token] = [onlyTask(world).task.id, `task-token:${onlyTask(world).task.id}`];
  const again = await world.exchange({ subject: by(), detail: reading({ task: id }) });
  expect(reasonOf(again)).toBe(state === 'open' ? 'session_revoked' : 'task_ended');
  const ofTask = { subject: { kind: 'access-token' as const, token }, detail: reading({ task: id }) };
  expect(reasonOf(await world.exchange(ofTask))).toBe(state === 'open' ? 'delivered' : 'task_ended');
});

test.each([true, false])(
  'an answer of the database that is lost (applied: %s) is made good by the next try',
  async (applied) => {
    const world = await opened();
    world.trace.failNext('revocations.receive', lostAnswer(applied));
    await expect(received(world)).rejects.toMatchObject({ reason: 'database_unavailable' });
    expect(await received(world)).toBe(applied ? 'seen' : 'received');
    await advanceRevocations(world.ports);
    expect(onlyTask(world).state).toBe('cancelled');
    expect(told(world)).toHaveLength(1);
  },
);

test('a task whose opening was under way when the others were looked at ends as well', async () => {
  const world = await opened();
  world.trace.beforeNext('revocations.settled', async () => {
    // As one that began before the event: nothing was cut for it.
    world.store.rows.cuts.clear();
    const task = { ...Object(reading().task), ref: 'late' };
    expect(reasonOf(await world.exchange({ subject: by(), detail: reading({ task }) }))).toBe('delivered');
    world.documents.remove('invoice-reconcile');
  });
  await received(world, { effect: 'reevaluate', type: `${caep}token-claims-change` });
  expect([...world.store.rows.tasks.values()].map(({ state }) => state)).toEqual(['cancelled', 'cancelled']);
});

test('while an older transaction goes on, the event is to be sent again, and is then looked at again', async () => {
  const world = await opened();
  const change = {
    effect: 'reevaluate',
    type: `${caep}token-claims-change`,
    claims: { groups: null },
  } as const;
  const settled = async () => false;
  const ports = { ...world.ports, revocations: { ...world.ports.revocations, settled } };
  await expect(receiveEvent(event(world, change), world.issuer, ports)).rejects.toMatchObject({
    reason: 'overloaded',
  });
  world.documents.remove('invoice-reconcile');
  expect(await received(world, change)).toBe('seen');
  expect(onlyTask(world).state).toBe('cancelled');
});
