import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { JWTPayload } from 'jose';
import { startReplica } from './replica.ts';
import { type About, startTransmitter, type TestTransmitter } from './transmitter.ts';
import { accessTokenType, form, opening, startWorld, until, type World } from './world.ts';

let world: World;
let replica: Awaited<ReturnType<typeof startReplica>>;
let transmitter: TestTransmitter;

beforeAll(async () => {
  transmitter = await startTransmitter({ endsPerMinute: 2 });
  world = await startWorld({ edit: transmitter.edit });
  replica = await startReplica(world);
}, 90_000);

afterAll(async () => {
  await replica.stop();
  await world.stop();
  transmitter.close();
});

const set = (from: 'local' | 'people', about: Omit<About, 'from'>, change: JWTPayload = {}) =>
  transmitter.set(world, { ...about, from }, change);

async function push(body: string, contentType = 'application/secevent+jwt') {
  const headers = { 'content-type': contentType };
  const answer = await fetch(`${world.url}/v1/events`, { method: 'POST', body, headers });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? null : JSON.parse(text) };
}

async function opened(subject: string, ref: string) {
  const answer = await world.exchange(form(await world.workload(subject), { ...opening(ref) }));
  expect([answer.status, answer.body.reason]).toEqual([200, undefined]);
  return { task: String(answer.body.issuance.task), token: String(answer.body.task_token) };
}

const stateOf = async (task: string) =>
  (await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() })).body.state;

const onReplica = async (body: Record<string, string>) => {
  const answer = await fetch(`${replica.url}/token`, { method: 'POST', body: new URLSearchParams(body) });
  return { status: answer.status, body: (await answer.json()) as { reason?: string } };
};

test('a revoked session: the next exchange on another replica is refused, the tasks end, and only a new session opens', async () => {
  const old = await world.workload('reconciler');
  const { task } = await opened('reconciler', 'e-1');
  const event = await set('local', { type: 'session-revoked', subject: 'reconciler' });
  const taken = await push(event);
  expect([taken.status, taken.body]).toEqual([202, null]);
  const stale = await onReplica(form(old, opening('e-2')));
  expect([stale.status, stale.body.reason]).toEqual([400, 'session_revoked']);
  // By the ended task, or by the session, whichever is seen first.
  const same = await onReplica(form(old, { task }));
  expect(['session_revoked', 'task_ended']).toContain(same.body.reason);
  expect(
    await until(
      () => stateOf(task),
      (state) => state === 'cancelled',
    ),
  ).toBe('cancelled');
  expect((await push(event)).status).toBe(202);
  const rows = await world.sql<{ n: number }>(
    `select count(*)::int as n from audit_entry where type = 'event.received'`,
  );
  expect(rows[0]?.n).toBe(1);
  const later = await clocked(() => world.workload('reconciler'));
  const again = await onReplica(form(later, opening('e-3')));
  expect([again.status, again.body.reason]).toEqual([200, undefined]);
});

/** `iat` counts whole seconds: an assertion of the second of the event is from before it. */
async function clocked<T>(then: () => Promise<T>): Promise<T> {
  const second = Math.floor(Date.now() / 1000);
  await until(
    async () => Math.floor(Date.now() / 1000),
    (now) => now > second,
  );
  return then();
}

test('a person whose session was revoked is nobody at /v1, on any replica', async () => {
  const person = await world.person();
  const list = (url: string) => fetch(`${url}/v1/tasks`, { headers: { authorization: `Bearer ${person}` } });
  expect((await list(world.url)).status).toBe(200);
  const event = await set('people', { type: 'session-revoked', subject: 'jane@corp.example' });
  expect((await push(event)).status).toBe(202);
  for (const url of [world.url, replica.url]) {
    const answer = await list(url);
    expect([answer.status, ((await answer.json()) as { reason?: string }).reason]).toEqual([
      401,
      'session_revoked',
    ]);
  }
  const fresh = await clocked(() => world.person());
  expect((await world.api('GET', '/v1/tasks', { bearer: fresh })).status).toBe(200);
});

test('new claims end what they would not open, before the answer; what they would goes on by its task token', async () => {
  const yaml = (name: string, group: string) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: "batch/*", groups: ${group} } }]
  grants:
    - { name: read, tool: s3.read, resource: "arn:aws:s3:::invoices/**", mint: { provider: local-aws, access: s3.object }, actions: [read], effects: [read] }
