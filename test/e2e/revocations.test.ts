import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass } from '@mayfly/broker';
import { form, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
}, 60_000);

afterAll(() => world.stop());

interface Opened {
  readonly token: string;
  readonly task: string;
  readonly issuance: string;
}

async function opened(ref: string, subject?: string): Promise<Opened> {
  const bearer = subject === undefined ? await world.workload() : await world.workload(subject);
  const { status, body } = await world.exchange(form(bearer, opening(ref)));
  expect([ref, status]).toEqual([ref, 200]);
  return { token: body.task_token, task: body.issuance.task, issuance: body.issuance.id };
}

const post = async (path: string, json: Record<string, unknown>, bearer?: string) =>
  world.api('POST', path, { bearer: bearer ?? (await world.person()), json });
const get = async (path: string, bearer?: string) =>
  world.api('GET', path, { bearer: bearer ?? (await world.person()) });
const stateOf = async (task: string) => (await get(`/v1/tasks/${task}`)).body.state;
const again = async ({ task }: Opened) =>
  (await world.exchange(form(await world.workload(), { ...opening('x'), task }))).body.reason;
const events = async (type: string) => (await get(`/v1/audit/events?type=${type}&limit=1000`)).body.items;

/** Passes until the job is done and confirmed: the broker's own loop, nudged, may have claimed some of it. */
async function done(id: string) {
  for (let round = 0; round < 500; round += 1) {
    await world.sql('update revocation set due_at = now() where done_at is null');
    await reaperPass(world.running.broker);
    const { body } = await get(`/v1/revocations/${id}`);
    if (body.state === 'done' && body.credentials.pending === 0) return body;
  }
  throw new Error('the revocation is not done');
}

test('a dry run counts and changes nothing; the run ends every task of the template, told once with counts', async () => {
  const tasks = [await opened('r-1'), await opened('r-2')];
  const asked = { template: 'invoice-reconcile', reason: 'INC-7' };
  const before = (await events('revocation.requested')).length;
  const dry = await post('/v1/revocations', { ...asked, dryRun: true });
  expect([dry.status, dry.body]).toEqual([
    200,
    { template: 'invoice-reconcile', dryRun: true, unit: 'tasks', total: 2 },
  ]);
  expect((await get('/v1/revocations')).body.items).toEqual([]);
  expect(await stateOf(tasks[0]?.task ?? '')).toBe('open');

  const made = await post('/v1/revocations', asked);
  expect([made.status, made.body]).toMatchObject([201, { total: 2, unit: 'tasks', reason: 'INC-7' }]);
  const finished = await done(made.body.id);
  expect(finished).toMatchObject({ ended: 2, remaining: 0, credentials: { pending: 0, byExpiry: 0 } });
  for (const one of tasks) {
    expect(await stateOf(one.task)).toBe('cancelled');
    expect(await again(one)).toBe('task_ended');
    const row = await get(`/v1/issuances/${one.issuance}`);
    expect(row.body).toMatchObject({ state: 'ended', endedBy: 'denied' });
  }
  const told = (await events('revocation.requested')).slice(before);
  expect(told).toMatchObject([
    { actor: finished.requestedBy, body: { body: { total: 2, reason: 'INC-7' } } },
  ]);
  expect(await events('revocation.done')).toMatchObject([{ body: { body: { total: 2 } } }]);
  expect((await get('/v1/revocations')).body.items).toMatchObject([{ id: made.body.id, state: 'done' }]);
}, 30_000);

test('a revocation by task leaves the neighbour, and what is opened afterwards lives', async () => {
  const [one, neighbour] = [await opened('t-1'), await opened('t-2')];
  const made = await post('/v1/revocations', { task: one.task, reason: 'odd' });
  await done(made.body.id);
  expect([await stateOf(one.task), await stateOf(neighbour.task)]).toEqual(['cancelled', 'open']);
  const all = await post('/v1/revocations', { issuer: 'nobody-of-this-name', reason: 'odd' });
  expect(all.body).toMatchObject({ total: 0 });
  expect(await done(all.body.id)).toMatchObject({ ended: 0 });
  expect(await stateOf(neighbour.task)).toBe('open');
  const later = await opened('t-3');
  expect(await stateOf(later.task)).toBe('open');
}, 30_000);

