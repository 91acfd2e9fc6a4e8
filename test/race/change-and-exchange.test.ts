import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { s3Status } from '../e2e/s3.ts';
import { eventType, startTransmitter, type TestTransmitter } from '../e2e/transmitter.ts';
import { accessTokenType, form, startWorld, until, type World } from '../e2e/world.ts';
import { type Race, startRace } from './race.ts';

/**
 * What decides changes while an exchange is in its middle: it is told at once, and what the older transaction still
 * brings is found by whoever takes back. And two exchanges that want the last of something.
 */
let world: World;
let transmitter: TestTransmitter;
let race: Race;

beforeAll(async () => {
  transmitter = await startTransmitter({ endsPerMinute: 1_000 });
  world = await startWorld({ edit: transmitter.edit });
  race = await startRace(world);
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: race-once, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: ["reconciler", "batch/*"] } }]
  grants:
    - { name: read, tool: s3.read, resource: "arn:aws:s3:::invoices/**", mint: { provider: local-aws, access: s3.object }, actions: [read], effects: [read], budget: { exchanges: 1 } }
    - { name: post, tool: report.post, resource: "https://reports.example/**", mint: { provider: token, server: reports }, actions: [write], effects: [write] }
`;
  const answer = await world.api('POST', '/v1/apply?set=race', { bearer: await world.person(), yaml });
  expect(answer.status).toBe(200);
}, 60_000);

afterAll(async () => {
  await race.close();
  await world.stop();
  transmitter.close();
});

const opening = (ref: string) => ({
  task: { template: 'race-once', ref, params: {}, objective: 'race' },
});
/** Signed here, so that one intent is all of it. */
const tool = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

async function push(subject: string): Promise<number> {
  const body = await transmitter.set(world, { subject });
  const headers = { 'content-type': eventType };
  return (await fetch(`${world.url}/v1/events`, { method: 'POST', body, headers })).status;
}

test('an opening that has not come to its intent when the session is revoked gives nothing, and leaves no task', async () => {
  const subject = 'batch/1';
  const assertion = await world.workload(subject);
  const [opened, pushed] = await race.meanwhile(
    'open',
    () => world.exchange(form(assertion, opening('race-1'))),
    () => push(subject),
  );
  expect([pushed, opened.body.reason]).toEqual([202, 'session_revoked']);
  expect(await openTasks()).toBe(0);
});

test('one whose intent is in its middle then ends all the same, and its keys with it', async () => {
  const subject = 'batch/2';
  const assertion = await world.workload(subject);
  const [opened, pushed] = await race.meanwhile(
    'intend',
    () => world.exchange(form(assertion, opening('race-2'))),
    () => push(subject),
  );
  expect(pushed).toBe(202);
  // Withheld where its end came before its delivery.
  if (opened.status === 200) {
    const status = () => s3Status(world, opened.body.access_token, '2026q3/a.pdf');
    expect(await until(status, (one) => one === 403)).toBe(403);
  } else expect(opened.body.reason).toBe('not_delivered');
  expect(await until(openTasks, (n) => n === 0)).toBe(0);
});

async function openTasks(): Promise<number | undefined> {
  const [row] = await world.sql<{ n: number }>(`select count(*)::int as n from task where state = 'open'`);
  return row?.n;
}

test('a freeze is not drained while an older intent is in its middle, and nothing begins after it', async () => {
  const operator = { bearer: await world.person() };
  const status = async () => (await world.api('GET', '/v1/freeze', operator)).body;
  let freeze: ReturnType<World['api']> | undefined;
  const [first, second] = await race.meanwhile(
    'intend',
    async () => world.exchange(form(await world.workload(), { ...opening('race-3'), ...tool })),
    async () => {
      freeze = world.api('POST', '/v1/freeze', { ...operator, json: { reason: 'race' } });
      expect(await until(status, ({ frozen }) => frozen)).toMatchObject({ frozen: true, drained: false });
      return world.exchange(form(await world.workload(), opening('race-4')));
    },
  );
  expect([first.status, first.body.reason, second.body.reason]).toEqual([200, undefined, 'frozen']);
  expect((await freeze)?.body).toMatchObject({ frozen: true, drained: true });
  expect((await world.api('POST', '/v1/thaw', { ...operator, json: { reason: 'race' } })).status).toBe(200);
});

test('of two exchanges that want the last of a budget one is given it', async () => {
  const { body } = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload(),
    json: { template: 'race-once' },
  });
  const ask = () => world.exchange(form(body.taskToken, {}, { subject_token_type: accessTokenType }));
  const [first, second] = await race.race('intend', ask, ask);
  expect([first.status, second.body.reason]).toEqual([200, 'budget_spent']);
});

test('of two exchanges with one assertion that works once, one is given', async () => {
  const assertion = await world.workload();
  const [first, second] = await race.race(
    'intend',
    () => world.exchange(form(assertion, opening('race-4'))),
    () => world.exchange(form(assertion, opening('race-5'))),
  );
  expect([first.status, second.body.reason]).toEqual([200, 'assertion_replayed']);
});
