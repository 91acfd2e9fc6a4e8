import { expect, test } from '@jest/globals';
import { Connection } from './connection.ts';
import { MayflyError, RateLimited, Refused, Unavailable } from './errors.ts';
import { FakeClock } from './testing/fake-clock.ts';
import { rejection, until } from './testing/until.ts';
import { type Incoming, type Outgoing, TransportFailure } from './transport.ts';

type Step = Incoming | TransportFailure;

/** A server of prepared answers; waits are passed by moving the clock, and written down. */
function setUp(...steps: Step[]) {
  const clock = new FakeClock();
  const sent: Outgoing[] = [];
  const waits: number[] = [];
  const connection = new Connection({
    server: new URL('https://mayfly.example'),
    transport: {
      send: async (request) => {
        sent.push(request);
        const step = steps.shift();
        if (step === undefined) throw new Error('no further answer was expected');
        if (step instanceof Error) throw step;
        return step;
      },
    },
    clock: {
      now: () => clock.now(),
      after: (ms, run) => {
        waits.push(ms);
        return clock.after(ms, run);
      },
    },
  });
  let drafts = 0;
  const draft = async () => ({ method: 'POST', path: '/token', headers: { try: String(++drafts) } });
  const call = async (retry: 'repeatable' | 'unsent' = 'unsent', signal?: AbortSignal) => {
    const answer = connection.call(draft, { retry, signal, asked: { tool: 't' } });
    let settled = false;
    const settle = () => {
      settled = true;
    };
    answer.then(settle, settle);
    while (!settled) {
      await until(() => settled || clock.waiting > 0 || signal?.aborted === true);
      clock.advance(60_000);
    }
    return answer;
  };
  return { call, sent, waits, connection, clock };
}

const ok: Incoming = { status: 200, headers: { date: 'Tue, 24 Nov 2026 12:00:00 GMT' }, body: '{"a":1}' };
const no = (status: number, reason: string, headers: Record<string, string> = {}): Incoming => ({
  status,
  headers,
  body: JSON.stringify({
    error: 'x',
    error_description: 'Words.',
    reason,
    issuance_id: `isn_${'0'.repeat(26)}`,
  }),
});
const failure = (kind: 'unreachable' | 'tls' | 'timeout' | 'broken' | 'too_large', sent: boolean) =>
  new TransportFailure({ kind, sent, code: 'CODE' });

test('answers the body with both clocks', async () => {
  const { call, clock } = setUp(ok);
  const now = clock.now();
  expect(await call()).toEqual({
    status: 200,
    body: { a: 1 },
    sentAt: now,
    serverAt: new Date('2026-11-24T12:00:00Z'),
  });
});

test('waits as Retry-After asks, with a fresh draft for each attempt', async () => {
  const { call, sent, waits } = setUp(
    no(503, 'overloaded', { 'retry-after': '2' }),
    no(429, 'rate_limited', { 'retry-after': '5' }),
    ok,
  );
  await call();
  expect(waits).toEqual([2_000, 5_000]);
  expect(sent.map(({ headers }) => headers['try'])).toEqual(['1', '2', '3']);
});

test('gives up after three attempts, and at once when the wait is for the caller to judge', async () => {
  const three = setUp(no(503, 'overloaded'), no(503, 'overloaded'), no(503, 'provider_unavailable'));
  expect((await rejection(three.call(), Unavailable)).reason).toBe('provider_unavailable');
  expect(three.waits).toEqual([200, 400]);
  const long = setUp(no(429, 'rate_limited', { 'retry-after': '6' }));
  const error = await rejection(long.call(), RateLimited);
  expect([error.retryAfterSeconds, error.retryable, long.sent.length]).toEqual([6, true, 1]);
});

test.each([
  [400, 'tool_not_granted', Refused],
  [401, 'unauthenticated', Refused],
  [500, 'internal', Unavailable],
  [503, 'frozen', Unavailable],
  [503, 'recovery_required', Unavailable],
  [429, 'too_many_open_tasks', RateLimited],
] as const)('%d %s is asked once', async (status, reason, kind) => {
  const { call, sent } = setUp(no(status, reason, { 'retry-after': '1' }));
  const error = await rejection(call(), kind);
  expect([error.reason, error.status, error.issuanceId, error.asked.tool, sent.length]).toEqual([
    reason,
    status,
    `isn_${'0'.repeat(26)}`,
    't',
    1,
  ]);
});

test('what was not sent is sent again; what may have had its effect only where that does no harm', async () => {
  await setUp(failure('unreachable', false), ok).call('unsent');
  await setUp(failure('broken', true), ok).call('repeatable');
  await setUp(failure('timeout', true), ok).call('repeatable');
  const once = setUp(failure('broken', true));
  const error = await rejection(once.call('unsent'), Unavailable);
  expect([error.reason, error.retryable, error.status]).toEqual(['no_answer', true, null]);
});

test.each(['tls', 'too_large'] as const)('a failure of kind %s is not tried again', async (kind) => {
  const { call, sent } = setUp(failure(kind, false));
  const error = await rejection(call('repeatable'), Unavailable);
  expect([error.retryable, sent.length]).toEqual([false, 1]);
  expect(error.reason).toBe(kind === 'tls' ? 'tls_untrusted' : 'answer_unreadable');
});

test('when the repeat shows a used-up assertion, the first error is told', async () => {
  const { call } = setUp(no(503, 'provider_unavailable'), no(400, 'assertion_replayed'));
  expect((await rejection(call(), MayflyError)).reason).toBe('provider_unavailable');
  const alone = setUp(no(400, 'assertion_replayed'));
  expect((await rejection(alone.call(), Refused)).reason).toBe('assertion_replayed');
});

test.each([
  [200, 'credential that is no JSON', false],
  [302, '', false],
  [404, '<html>', false],
  [502, '<html>', true],
])('an answer %d that is not the broker’s is unreadable, and not quoted', async (status, body, retryable) => {
  const answer = { status, headers: { 'retry-after': '60' }, body };
  const { call } = setUp(answer, answer, answer);
  const error = await rejection(call(), Unavailable);
  expect([error.reason, error.status, error.retryable]).toEqual(['answer_unreadable', status, retryable]);
  if (body !== '') expect(error.message).not.toContain(body);
});

test('an abort ends the wait with its own reason', async () => {
  const { connection, clock } = setUp(no(503, 'overloaded', { 'retry-after': '5' }));
  const controller = new AbortController();
  const draft = async () => ({ method: 'POST', path: '/token', headers: {} });
  const call = connection.call(draft, { retry: 'unsent', signal: controller.signal });
  call.catch(() => {});
  await until(() => clock.waiting === 1);
  const reason = new Error('over');
  controller.abort(reason);
  await expect(call).rejects.toBe(reason);
  expect(clock.waiting).toBe(0);
});

test('a path never leads to another server', async () => {
  const { connection, sent } = setUp();
  const draft = async () => ({ method: 'GET', path: '//evil.example/v1', headers: {} });
  await expect(connection.call(draft, { retry: 'unsent' })).rejects.toThrow('another server');
  expect(sent).toEqual([]);
});