test('a provider loses every grant; the task and its tool tokens go on', async () => {
  const one = await opened('p-1');
  const made = await post('/v1/revocations', { provider: 'local-aws', reason: 'key leaked' });
  expect(made.body).toMatchObject({ unit: 'grants' });
  await done(made.body.id);
  expect(await again(one)).toBe('grant_ended');
  expect(await stateOf(one.task)).toBe('open');
  const tool = { task: one.task, tool: 'report.post', identifier: 'https://reports.example/2026q3' };
  expect((await world.exchange(form(await world.workload(), tool))).status).toBe(200);
  expect((await get(`/v1/issuances/${one.issuance}`)).body).toMatchObject({ state: 'ended' });
}, 30_000);

test('one grant can be ended; a second time changes nothing', async () => {
  const one = await opened('g-1');
  const { items } = (await get(`/v1/grants?task=${one.task}`)).body;
  const grant = items.find(({ tool }: { tool: string }) => tool === 's3.read').id;
  for (const _ of [1, 2]) {
    const answer = await post(`/v1/grants/${grant}/revoke`, {});
    expect([answer.status, answer.body]).toEqual([200, { id: grant, state: 'ended' }]);
  }
  expect(await again(one)).toBe('grant_ended');
  const told = (await events('grant.ended')).filter(({ taskId }: { taskId: string }) => taskId === one.task);
  expect(told).toHaveLength(1);
});

test('who lacks the role, names nothing, two things or an unknown one, is refused and nothing ends', async () => {
  const one = await opened('n-1');
  const auditor = await world.person(['audit']);
  const asked = { task: one.task, reason: 'x' };
  expect((await post('/v1/revocations', asked, auditor)).body.reason).toBe('role_required');
  expect((await post('/v1/revocations', asked, one.token)).body.reason).toBe('role_required');
  expect((await post('/v1/revocations', { reason: 'x' })).body.reason).toBe('malformed_request');
  expect((await post('/v1/revocations', { ...asked, issuer: 'a' })).body.reason).toBe('malformed_request');
  expect((await post('/v1/revocations', { task: one.task })).body.reason).toBe('malformed_request');
  const unknown = { task: 'tsk_01K00000000000000000000000', reason: 'x' };
  expect((await post('/v1/revocations', unknown)).body.reason).toBe('task_unknown');
  expect((await get('/v1/revocations/rev_01K00000000000000000000000')).body.reason).toBe('not_found');
  expect(await stateOf(one.task)).toBe('open');
});

test('a role with a scope ends, counts and sees only what lies within (invariant I10)', async () => {
  const yaml = `apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: others }
spec: { roles: [operator], subjects: [{ issuer: people, match: { groups: others } }], scope: { templates: ["other-*"] } }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: reconcilers }
spec: { roles: [operator], subjects: [{ issuer: people, match: { groups: reconcilers } }], scope: { templates: ["invoice-*"] } }
`;
  await world.api('POST', '/v1/apply?set=scopes', { bearer: await world.person(), yaml });
  const one = await opened('s-1');
  const [others, within] = [await world.person(['others']), await world.person(['reconcilers'])];
  const reasonFor = async (named: Record<string, unknown>, bearer: string) =>
    (await post('/v1/revocations', { ...named, reason: 'x', dryRun: true }, bearer)).body.reason;
  expect(await reasonFor({ task: one.task }, others)).toBe('task_unknown');
  for (const named of [
    { template: 'invoice-reconcile' },
    { issuer: 'workloads' },
    { workload: 'workloads/reconciler' },
    { provider: 'local-aws' },
  ])
    expect([named, await reasonFor(named, others)]).toEqual([named, 'role_required']);
  expect(await reasonFor({ provider: 'local-aws' }, within)).toBe('role_required');
  const made = await post('/v1/revocations', { task: one.task, reason: 'mine' }, within);
  expect(made.status).toBe(201);
  expect((await get(`/v1/revocations/${made.body.id}`, others)).body.reason).toBe('not_found');
  expect((await get('/v1/revocations', others)).body.items).toEqual([]);
  await done(made.body.id);
  expect((await get(`/v1/revocations/${made.body.id}`, within)).body).toMatchObject({ state: 'done' });
}, 30_000);
