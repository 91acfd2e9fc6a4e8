import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { accessTokenType, form, startWorld, type World } from '../e2e/world.ts';
import { type Race, startRace } from './race.ts';

/** The last straw and an exchange meet on two connections, in both orders: nothing is given after the deviation. */
let world: World;
let race: Race['race'];
let close: Race['close'];

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
  ({ race, close } = await startRace(world));
  const yaml = (name: string, act: string) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  grants:
    - { name: read, tool: s3.read, resource: "arn:aws:s3:::invoices/**", mint: { provider: local-aws, access: s3.object }, actions: [read], effects: [read] }
  deviation: { refused: { after: 1, within: 1m, do: ${act} } }
---
`;
  const answer = await world.api('POST', '/v1/apply?set=race', {
    bearer: await world.person(),
    yaml: `${yaml('race-end', 'end')}${yaml('race-suspend', 'suspend')}`,
  });
  expect(answer.status).toBe(200);
}, 60_000);

afterAll(async () => {
  await close();
  await world.stop();
});

interface Task {
  readonly id: string;
  readonly token: string;
}

async function open(template: string): Promise<Task> {
  const { body } = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload(),
    json: { template },
  });
  return { id: body.id, token: body.taskToken };
}

const ask = ({ token }: Task, change = {}) =>
  world.exchange(form(token, change, { subject_token_type: accessTokenType }));
const astray = (task: Task) => ask(task, { tool: 'mail.send' });
const stateOf = async ({ id }: Task) =>
  (await world.api('GET', `/v1/tasks/${id}`, { bearer: await world.person() })).body.state;

test.each([
  ['race-end', 'deviated', 'task_ended'],
  ['race-suspend', 'suspended', 'task_suspended'],
])('%s: keys asked for while the deviation is open are refused', async (template, state, reason) => {
  const task = await open(template);
  const [refused, exchanged] = await race(
    'close',
    () => astray(task),
    () => ask(task),
  );
  expect([refused.body.reason, exchanged.body.reason]).toEqual(['tool_not_granted', reason]);
  expect(await stateOf(task)).toBe(state);
});

test.each([
  ['race-end', 'deviated'],
  ['race-suspend', 'suspended'],
])('%s: keys whose intent is open when the deviation comes are never answered', async (template, state) => {
  const task = await open(template);
  const [withheld, refused] = await race(
    'intend',
    () => ask(task),
    () => astray(task),
  );
  expect([withheld.status, withheld.body.access_token, withheld.body.reason]).toEqual([
    503,
    undefined,
    'not_delivered',
  ]);
  expect([refused.body.reason, await stateOf(task)]).toEqual(['tool_not_granted', state]);
});

test('of two last straws at once one acts: one event, and the other finds the task suspended', async () => {
  const task = await open('race-suspend');
  const [first, second] = await race(
    'close',
    () => astray(task),
    () => ask(task, { tool: 'mail.read' }),
  );
  expect([first.body.reason, second.body.reason]).toEqual(['tool_not_granted', 'tool_not_granted']);
  const events = await world.sql(
    `select from audit_entry where type = 'task.deviated' and task_id = (select max(task_id::text)::uuid from sighting)`,
  );
  expect(events).toHaveLength(1);
});
