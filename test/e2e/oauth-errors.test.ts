import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { errorCodes } from '@mayfly/protocol';
import { type ProofMaker, proofMaker } from './dpop.ts';
import { type Answer, accessTokenType, form, jwtType, opening, startWorld, type World } from './world.ts';

/** Which error the token endpoint answers to what: one row a line of the profile, against the running server. */
let world: World;
let taskToken = '';
let foreignTask = '';
let client: ProofMaker;
/** Set: the store fails as only a mistake of ours would make it fail. */
let broken = false;

beforeAll(async () => {
  world = await startWorld({
    settings: { refusalRowsPerSecond: 1000 },
    edit: (text) =>
      text
        .replace('budget: { exchanges: 500, perMinute: 120 }', 'budget: { exchanges: 3, perMinute: 2 }')
        // One task is refused in every way there is: that is no deviation here.
        .replace('after: 5', 'after: 100')
        .replace('budgetSpent: suspend', 'budgetSpent: note'),
    decorate: (name, port) =>
      name !== 'tasks'
        ? port
        : new Proxy(port, {
            get: (target, key, receiver) => {
              if (broken && key === 'find') throw new TypeError('a mistake of ours');
              return Reflect.get(target, key, receiver);
            },
          }),
  });
  client = await proofMaker();
  const bearer = await world.workload();
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
  taskToken = (await world.api('POST', '/v1/tasks', { bearer, json })).body.taskToken;
  const other = { ...json, ref: 'foreign' };
  foreignTask = (await world.api('POST', '/v1/tasks', { bearer: await world.workload(), json: other })).body
    .id;
}, 60_000);

afterAll(() => world.stop());

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const mine = (detail: Record<string, unknown> = {}, more: Record<string, string> = {}) =>
  form(taskToken, { ...report, ...detail }, { subject_token_type: accessTokenType, ...more });
const by = async (subject: string, detail: Record<string, unknown>, more: Record<string, string> = {}) =>
  form(await world.workload(subject), { ...report, ...detail }, more);
const plain = { 'content-type': 'text/plain' };
const details = (text: string) => ({ ...mine(), authorization_details: text });
const unknownTask = 'tsk_01K00000000000000000000000';

type Ask = () => Promise<Answer>;
const post =
  (make: () => Promise<Record<string, string> | string> | Record<string, string> | string): Ask =>
  async () =>
    world.exchange(await make());

interface Row {
  readonly line: string;
  readonly error: string;
  readonly status?: number;
  readonly asks: Readonly<Record<string, Ask>>;
}

