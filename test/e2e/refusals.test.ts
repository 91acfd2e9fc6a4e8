import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { generateKeyPair, SignJWT } from 'jose';
import {
  accessTokenType,
  allowedKey,
  form,
  jwtType,
  opening,
  startWorld,
  tokenExchange,
  type World,
} from './world.ts';

let world: World;
let taskId = '';
let taskToken = '';

beforeAll(async () => {
  world = await startWorld({ settings: { refusalRowsPerSecond: 1000 } });
  const opened = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload(),
    json: { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
  });
  taskId = opened.body.id;
  taskToken = opened.body.taskToken;
}, 60_000);

afterAll(() => world.stop());

/** What must not change, and what must: rows of everything that a refusal could touch, and the count of refusals. */
async function footprint() {
  const [row] = await world.sql<
    Record<string, string>
  >(`select (select count(*) from task) tasks, (select count(*) from replay) replay,
    (select coalesce(sum(uses), 0) from task_grant) uses, (select count(*) from work where kind = 'issuance') work,
    (select count(*) from issuance where decision = 'allow') allowed`);
  const [audit] = await world.sql<{ n: string }>(
    `select count(*) n from audit_entry where type = 'exchange.refused'`,
  );
  return { row, refusals: Number(audit?.n) };
}

interface Case {
  readonly name: string;
  form(): Promise<Record<string, string> | string>;
  readonly error: string;
  readonly reason: string;
  readonly status?: number;
}

const detail = (more: Record<string, unknown>) => async () =>
  form(taskToken, more, { subject_token_type: accessTokenType });
const details = (text: string) => async () => ({
  ...form(taskToken, {}),
  subject_token_type: accessTokenType,
  authorization_details: text,
});
const assertion = (make: () => Promise<string>) => async () => form(await make(), { task: taskId });
const identifier = (value: string) => detail({ identifier: value });

async function forged(header: Record<string, unknown>, claims: Record<string, unknown>): Promise<string> {
  const { privateKey } = await generateKeyPair('ES256');
  const now = Math.floor(Date.now() / 1000);
  const payload = {
    iss: world.file.workloads,
    sub: 'reconciler',
    aud: world.url,
    iat: now,
    exp: now + 60,
    jti: crypto.randomUUID(),
    ...claims,
  };
  return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', ...header }).sign(privateKey);
}

