import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  Mayfly,
  type MayflyOptions,
  NoIdentity,
  RateLimited,
  Refused,
  TaskOver,
  Unavailable,
} from './index.ts';
import { FakeBroker, key } from './testing/fake-broker.ts';
import { rejection, until } from './testing/until.ts';

let broker: FakeBroker;
let server: string;

beforeEach(async () => {
  broker = new FakeBroker();
  server = await broker.start();
});

afterEach(() => broker.stop());

const client = (options: MayflyOptions = {}) =>
  new Mayfly({ server, env: {}, clock: broker.clock, assertion: () => broker.assertion(), ...options });
const open = (options: MayflyOptions = {}) =>
  client(options).task({ template: 'invoice-reconcile', params: { quarter: '2026q3' } });
const exchanges = () => broker.of('/token').length;

test('opens with what was said and nothing else', async () => {
  const options = {
    template: 't',
    params: { quarter: '2026q3', number: 3 },
    objective: 'reconcile',
    ref: 'r',
  };
  const task = await client().task(options);
  const [request] = broker.of('/v1/tasks');
  expect(JSON.parse(request?.body ?? '')).toEqual(options);
  expect(request?.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
  expect([task.id, task.template, task.grants.map(({ tool }) => tool)]).toEqual([
    `tsk_${'1'.padStart(26, '0')}`,
    't',
    ['s3.read', 'report.post'],
  ]);
  await task.complete();
});

test('an opening whose answer was lost is told again, and leaves one task', async () => {
  broker.fail('/v1/tasks', { dropAnswer: true });
  const opening = open();
  await until(() => broker.of('/v1/tasks').length === 1 && broker.clock.waiting === 1);
  broker.clock.advance(200);
  const task = await opening;
  expect(broker.taskCount).toBe(1);
  // A repeated answer holds no task token; a heartbeat does.
  await task.aws('s3.read', key)();
  expect(new URLSearchParams(broker.of('/token')[0]?.body).get('subject_token')).toMatch(/^task\./);
  await task.complete();
});

test('without an identity nothing is asked', async () => {
  const nobody = new Mayfly({ server, env: {} });
  await rejection(nobody.task({ template: 't' }), NoIdentity);
  expect(broker.seen).toEqual([]);
  expect((await nobody.sources()).every(({ taken }) => !taken)).toBe(true);
});

test('one exchange serves many calls, each answered with an object of its own', async () => {
  const task = await open();
  const provider = task.aws('s3.read', key);
  const all = await Promise.all([provider(), provider(), task.aws('s3.read', key)()]);
  expect(exchanges()).toBe(1);
  expect(new Set(all).size).toBe(3);
  expect(all[0]).toEqual(all[2]);
  expect(all[0].expiration).toBeInstanceOf(Date);
  broker.clock.advance(47_000);
  await provider();
  expect(exchanges()).toBe(1);
  broker.clock.advance(1_000);
  await provider();
  expect(exchanges()).toBe(2);
  await task.complete();
});

test('another resource, other verbs or another ttl is another credential; the order of verbs is not', async () => {
  const task = await open();
  await task.aws('s3.read', key)();
  await task.aws('s3.read', `${key}2`)();
  await task.aws('s3.read', key, { ttl: 30 })();
  await task.aws('s3.read', key, { actions: ['read', 'list'] })();
  await task.aws('s3.read', key, { actions: ['list', 'read', 'list'] })();
  expect(exchanges()).toBe(4);
  const [detail] = JSON.parse(
    new URLSearchParams(broker.of('/token')[3]?.body).get('authorization_details') ?? '',
  );
  expect(detail).toEqual({
    type: 'mayfly_tool_call',
    task: task.id,
    tool: 's3.read',
    identifier: key,
    actions: ['list', 'read'],
  });
  await task.complete();
});

test('a tool token comes with its header and its end, and from memory', async () => {
  const task = await open();
  const token = await task.token('report.post', 'https://reports.example/x');
  expect(token.authorization()).toBe(`Bearer ${token.accessToken.reveal()}`);
  expect([token.tokenType, token.expiresAt]).toEqual(['Bearer', new Date('2026-11-24T12:01:00Z')]);
  const again = await task.token('report.post', 'https://reports.example/x');
  expect([again.accessToken.reveal(), exchanges()]).toEqual([token.accessToken.reveal(), 1]);
  await task.complete();
});

test('the wrong kind of credential is a mistake of the program', async () => {
  const task = await open();
  await expect(task.token('s3.read', key)).rejects.toMatchObject({ reason: 'wrong_credential_kind' });
  await expect(task.aws('report.post', 'https://reports.example/x')()).rejects.toMatchObject({
    reason: 'wrong_credential_kind',
  });
  await task.complete();
});

test('exchanges show the task token, and a fresh assertion once that has run out', async () => {
  broker.tokenSeconds = 60;
  broker.leaseSeconds = 3_600;
  const task = await open();
  await task.aws('s3.read', key)();
  broker.fail(
    '/heartbeat',
    { status: 500, body: { reason: 'internal' } },
    { status: 500, body: { reason: 'internal' } },
  );
  broker.fail('/heartbeat', ...Array(5).fill({ hang: true }));
  broker.clock.advance(59_000);
  await task.aws('s3.read', key)();
  const kinds = broker
    .of('/token')
    .map(({ body }) => new URLSearchParams(body).get('subject_token_type')?.split(':').at(-1));
  expect(kinds).toEqual(['access_token', 'jwt']);
  await task.complete();
});

test('a task token that the server no longer takes gives way to the assertion, once', async () => {
  const task = await open();
  broker.fail('/token', { status: 400, body: { error: 'invalid_request', reason: 'assertion_invalid' } });
  await task.aws('s3.read', key)();
  expect(exchanges()).toBe(2);
  const refused = { status: 400, body: { error: 'invalid_request', reason: 'assertion_invalid' } };
  broker.fail('/token', refused, refused);
  expect((await rejection(task.token('report.post', 'https://reports.example/x'), Refused)).reason).toBe(
    'assertion_invalid',
  );
  await task.complete();
});

test('a refusal carries reason, issuance and the words for people and model, and is asked for once', async () => {
  const task = await open();
  const error = await rejection(task.aws('mail.send', 'https://mail.example/')(), Refused);
  expect([error.reason, error.status, error.retryable, exchanges()]).toEqual([
    'tool_not_granted',
    400,
    false,
    1,
  ]);
  expect(error.message).toContain('tool mail.send is not in invoice-reconcile (has: s3.read, report.post)');
  expect(error.toModelMessage()).toContain(error.issuanceId ?? 'none');
  expect(task.signal.aborted).toBe(false);
  await task.complete();
});

test('a lost answer of an exchange is not asked for again: it may have minted', async () => {
  const task = await open();
  broker.fail('/token', { dropAnswer: true });
  const error = await rejection(task.aws('s3.read', key)(), Unavailable);
  expect([error.reason, error.retryable, exchanges()]).toEqual(['no_answer', true, 1]);
  await task.aws('s3.read', key)();
  await task.complete();
});

test('a long Retry-After goes to the caller, with its seconds', async () => {
  const task = await open();
  broker.fail('/token', {
    status: 429,
    body: { error: 'temporarily_unavailable', reason: 'rate_limited' },
    headers: { 'retry-after': '40' },
  });
  const error = await rejection(task.aws('s3.read', key)(), RateLimited);
  expect([error.retryAfterSeconds, error.toModelMessage().includes('after 40 seconds')]).toEqual([40, true]);
  await task.complete();
});

test('heartbeats keep lease and task token alive, with clocks that differ by hours', async () => {
  broker.skewMs = 5 * 3_600_000;
  const task = await open();
  for (let beat = 1; beat <= 6; beat += 1) {
    broker.clock.advance(110_000);
    await broker.answered('/heartbeat', beat);
    await until(() => broker.clock.waiting === 2);
  }
  expect([task.signal.aborted, broker.task(task.id).state]).toEqual([false, 'open']);
  expect(broker.of('/heartbeat').every(({ bearer }) => bearer?.startsWith('task.'))).toBe(true);
  await task.complete();
});

test('suspended by an operator: the signal aborts with that reason, and nothing more is given', async () => {
  const task = await open();
  const provider = task.aws('s3.read', key);
  await provider();
  broker.change(task.id, 'suspended', 'INC-4711');
  broker.clock.advance(110_000);
  await until(() => task.signal.aborted);
  expect(task.signal.reason).toMatchObject({
    name: 'TaskOver',
    reason: 'task_suspended',
    state: 'suspended',
  });
  expect(task.signal.reason.message).toContain('INC-4711');
  expect(await rejection(provider(), TaskOver)).toBe(task.signal.reason);
  expect(exchanges()).toBe(1);
  await task[Symbol.asyncDispose]();
  expect(broker.task(task.id).state).toBe('cancelled');
});

test('an exchange that hears of the end tells the whole task', async () => {
  const task = await open();
  broker.change(task.id, 'completed');
  expect((await rejection(task.aws('s3.read', key)(), TaskOver)).reason).toBe('task_ended');
  expect([task.signal.aborted, broker.clock.waiting]).toEqual([true, 0]);
});

test('a lease that nobody answers for is lost when it has run out, and then there is nothing to end', async () => {
  const task = await open();
  broker.fail('/heartbeat', ...Array(50).fill({ status: 500, body: { reason: 'internal' } }));
  for (let step = 0; step < 300 && !task.signal.aborted; step += 1) {
    broker.clock.advance(1_000);
    await until(() => broker.clock.waiting >= 2 || task.signal.aborted);
    if (step === 298) expect(task.signal.aborted).toBe(false);
  }
  expect(task.signal.reason).toMatchObject({ reason: 'lease_lost', state: 'abandoned' });
  await task[Symbol.asyncDispose]();
  expect(broker.of('/end')).toEqual([]);
});

test.each(['complete', 'fail', 'cancel'] as const)(
  '%s ends the task, its heartbeats and its credentials at once',
  async (verb) => {
    const task = await open();
    const provider = task.aws('s3.read', key);
    await provider();
    const ending = task[verb]();
    await rejection(provider(), TaskOver);
    const state = { complete: 'completed', fail: 'failed', cancel: 'cancelled' }[verb];
    expect(await ending).toEqual({
      state,
      total: 1,
      confirmed: 0,
      pending: 1,
      byExpiry: 0,
      worstCaseAt: new Date('2026-11-24T12:01:00Z'),
    });
    expect([broker.task(task.id).state, task.signal.reason.reason, broker.clock.waiting]).toEqual([
      state,
      'task_ended',
      0,
    ]);
    await task[Symbol.asyncDispose]();
    expect(broker.of('/end')).toHaveLength(1);
  },
);

test('an end that could not be told may be told again, and leaving does so', async () => {
  const task = await open();
  broker.fail('/end', { status: 500, body: { reason: 'internal' } });
  await rejection(task.fail(), Unavailable);
  await task[Symbol.asyncDispose]();
  expect(broker.task(task.id).state).toBe('failed');
});

test('await using: a block left with complete() is completed, one left without a word is cancelled', async () => {
  const said = await (async () => {
    await using task = await open();
    await task.complete();
    return task.id;
  })();
  let unsaid = '';
  const throws = async () => {
    await using task = await open();
    unsaid = task.id;
    throw new Error('in the block');
  };
  await expect(throws()).rejects.toThrow('in the block');
  expect([broker.task(said).state, broker.task(unsaid).state]).toEqual(['completed', 'cancelled']);
});

test('run: completed with the result, or failed with what was thrown', async () => {
  const ids: string[] = [];
  const mayfly = client();
  const options = { template: 'invoice-reconcile' };
  expect(await mayfly.run(options, async (task) => ids.push(task.id) * 7)).toBe(7);
  const boom = new Error('boom');
  const failing = mayfly.run(options, (task) => {
    ids.push(task.id);
    throw boom;
  });
  await expect(failing).rejects.toBe(boom);
  expect(ids.map((id) => broker.task(id).state)).toEqual(['completed', 'failed']);
});

test('current: the task of the parent, by its token alone, which leaving does not end', async () => {
  const parent = await open();
  await parent.aws('s3.read', key)();
  const token = new URLSearchParams(broker.of('/token')[0]?.body).get('subject_token') ?? '';
  const child = new Mayfly({
    server,
    clock: broker.clock,
    env: { MAYFLY_TASK: parent.id, MAYFLY_TASK_TOKEN: token },
  });
  const task = await child.current();
  await task.aws('s3.read', `${key}2`)();
  expect([task.id, task.template, task.grants.length]).toEqual([parent.id, 'invoice-reconcile', 2]);
  await task[Symbol.asyncDispose]();
  expect([broker.task(parent.id).state, task.signal.aborted]).toEqual(['open', true]);
  const beneath = await child.task({ template: 'invoice-reconcile' });
  expect(beneath.id).not.toBe(parent.id);
  expect(broker.seen.at(-1)?.bearer).toBe(token);
  await beneath.complete();
  await expect(new Mayfly({ server, env: {} }).current()).rejects.toMatchObject({ reason: 'no_task' });
  await parent.complete();
});
