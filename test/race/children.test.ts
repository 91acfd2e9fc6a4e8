import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startWorld, type World } from '../e2e/world.ts';
import { type Race, startRace } from './race.ts';

/** The end of a task and an opening beneath it meet on two connections, in both orders: no child outlives it. */
let world: World;
let race: Race['race'];
let close: Race['close'];

const template = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: raced, owner: race }
spec:
  workloads: [{ issuer: local, match: { sub: reconciler } }]
  task: { maxDuration: 30m, lease: 5m, children: { max: 1, depth: 2, templates: [raced] } }
  grants:
    - name: post
      tool: report.post
      resource: "https://reports.example/**"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]
`;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
  await world.api('POST', '/v1/apply?set=race', { bearer: await world.person(), yaml: template });
  ({ race, close } = await startRace(world));
}, 60_000);

afterAll(async () => {
  await close();
  await world.stop();
});

const open = async (bearer?: string) =>
  world.api('POST', '/v1/tasks', { bearer: bearer ?? (await world.workload()), json: { template: 'raced' } });
const end = async (task: string) =>
  world.api('POST', `/v1/tasks/${task}/end`, { bearer: await world.person(), json: {} });
const suspend = async (task: string) =>
  world.api('POST', `/v1/tasks/${task}/suspend`, { bearer: await world.person(), json: {} });
const stateOf = async (task: string) =>
  (await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() })).body.state;

test('a child whose opening is under way when the end comes is ended with its parent', async () => {
  const parent = (await open()).body;
  const [child, ended] = await race(
    'open',
    () => open(parent.taskToken),
    () => end(parent.id),
  );
  expect([child.status, ended.body.state]).toEqual([201, 'completed']);
  expect(await stateOf(child.body.id)).toBe('cancelled');
});

test('a child asked for while the end is under way is not opened', async () => {
  const parent = (await open()).body;
  const [ended, refused] = await race(
    'close',
    () => end(parent.id),
    () => open(parent.taskToken),
  );
  expect([ended.body.state, refused.body.reason]).toEqual(['completed', 'task_ended']);
});

test('a suspension meets an opening beneath as an end does, in both orders', async () => {
  const first = (await open()).body;
  const [child] = await race(
    'open',
    () => open(first.taskToken),
    () => suspend(first.id),
  );
  expect(await stateOf(child.body.id)).toBe('suspended');
  const second = (await open()).body;
  const [, refused] = await race(
    'close',
    () => suspend(second.id),
    () => open(second.taskToken),
  );
  expect(refused.body.reason).toBe('task_suspended');
});

test('of two openings of the last child, one is refused', async () => {
  const parent = (await open()).body;
  const [one, other] = await race(
    'open',
    () => open(parent.taskToken),
    () => open(parent.taskToken),
  );
  expect([one.status, other.body.reason]).toEqual([201, 'child_not_allowed']);
});

test('the end of a grandparent waits for an opening two levels beneath', async () => {
  const top = (await open()).body;
  const middle = (await open(top.taskToken)).body;
  const [leaf, ended] = await race(
    'open',
    () => open(middle.taskToken),
    () => end(top.id),
  );
  expect([leaf.status, ended.body.state]).toEqual([201, 'completed']);
  expect([await stateOf(middle.id), await stateOf(leaf.body.id)]).toEqual(['cancelled', 'cancelled']);
});