`;
  const applied = await world.api('POST', '/v1/apply?set=claims', {
    bearer: await clocked(() => world.person()),
    yaml: `${yaml('for-finance', 'finance')}---\n${yaml('for-audit', 'audit')}`,
  });
  expect(applied.status).toBe(200);
  const open = async (template: string) => {
    const bearer = await world.workload('batch/5', { groups: ['finance', 'audit'] });
    return (await world.api('POST', '/v1/tasks', { bearer, json: { template } })).body;
  };
  const [finance, audit] = [await open('for-finance'), await open('for-audit')];
  const event = { claims: { groups: ['audit'] } };
  const taken = await push(await set('local', { type: 'token-claims-change', event, subject: 'batch/5' }));
  expect(taken.status).toBe(202);
  expect([await stateOf(finance.id), await stateOf(audit.id)]).toEqual(['cancelled', 'open']);
  const ask = async ({ taskToken }: { taskToken: string }) =>
    (await onReplica(form(taskToken, {}, { subject_token_type: accessTokenType }))).body.reason;
  expect([await ask(finance), await ask(audit)]).toEqual(['task_ended', undefined]);
});

test('more ends in a minute than its transmitter may: 429, nothing is changed, an alarm, and it may come again', async () => {
  for (const subject of ['tools/a', 'tools/b'])
    await world.sql(
      `insert into task (id, template, template_version, params, workload_issuer, workload_iss, workload_subject, claims, owner,
         owner_key, limit_key, opened_at, lease_seconds, lease_until, expires_at)
       select gen_random_uuid(), 'other', 1, '{}', 'local', $2, $1, '{}', 'x', sha256('x'), sha256('x'), now() - interval '1 hour', 60,
         now() + interval '1 hour', now() + interval '1 hour' from generate_series(1, 2)`,
      [subject, world.file.workloads],
    );
  const [first, second] = [
    await set('local', { type: 'session-revoked', subject: 'tools/a' }),
    await set('local', { type: 'session-revoked', subject: 'tools/b' }),
  ];
  const answers = [await push(first), await push(second)];
  // The first test may have used up the minute already.
  expect(answers.map(({ status }) => status)).toContain(429);
  const limited = answers.find(({ status }) => status === 429);
  expect(Number(limited?.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(limited?.body.reason).toBe('rate_limited');
  const { rows } = await world.running.broker.store.database.pool.query(
    `select actor, body from audit_entry where type = 'request.refused' order by seq desc limit 1`,
  );
  expect(rows[0].actor).toBe('local');
  const metrics = await (await fetch(`${world.running.opsUrl}/metrics`)).text();
  expect(metrics).toMatch(/mayfly_alarms_total\{kind="events_limited"\} [1-9]/);
});

test.each([
  ['another type of body', 'invalid_request', 'unsupported_media_type'],
  ['no token', 'invalid_request', 'event_malformed'],
  ['an unknown transmitter', 'invalid_issuer', 'event_issuer_unknown'],
  ['another audience', 'invalid_audience', 'event_audience_wrong'],
  ['another signature', 'authentication_failed', 'event_not_authentic'],
  ['a foreign subject', 'access_denied', 'event_subject_foreign'],
] as const)('%s: %s, audited once, and nothing changes', async (what, err, reason) => {
  const good = { type: 'session-revoked', subject: 'batch/9' };
  const bodies = {
    'another type of body': () => set('local', good),
    'no token': async () => 'no token',
    'an unknown transmitter': () => set('local', good, { iss: 'https://stranger.example' }),
    'another audience': () => set('local', good, { aud: 'https://other.example' }),
    'another signature': async () =>
      `${(await set('local', good)).replace(/\.[^.]+$/, '')}.${'A'.repeat(342)}`,
    'a foreign subject': () => set('local', { ...good, subject: 'somebody' }),
  };
  const before = await audited();
  const body = await bodies[what]();
  const answer = await push(body, what === 'another type of body' ? 'application/jwt' : undefined);
  expect([answer.status, answer.body.err, answer.body.reason]).toEqual([400, err, reason]);
  expect(JSON.stringify(answer.body)).not.toContain('batch/9');
  expect(await audited()).toEqual(before + 1);
  const [row] = await world.sql<{ n: number }>(
    `select count(*)::int as n from subject_cut where subject in ('batch/9', 'somebody')`,
  );
  expect(row?.n).toBe(0);
});

async function audited(): Promise<number> {
  const [row] = await world.sql<{ n: number }>(
    `select count(*)::int as n from audit_entry where type = 'request.refused'`,
  );
  return row?.n ?? 0;
}

test('an event is no assertion, and an assertion no event', async () => {
  const event = await set('local', { type: 'session-revoked', subject: 'batch/9' });
  expect((await world.exchange(form(event, opening('e-9')))).body.reason).toBe('assertion_invalid');
  expect((await push(await world.workload('batch/9'))).body.reason).toBe('event_issuer_unknown');
  expect((await push('', 'application/secevent+jwt')).status).toBe(400);
  const wrong = await fetch(`${world.url}/v1/events`);
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
});