const rows: readonly Row[] = [
  {
    line: 'malformed, repeated or missing parameter, bad media type',
    error: 'invalid_request',
    asks: {
      'not UTF-8': async () =>
        world.exchange('grant_type=%FF', {
          'content-type': 'application/x-www-form-urlencoded',
        }),
      'half an escape': async () => world.exchange(`${new URLSearchParams(mine())}&x=%e2%82`),
      repeated: post(() => `${new URLSearchParams(mine())}&subject_token=x`),
      'no grant_type': post(() => ({})),
      'empty is absent': post(() => ({ ...mine(), subject_token: '' })),
      'no descriptor': post(() => ({ ...mine(), authorization_details: '' })),
      'media type': async () => world.exchange(String(new URLSearchParams(mine())), plain),
      'actor without type': post(() => mine({}, { actor_token: 'x' })),
      'type without actor': post(() => mine({}, { actor_token_type: jwtType })),
      'another subject token type': post(() =>
        mine({}, { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }),
      ),
      'a type that the grant does not mint': post(() => mine({}, { requested_token_type: jwtType })),
    },
  },
  {
    line: 'no grant for target; task unknown or ended; tool or resource not in grant',
    error: 'invalid_target',
    asks: {
      'unknown task': post(() => by('reconciler', { task: unknownTask })),
      'task of another workload': post(() => by('tools/reports', { task: foreignTask })),
      'ended task': async () => {
        const ended = await world.exchange(await by('reconciler', opening('ended')));
        const { task } = ended.body.issuance;
        await world.api('POST', `/v1/tasks/${task}/end`, { bearer: ended.body.task_token });
        return world.exchange(await by('reconciler', { task }));
      },
      tool: post(() => mine({ tool: 'mail.send' })),
      resource: post(() => mine({ identifier: 'https://reports.example/2026q4' })),
      action: post(() => mine({ actions: ['delete'] })),
      'another resource parameter': post(() => mine({}, { resource: 'https://elsewhere.example' })),
      'no absolute URI': post(() => mine({}, { resource: 'foo' })),
      'a fragment': post(() => mine({}, { resource: `${report.identifier}#f` })),
      'another audience': post(() => mine({}, { audience: 'somebody' })),
      'two resources': post(
        () => `${new URLSearchParams(mine())}&resource=${report.identifier}&resource=https://x.example`,
      ),
      'a grant of nobody': post(() =>
        mine({}, { audience: `${world.url}/grants/grt_01K00000000000000000000000` }),
      ),
    },
  },
  {
    line: 'unknown grant_type',
    error: 'unsupported_grant_type',
    asks: { password: post(() => ({ ...mine(), grant_type: 'password' })) },
  },
  {
    line: 'RAR unknown type, field or value; wider than the template’s schema',
    error: 'invalid_authorization_details',
    asks: {
      type: post(() => mine({ type: 'payment_initiation' })),
      field: post(() => mine({ amount: 1 })),
      value: post(() => mine({ actions: ['fly'] })),
      'no array': post(() => details('{}')),
      two: post(() => details(JSON.stringify([{}, {}]))),
      'no JSON': post(() => details('[')),
      'duplicate keys': post(() =>
        details('[{"type":"mayfly_tool_call","tool":"a","tool":"b","identifier":"c"}]'),
      ),
      'life above the maximum': post(() => mine({ ttl: 3600 })),
      'parameters outside the template': post(() => by('reconciler', opening('bad', { quarter: '1999q9' }))),
    },
  },
  {
    line: 'assertion: bad signature, expired, wrong aud, unknown issuer, typ, alg, replayed jti',
    error: 'invalid_request',
    asks: {
      signature: post(async () => {
        const [head, , tail] = (await world.workload()).split('.');
        const claims = Buffer.from(JSON.stringify({ iss: world.file.workloads, sub: 'reconciler' }));
        return form(`${head}.${claims.toString('base64url')}.${tail}`, opening('x'));
      }),
      expired: post(async () => {
        const audience = world.url;
        const token = await world.clouds.workloads.assertion({
          subject: 'reconciler',
          audience,
          lifetimeSeconds: -60,
        });
        return form(token, opening('x'));
      }),
      audience: post(async () => {
        const audience = 'https://elsewhere.example';
        return form(
          await world.clouds.workloads.assertion({ subject: 'reconciler', audience }),
          opening('x'),
        );
      }),
      issuer: post(() => form('e30.eyJpc3MiOiJodHRwczovL3guZXhhbXBsZSJ9.x', opening('x'))),
      'no token at all': post(() => form('nonsense', opening('x'))),
      'a tool token as task token': async () => {
        const issued = await world.exchange(mine());
        return world.exchange({ ...mine(), subject_token: issued.body.access_token });
      },
      replayed: async () => {
        const once = await world.workload();
        await world.exchange(form(once, { ...report, ...opening('replayed') }));
        return world.exchange(form(once, { ...report, ...opening('replayed') }));
      },
    },
  },
  {
    line: 'scope not allowed',
    error: 'invalid_scope',
    asks: {
      'no verb': post(() => mine({}, { scope: 'call' })),
      'a verb outside the grant': post(() => mine({}, { scope: 'delete' })),
      'less than the actions asked for': post(() => mine({ actions: ['write'] }, { scope: 'read' })),
    },
  },
  {
    line: 'subject/actor refused by policy, may_act mismatch, no delegation rule',
    error: 'invalid_request',
    asks: {
      subject: post(() => by('tools/reports', opening('not-matched'))),
      'no delegation rule': post(async () =>
        by('reconciler', opening('acted'), {
          actor_token: await world.workload('batch/one'),
          actor_token_type: jwtType,
        }),
      ),
      'may_act names another': post(async () => {
        const mayAct = { may_act: { iss: world.file.workloads, sub: 'batch/other' } };
        return form(
          await world.workload('reconciler', mayAct),
          { ...report, ...opening('may-act') },
          { actor_token: await world.workload('batch/one'), actor_token_type: jwtType },
        );
      }),
    },
  },
  {
    line: 'DPoP bad, missing, replayed',
    error: 'invalid_dpop_proof',
    asks: {
      bad: async () => world.exchange(mine(), { dpop: 'x.y.z' }),
      'for another URL': async () =>
        world.exchange(mine(), { dpop: await client.proof({ url: `${world.url}/elsewhere` }) }),
      'missing for a token that is bound': async () => {
        const form_ = await by('reconciler', opening('bound'));
        const opened = await world.exchange(form_, {
          dpop: await client.proof({ url: `${world.url}/token` }),
        });
        return world.exchange({ ...mine(), subject_token: opened.body.task_token });
      },
      replayed: async () => {
        const dpop = await client.proof({ url: `${world.url}/token` });
        await world.exchange(await by('reconciler', opening('proof-1')), { dpop });
        return world.exchange(await by('reconciler', opening('proof-2')), { dpop });
      },
    },
  },
  {
    line: 'nonce needed',
    error: 'use_dpop_nonce',
    asks: {
      'not one of ours': async () => {
        const dpop = await client.proof({ url: `${world.url}/token`, claims: { nonce: 'foreign' } });
        return world.exchange(mine(), { dpop });
      },
    },
  },
  {
    line: 'client assertion bad',
    error: 'invalid_client',
    status: 401,
    asks: {
      'of another workload': post(async () =>
        mine(
          {},
          {
            client_assertion: await world.workload('tools/reports'),
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
          },
        ),
      ),
      'a secret': post(() => mine({}, { client_id: 'x', client_secret: 'y' })),
      Basic: async () => world.exchange(mine(), { authorization: 'Basic eDp5' }),
    },
  },
  {
    line: 'deferral_code unknown or used',
    error: 'invalid_grant',
    asks: {
      unknown: post(() => ({ grant_type: 'urn:ietf:params:oauth:grant-type:deferred', deferral_code: 'x' })),
    },
  },
  {
    line: 'cap, rate, budget spent',
    error: 'temporarily_unavailable',
    status: 429,
    asks: {
      'per minute': async () => {
        const read = form(taskToken, {}, { subject_token_type: accessTokenType });
        for (let count = 0; count < 2; count += 1) await world.exchange(read);
        return world.exchange(read);
      },
    },
  },
  {
    line: 'budget spent for good',
    error: 'access_denied',
    asks: {
      exchanges: async () => {
        await world.sql(`update task_grant set uses = 3 where tool = 's3.read'`);
        return world.exchange(form(taskToken, {}, { subject_token_type: accessTokenType }));
      },
    },
  },
  {
    line: 'body too large',
    error: 'invalid_request',
    status: 413,
    asks: { 'seventy thousand bytes': post(() => ({ ...mine(), filler: 'x'.repeat(70_000) })) },
  },
  {
    line: 'provider, database or key service down',
    error: 'temporarily_unavailable',
    status: 503,
    asks: {
      frozen: async () => {
        await world.api('POST', '/v1/freeze', { bearer: await world.person(), json: { reason: 'test' } });
        const refused = await world.exchange(mine());
        await world.api('POST', '/v1/thaw', { bearer: await world.person(), json: { reason: 'over' } });
        return refused;
      },
    },
  },
  {
    line: 'bug',
    error: 'server_error',
    status: 500,
    asks: {
      'a TypeError': async () => {
        broken = true;
        const answer = await world.exchange(mine());
        broken = false;
        return answer;
      },
    },
  },
];

