import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass } from '@mayfly/broker';
import { s3Status } from '../e2e/s3.ts';
import { accessTokenType, form, startWorld, type World } from '../e2e/world.ts';
import { type Race, startRace } from './race.ts';

/**
 * End and exchange meet on two connections, in both orders, with each transaction held open in its middle: a trigger
 * waits for an advisory lock that this test holds. Whatever the order, nothing works after the end.
 */
let world: World;
let race: Race['race'];
let until: Race['until'];
let close: Race['close'];

beforeAll(async () => {
  // Its reaper passes only when told, so that it settles nothing between two steps.
  world = await startWorld({ settings: { reapInterval: '1h' } });
  ({ race, until, close } = await startRace(world));
}, 60_000);

afterAll(async () => {
  await close();
  await world.stop();
});

const detail = {
  token: { tool: 'report.post', identifier: 'https://reports.example/2026q3' },
  aws: { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' },
};

interface Task {
  readonly id: string;
  readonly token: string;
}

async function open(): Promise<Task> {
  const { body } = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload(),
    json: { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
  });
  return { id: body.id, token: body.taskToken };
}

const exchange = ({ token }: Task, kind: keyof typeof detail) =>
  world.exchange(form(token, detail[kind], { subject_token_type: accessTokenType }));
const end = ({ id, token }: Task) => world.api('POST', `/v1/tasks/${id}/end`, { bearer: token });
const suspend = async ({ id }: Task) =>
  world.api('POST', `/v1/tasks/${id}/suspend`, { bearer: await world.person(), json: {} });

async function introspect(token: string): Promise<unknown> {
  const answer = await fetch(`${world.url}/introspect`, {
    method: 'POST',
    body: new URLSearchParams({ token }),
    headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
  });
  return answer.json();
}

/** Nothing of this task is out: no work row in a state that a living credential has. */
async function nothingLives({ id }: Task): Promise<void> {
  for (let pass = 0; pass < 3; pass += 1) {
    await world.sql(`update work set due_at = now() where state = 'revoking'`);
    await reaperPass(world.running.broker);
  }
  const bearer = await world.person();
  const { body } = await world.api('GET', `/v1/issuances?task=${id}`, { bearer });
  for (const { decision, state } of body.items)
    if (decision === 'allow') expect(['ended', 'reaped']).toContain(state);
}

test('a tool token whose intent is open when the end comes is counted by the end and inactive after it', async () => {
  const task = await open();
  const [issued, ended] = await race(
    'intend',
    () => exchange(task, 'token'),
    () => end(task),
  );
  expect([issued.status, ended.status]).toEqual([200, 200]);
  expect(ended.body.ending).toMatchObject({ total: 1, confirmed: 1 });
  expect(await introspect(issued.body.access_token)).toEqual({ active: false });
  await nothingLives(task);
});

test('a tool token asked for while the end is open is refused', async () => {
  const task = await open();
  const [ended, refused] = await race(
    'close',
    () => end(task),
    () => exchange(task, 'token'),
  );
  expect([ended.body.state, refused.status, refused.body.reason]).toEqual(['completed', 400, 'task_ended']);
  expect(ended.body.ending.total).toBe(0);
  await nothingLives(task);
});

test('keys whose intent is open when the end comes are never answered', async () => {
  const task = await open();
  const [withheld, ended] = await race(
    'intend',
    () => exchange(task, 'aws'),
    () => end(task),
  );
  expect([ended.status, ended.body.state]).toEqual([200, 'completed']);
  // Its intent was reaped before anything could be minted or delivered.
  expect([withheld.status, withheld.body.access_token, withheld.body.reason]).toEqual([
    503,
    undefined,
    'not_delivered',
  ]);
  await nothingLives(task);
});

test('keys that are just being delivered when the end comes are denied by the cloud', async () => {
  const task = await open();
  await exchange(task, 'aws'); // The base session is there: the next delivery is the agent's.
  const [issued, ended] = await race(
    'deliver',
    () => exchange(task, 'aws'),
    () => end(task),
  );
  expect([issued.status, ended.body.ending.total]).toEqual([200, 2]);
  await nothingLives(task);
  expect(await s3Status(world, issued.body.access_token, '2026q3/a.pdf')).toBe(403);
});

test('keys that would be delivered while the end takes them back are withheld', async () => {
  const task = await open();
  await exchange(task, 'aws');
  // The cloud holds its answer until the end has marked the intent and waits in its open transaction.
  const release = world.clouds.aws.faults.arm({ action: 'GetScopedCredentials', mode: 'hold' });
  const minting = exchange(task, 'aws');
  await until(async () => (await world.sql(`select from work where state = 'intended'`)).length === 1);
  const [ended, withheld] = await race(
    'take back',
    () => end(task),
    () => {
      release();
      return minting;
    },
  );
  expect([ended.body.state, withheld.status, withheld.body.reason]).toEqual([
    'completed',
    503,
    'not_delivered',
  ]);
  await nothingLives(task);
});

test('an exchange asked for while the end is open is refused, for keys as for tokens', async () => {
  const task = await open();
  const [ended, refused] = await race(
    'close',
    () => end(task),
    () => exchange(task, 'aws'),
  );
  expect([ended.body.state, refused.body.reason]).toEqual(['completed', 'task_ended']);
  await nothingLives(task);
});

test('a suspension meets an exchange as an end does, in both orders', async () => {
  const first = await open();
  const [withheld, suspended] = await race(
    'intend',
    () => exchange(first, 'aws'),
    () => suspend(first),
  );
  expect([withheld.body.reason, suspended.body.state]).toEqual(['not_delivered', 'suspended']);
  const second = await open();
  const [, refused] = await race(
    'close',
    () => suspend(second),
    () => exchange(second, 'aws'),
  );
  expect(refused.body.reason).toBe('task_suspended');
  for (const task of [first, second]) await nothingLives(task);
});

test('two ends at once: the first one’s state stands, and it is recorded once', async () => {
  const task = await open();
  const cancel = async () =>
    world.api('POST', `/v1/tasks/${task.id}/end`, {
      bearer: await world.person(),
      json: { outcome: 'cancelled' },
    });
  const [first, second] = await race('close', () => end(task), cancel);
  expect([first.body.state, second.body.state]).toEqual(['completed', 'completed']);
  const events = await world.sql(`select from audit_entry where type = 'task.ended' and task_id = $1::uuid`, [
    (await world.sql<{ id: string }>('select id from task order by id desc limit 1'))[0]?.id,
  ]);
  expect(events).toHaveLength(1);
});

test('an opening exchange and an end by ref leave either no task or an ended one', async () => {
  const opening = { task: { template: 'invoice-reconcile', ref: 'raced', params: { quarter: '2026q3' } } };
  const ask = async () => world.exchange(form(await world.workload(), { ...opening, ...detail.token }));
  const [one, other] = await race('intend', ask, ask);
  expect([one.status, other.status]).toEqual([200, 200]);
  expect(other.body.issuance.task).toBe(one.body.issuance.task);
  expect([typeof one.body.task_token, other.body.task_token]).toEqual(['string', undefined]);
});
