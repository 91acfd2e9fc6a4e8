import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startWorld, type World } from './world.ts';

/** `Idempotency-Key` on /v1. */
let world: World;

const family = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: family, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: reconciler } }]
  task: { maxDuration: 30m, lease: 5m, children: { max: 9, depth: 1, templates: [family] } }
  grants:
    - name: post-report
      tool: report.post
      resource: "https://reports.example/2026q3"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]
`;

beforeAll(async () => {
  world = await startWorld();
  await world.api('POST', '/v1/apply?set=family', { bearer: await world.person(), yaml: family });
}, 60_000);

afterAll(() => world.stop());

async function count(text: string): Promise<number> {
  const [row] = await world.sql<{ n: string }>(`select count(*) n from ${text}`);
  return Number(row?.n);
}

async function open(
  bearer: string,
  more: Record<string, unknown> = {},
  headers: Record<string, string> = {},
) {
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' }, ...more };
  return world.api('POST', '/v1/tasks', { bearer, json, headers });
}

const openFamily = async (bearer: string, headers: Record<string, string> = {}) =>
  (await world.api('POST', '/v1/tasks', { bearer, json: { template: 'family' }, headers })).body;

test('an Idempotency-Key answers its first answer again, without the token, and refuses another body', async () => {
  const key = { 'idempotency-key': 'open-once' };
  const before = await count('task');
  const first = await open(await world.workload(), {}, key);
  const again = await open(await world.workload(), {}, key);
  expect([first.status, again.status, again.body.id]).toEqual([201, 201, first.body.id]);
  expect([typeof first.body.taskToken, again.body.taskToken]).toEqual(['string', undefined]);
  expect(await count('task')).toBe(before + 1);
  const other = await open(await world.workload(), { objective: 'another' }, key);
  expect([other.status, other.body.reason]).toEqual([422, 'idempotency_conflict']);
});

test('twenty requests at once under one Idempotency-Key open one task', async () => {
  const before = await count('task');
  const bearers = await Promise.all(Array.from({ length: 20 }, () => world.workload()));
  const key = { 'idempotency-key': 'at-once' };
  const answers = await Promise.all(bearers.map((bearer) => open(bearer, {}, key)));
  expect(await count('task')).toBe(before + 1);
  const ids = answers.filter(({ status }) => status === 201).map(({ body }) => body.id);
  expect(new Set(ids).size).toBe(1);
  for (const { status, body } of answers)
    if (status !== 201) expect([status, body.reason]).toEqual([409, 'idempotency_in_progress']);
});

test('a refusal leaves its Idempotency-Key free', async () => {
  const key = { 'idempotency-key': 'refused-first' };
  const refused = await open(await world.workload(), { template: 'nope' }, key);
  expect([refused.status, refused.body.reason]).toEqual([403, 'workload_not_matched']);
  expect((await open(await world.workload(), {}, key)).status).toBe(201);
});

test('used from within two tasks it opens a child of each', async () => {
  const [one, two] = [await openFamily(await world.workload()), await openFamily(await world.workload())];
  const headers = { 'idempotency-key': randomUUID() };
  const [first, second] = [
    await openFamily(one.taskToken, headers),
    await openFamily(two.taskToken, headers),
  ];
  expect(second.id).not.toBe(first.id);
  expect([typeof first.taskToken, typeof second.taskToken]).toEqual(['string', 'string']);
});

test('it answers nobody who may no longer ask', async () => {
  const { id } = await openFamily(await world.workload());
  const headers = { 'idempotency-key': randomUUID() };
  const suspend = async (groups: string[]) => {
    const bearer = await world.person(groups);
    const { status, body } = await world.api('POST', `/v1/tasks/${id}/suspend`, {
      bearer,
      json: {},
      headers,
    });
    return [status, body.state ?? body.reason];
  };
  expect(await suspend(['platform'])).toEqual([200, 'suspended']);
  expect(await suspend(['platform'])).toEqual([200, 'suspended']);
  expect(await suspend(['nobody'])).toEqual([404, 'task_unknown']);
});