const cases = rows.flatMap(({ asks, line, error, status = 400 }) =>
  Object.entries(asks).map(([name, ask]) => ({ line, name, error, status, ask })),
);

test.each(cases)('$line ($name): $status $error', async ({ error, status, ask }) => {
  const { status: answered, body, headers } = await ask();
  expect([answered, body.error, body.reason]).toEqual([status, error, expect.any(String)]);
  expect(Object.keys(body).filter((key) => !known.includes(key))).toEqual([]);
  expect(body.error_description).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
  expect(body.error_uri).toBe(`${world.url}/errors/${body.reason}`);
  expect([headers.get('content-type'), headers.get('cache-control'), headers.get('pragma')]).toEqual([
    'application/json',
    'no-store',
    'no-cache',
  ]);
  expect(headers.get('retry-after') !== null).toBe(status === 429 || status === 503);
  // Only a client that tried a scheme is told one (RFC 6749 section 5.2).
  const tried = status === 401 ? [null, 'Basic realm="mayfly"'] : [null];
  expect(tried).toContain(headers.get('www-authenticate'));
});

const known = ['error', 'error_description', 'error_uri', 'reason', 'issuance_id', 'trace_id'];

test('whatever is wrong with an assertion, the description is one', async () => {
  const descriptions = new Set<string>();
  for (const { line, ask } of cases)
    if (line.startsWith('assertion:')) descriptions.add((await ask()).body.error_description);
  expect(descriptions.size).toBe(1);
});

test('an unknown task and one of another workload are answered alike, but for the ids of the request', async () => {
  const [unknown, foreign] = [
    await world.exchange(await by('tools/reports', { task: unknownTask })),
    await world.exchange(await by('tools/reports', { task: foreignTask })),
  ];
  const { issuance_id: _, trace_id: __, ...same } = unknown.body;
  expect(foreign.body).toEqual({ ...same, issuance_id: expect.any(String), trace_id: expect.any(String) });
});

test('lines of the profile that no reason stands for are not claimed', () => {
  // No workload is kept from a grant type, and nothing is deferred for long enough to be polled too fast.
  const codes = new Set<string>(Object.values(errorCodes).map(({ oauth }) => oauth));
  // The device flow has slow_down, expired_token and authorization_pending (RFC 8628), which exchanges do not give yet.
  expect(codes.has('unauthorized_client')).toBe(false);
});