const unsigned = (claims: Record<string, unknown>) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ iss: world.file.workloads, sub: 'reconciler', aud: world.url, ...claims })}.x`;
};

const invalidAssertion = { error: 'invalid_request', reason: 'assertion_invalid' };
const malformed = { error: 'invalid_authorization_details', reason: 'details_malformed' };
const badIdentifier = { error: 'invalid_authorization_details', reason: 'identifier_malformed' };

const cases: readonly Case[] = [
  {
    name: 'wrong grant type',
    form: async () => ({ ...form(taskToken, {}), grant_type: 'client_credentials' }),
    error: 'unsupported_grant_type',
    reason: 'unsupported_grant_type',
  },
  {
    name: 'repeated parameter',
    form: async () => `${new URLSearchParams(form(taskToken, {}))}&grant_type=${tokenExchange}`,
    error: 'invalid_request',
    reason: 'repeated_parameter',
  },
  {
    name: 'oversized body',
    form: async () => ({ ...form(taskToken, {}), filler: 'x'.repeat(70_000) }),
    error: 'invalid_request',
    reason: 'body_too_large',
    status: 413,
  },
  {
    name: 'assertion missing',
    form: async () => ({ ...form('', {}), subject_token: '' }),
    error: 'invalid_request',
    reason: 'missing_parameter',
  },
  {
    name: 'actor without delegation rule',
    form: async () => ({
      ...form(await world.workload(), opening(crypto.randomUUID())),
      actor_token: await world.workload('tools/reports'),
      actor_token_type: jwtType,
    }),
    error: 'invalid_request',
    reason: 'delegation_not_granted',
  },
  {
    name: 'expired',
    form: assertion(() =>
      world.clouds.workloads.assertion({ subject: 'reconciler', audience: world.url, lifetimeSeconds: -60 }),
    ),
    ...invalidAssertion,
  },
  {
    name: 'not yet valid',
    form: assertion(() => world.workload('reconciler', { nbf: Math.floor(Date.now() / 1000) + 600 })),
    ...invalidAssertion,
  },
  {
    name: 'wrong audience',
    form: assertion(() =>
      world.clouds.workloads.assertion({ subject: 'reconciler', audience: 'https://elsewhere.example' }),
    ),
    ...invalidAssertion,
  },
  {
    name: 'second audience',
    form: assertion(() => forged({}, { aud: [world.url, 'https://elsewhere.example'] })),
    ...invalidAssertion,
  },
  {
    name: 'unknown issuer',
    form: assertion(() => forged({}, { iss: 'https://stranger.example' })),
    ...invalidAssertion,
  },
  { name: 'forged signature', form: assertion(() => forged({}, {})), ...invalidAssertion },
  {
    name: 'wrong algorithm',
    form: assertion(() =>
      world.clouds.workloads.assertion({ subject: 'reconciler', audience: world.url, alg: 'RS256' }),
    ),
    ...invalidAssertion,
  },
  { name: 'none', form: assertion(async () => unsigned({ exp: 9e9, iat: 1 })), ...invalidAssertion },
  {
    name: 'subject outside the namespaces of its issuer',
    form: assertion(() => world.workload('someone-else')),
    ...invalidAssertion,
  },
  {
    name: 'tampered task token',
    form: async () => form(`${taskToken.slice(0, -6)}AAAAAA`, {}, { subject_token_type: accessTokenType }),
    ...invalidAssertion,
  },
  {
    name: 'unknown task',
    form: async () => form(await world.workload(), { task: 'tsk_01K00000000000000000000000' }),
    error: 'invalid_target',
    reason: 'task_unknown',
  },
  {
    name: 'someone else’s task',
    form: async () => form(await world.workload('batch/other'), { task: taskId }),
    error: 'invalid_target',
    reason: 'task_unknown',
  },
  {
    name: 'template closed to this workload',
    form: async () => form(await world.workload('batch/other'), opening('x')),
    error: 'invalid_request',
    reason: 'workload_not_matched',
  },
  {
    name: 'unknown template',
    form: async () => form(await world.workload(), { task: { template: 'nope', ref: 'r' } }),
    error: 'invalid_request',
    reason: 'workload_not_matched',
  },
  {
    name: 'parameter that does not fit',
    form: async () => form(await world.workload(), opening('y', { quarter: '1999q9' })),
    error: 'invalid_authorization_details',
    reason: 'params_invalid',
  },
  {
    name: 'tool not granted',
    form: detail({ tool: 's3.write' }),
    error: 'invalid_target',
    reason: 'tool_not_granted',
  },
  {
    name: 'resource outside',
    form: identifier('arn:aws:s3:::invoices/2026q4/a.pdf'),
    error: 'invalid_target',
    reason: 'resource_outside_grant',
  },
  {
    name: 'action outside',
    form: detail({ actions: ['delete'] }),
    error: 'invalid_target',
    reason: 'action_outside_grant',
  },
  {
    name: 'identifier with ..',
    form: identifier('arn:aws:s3:::invoices/2026q3/../2026q4/a.pdf'),
    ...badIdentifier,
  },
  { name: 'identifier with *', form: identifier('arn:aws:s3:::invoices/2026q3/*'), ...badIdentifier },
  { name: 'identifier with ?', form: identifier('arn:aws:s3:::invoices/2026q3/a.pd?'), ...badIdentifier },
  {
    name: 'identifier with ${',
    form: identifier('arn:aws:s3:::invoices/2026q3/${aws:userid}'),
    ...badIdentifier,
  },
  { name: 'identifier with NUL', form: identifier('arn:aws:s3:::invoices/2026q3/a\u0000'), ...malformed },
  {
    name: 'identifier with a lone surrogate',
    form: details(
      `[{"type":"mayfly_tool_call","tool":"s3.read","identifier":"arn:aws:s3:::invoices/2026q3/\\ud800"}]`,
    ),
    ...malformed,
  },
  {
    name: 'ttl above the maximum',
    form: detail({ ttl: 61 }),
    error: 'invalid_authorization_details',
    reason: 'ttl_too_long',
  },
  { name: 'ttl not an integer', form: detail({ ttl: 30.5 }), ...malformed },
  { name: 'ttl as text', form: detail({ ttl: '30' }), ...malformed },
  {
    name: 'two objects',
    form: details(
      `[{"type":"mayfly_tool_call","tool":"a","identifier":"b"},{"type":"mayfly_tool_call","tool":"a","identifier":"b"}]`,
    ),
    ...malformed,
  },
  { name: 'unknown field', form: detail({ admin: true }), ...malformed },
  {
    name: 'duplicate keys',
    form: details(
      `[{"type":"mayfly_tool_call","tool":"s3.write","tool":"s3.read","identifier":"${allowedKey}"}]`,
    ),
    ...malformed,
  },
  { name: 'unknown type', form: detail({ type: 'payment' }), ...malformed },
  {
    name: 'two targets',
    form: async () => form(taskToken, {}, { subject_token_type: accessTokenType, audience: 'x' }),
    error: 'invalid_target',
    reason: 'target_ambiguous',
  },
  {
    name: 'resource that names another target',
    form: async () =>
      form(taskToken, {}, { subject_token_type: accessTokenType, resource: 'https://other.example' }),
    error: 'invalid_target',
    reason: 'target_ambiguous',
  },
];

test.each(cases)(
  'refuses $name, changes nothing, audits once',
  async ({ form: make, error, reason, status = 400 }) => {
    const body = await make();
    const before = await footprint();
    const answer = await world.exchange(body);
    expect({ status: answer.status, error: answer.body.error, reason: answer.body.reason }).toEqual({
      status,
      error,
      reason,
    });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const after = await footprint();
    expect(after.row).toEqual(before.row);
    expect(after.refusals).toBe(before.refusals + 1);
  },
);

test('unknown and foreign tasks give the same bytes but for the ids', async () => {
  const strip = ({ issuance_id: _i, trace_id: _t, ...rest }: Record<string, unknown>) => rest;
  const unknown = await world.exchange(
    form(await world.workload(), { task: 'tsk_01K00000000000000000000000' }),
  );
  const foreign = await world.exchange(form(await world.workload('batch/other'), { task: taskId }));
  expect(strip(unknown.body)).toEqual(strip(foreign.body));
  expect(Object.keys(unknown.body)).toEqual(Object.keys(foreign.body));
});

test('a replayed assertion is refused, and a refusal consumed nothing', async () => {
  const once = await world.workload();
  const refused = await world.exchange(form(once, { task: taskId, tool: 's3.write' }));
  expect(refused.body.reason).toBe('tool_not_granted');
  expect((await world.exchange(form(once, { task: taskId }))).status).toBe(200);
  const again = await world.exchange(form(once, { task: taskId }));
  expect([again.status, again.body.error, again.body.reason]).toEqual([
    400,
    'invalid_request',
    'assertion_replayed',
  ]);
});

test('other parameters under the same ref are refused, equal ones find the task', async () => {
  const first = await world.exchange(form(await world.workload(), opening('same-ref')));
  const same = await world.exchange(form(await world.workload(), opening('same-ref')));
  const other = await world.exchange(
    form(await world.workload(), opening('same-ref', { quarter: '2026q2' })),
  );
  expect(same.body.issuance.task).toBe(first.body.issuance.task);
  expect(same.body.task_token).toBeUndefined();
  expect([other.body.error, other.body.reason]).toEqual(['invalid_target', 'ref_conflict']);
});

test('an ended task is refused with every subject token', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('to-end')));
  const { task } = body.issuance;
  await world.api('POST', `/v1/tasks/${task}/end`, { bearer: body.task_token });
  const byToken = await world.exchange(form(body.task_token, {}, { subject_token_type: accessTokenType }));
  const byAssertion = await world.exchange(form(await world.workload(), { task }));
  const byRef = await world.exchange(form(await world.workload(), opening('to-end')));
  expect([byToken, byAssertion, byRef].map((answer) => answer.body.reason)).toEqual([
    'task_ended',
    'task_ended',
    'task_ended',
  ]);
});

test('a repeated Idempotency-Key mints nothing and names the issuance', async () => {
  const key = { 'idempotency-key': 'once-please' };
  const first = await world.exchange(form(taskToken, {}, { subject_token_type: accessTokenType }), key);
  const again = await world.exchange(form(taskToken, {}, { subject_token_type: accessTokenType }), key);
  expect(first.status).toBe(200);
  expect([again.status, again.body.reason, again.body.issuance_id]).toEqual([
    400,
    'already_issued',
    first.body.issuance.id,
  ]);
});

test('GET on the token endpoint is 405 with Allow, another media type is refused', async () => {
  const get = await world.api('GET', '/token');
  expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
  const json = await world.exchange('{}', { 'content-type': 'application/json' });
  expect([json.status, json.body.error, json.body.reason]).toEqual([
    400,
    'invalid_request',
    'unsupported_media_type',
  ]);
});
