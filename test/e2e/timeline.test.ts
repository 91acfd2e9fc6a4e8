import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, opening, startWorld, until, type World } from './world.ts';

let world: World;
let task = '';
let token = '';

beforeAll(async () => {
  world = await startWorld();
  const { body } = await world.exchange(form(await world.workload(), opening('story')));
  [task, token] = [body.issuance.task, body.task_token];
  await world.exchange(
    form(await world.workload(), { task, tool: 'mail.send', identifier: 'mailto:a@b.example' }),
  );
  await world.api('POST', `/v1/tasks/${task}/end`, { bearer: token, json: { outcome: 'completed' } });
  // The story is told to its end once nothing is under way.
  await until(
    () => world.sql('select from work where requested_at is not null'),
    (rows) => rows.length === 0,
  );
}, 60_000);

afterAll(() => world.stop());

const read = async (bearer: string, query = '') =>
  world.api('GET', `/v1/tasks/${task}/timeline${query}`, { bearer });

test('tells in order what happened, with its evidence for who answers for it', async () => {
  const { status, body } = await read(await world.person());
  expect(status).toBe(200);
  const types: string[] = body.items.map(({ type }: { type: string }) => type);
  expect(types.slice(0, 3)).toEqual(['task.opened', 'exchange.intended', 'base.intended']);
  expect(types).toEqual(expect.arrayContaining(['exchange.delivered', 'exchange.refused', 'task.ended']));
  const seqs: number[] = body.items.map(({ seq }: { seq: number }) => seq);
  expect(seqs).toEqual(seqs.toSorted((one, two) => one - two));
  const refused = body.items.find(({ type }: { type: string }) => type === 'exchange.refused');
  expect(refused).toMatchObject({
    task,
    reason: 'tool_not_granted',
    actor: 'local/reconciler',
    evidence: {},
  });
  expect(refused.issuance).toMatch(/^isn_/);
});

test('the owner reads its own story without the evidence; somebody else reads an unknown task', async () => {
  const own = await read(await world.workload());
  expect(own.status).toBe(200);
  for (const event of own.body.items) {
    expect(event).not.toHaveProperty('evidence');
    expect(event).not.toHaveProperty('actor');
  }
  const foreign = await read(await world.person(['nobody']));
  expect([foreign.status, foreign.body.reason]).toEqual([404, 'task_unknown']);
});

test('goes on page by page', async () => {
  const bearer = await world.person();
  const whole = (await read(bearer)).body.items;
  const first = (await read(bearer, '?limit=2')).body;
  expect(first.items).toEqual(whole.slice(0, 2));
  const rest = (await read(await world.person(), `?limit=500&cursor=${first.nextCursor}`)).body;
  expect(rest.items).toEqual(whole.slice(2));
  expect(rest.nextCursor).toBeNull();
});
