import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as oauth from 'oauth4webapi';
import { s3Status } from './s3.ts';
import { accessTokenType, form, opening, startWorld, until, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 60_000);

afterAll(() => world.stop());

/** Standard output, or what went wrong; never blocks, since the servers live in this process. */
async function output(program: string, args: string[], env = process.env): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { env, encoding: 'utf8' })).stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    return `${String(code)} ${stderr}`;
  }
}

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

async function ended(task: string): Promise<{ state: string; endedBy: string; provider: string }[]> {
  const bearer = await world.person();
  const { body } = await until(
    () => world.api('GET', `/v1/issuances?task=${task}`, { bearer }),
    (answer) =>
      answer.body.items?.every(({ state }: { state: string }) => state === 'ended' || state === 'refused'),
  );
  return body.items;
}

test('an exchange gives keys for one object, the end of the task denies them, and the issuance says so', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('journey')));
  expect(body).toMatchObject({
    issued_token_type: 'urn:mayfly:token-type:aws-credentials',
    token_type: 'N_A',
    expires_in: expect.any(Number),
    issuance: {
      limited_by: 'ttl',
      ends: { by: 'denied' },
      enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
    },
    authorization_details: [{ type: 'mayfly_tool_call', tool: 's3.read', actions: ['read'], ttl: 60 }],
  });
  expect(await s3Status(world, body.access_token, '2026q3/a.pdf')).toBe(200);
  expect(await s3Status(world, body.access_token, '2026q3/b.pdf')).toBe(403);
  const end = await world.api('POST', `/v1/tasks/${body.issuance.task}/end`, {
    bearer: body.task_token,
    json: { outcome: 'completed' },
  });
  expect(end.body).toMatchObject({ state: 'completed', ending: { total: 1 } });
  expect(await ended(body.issuance.task)).toMatchObject([{ state: 'ended', endedBy: 'denied' }]);
  expect(await s3Status(world, body.access_token, '2026q3/a.pdf')).toBe(403);
});

test('a second credential of the grant is cut from the same base session, and siblings live on after another task ends', async () => {
  const first = await world.exchange(form(await world.workload(), opening('sibling-1')));
  const second = await world.exchange(
    form(first.body.task_token, {}, { subject_token_type: accessTokenType }),
  );
  const other = await world.exchange(form(await world.workload(), opening('sibling-2')));
  const bases = world.clouds.aws
    .ledger()
    .filter(({ eventName }) => eventName === 'AssumeRoleWithWebIdentity');
  const identities = bases
    .map(({ requestParameters }) => requestParameters['sourceIdentity'])
    .filter((one) => one !== undefined);
  expect(new Set(identities).size).toBe(identities.length);
  await world.api('POST', `/v1/tasks/${first.body.issuance.task}/end`, { bearer: first.body.task_token });
  await ended(first.body.issuance.task);
  expect(await s3Status(world, second.body.access_token, '2026q3/a.pdf')).toBe(403);
  expect(await s3Status(world, other.body.access_token, '2026q3/a.pdf')).toBe(200);
});

test('every successful mint in the cloud’s ledger joins to exactly one issuance', async () => {
  const minted = world.clouds.aws.ledger().filter(({ responseElements }) => responseElements !== null);
  const rows = await world.sql<{ key_hash: string }>('select key_hash from issuance_delivery');
  const { createHash } = await import('node:crypto');
  const hashes = minted
    .filter(
      ({ requestParameters }) =>
        String(requestParameters['roleArn'] ?? '').endsWith('/finance') ||
        requestParameters['scopedSessionDescription'] !== undefined,
    )
    .map(
      ({ responseElements }) =>
        (responseElements as { credentials: { accessKeyId: string } }).credentials.accessKeyId,
    )
    .map((key) => createHash('sha256').update(key).digest('hex'));
  expect([...hashes].sort()).toEqual(rows.map(({ key_hash: hash }) => hash).sort());
});

test('a tool token is an at+jwt for its server, active until its task ends, and nothing at /v1', async () => {
  const { body } = await world.exchange(form(await world.workload(), { ...opening('tool'), ...report }));
  const server = () => world.workload('tools/reports');
  const introspect = async (bearer: string, token: string = body.access_token) =>
    fetch(`${world.url}/introspect`, {
      method: 'POST',
      body: new URLSearchParams({ token }),
      headers: { authorization: `Bearer ${bearer}` },
    });
  const as = { issuer: world.url, jwks_uri: `${world.url}/jwks` };
  const claims = await oauth.validateJwtAccessToken(
    as,
    new Request('https://reports.example', { headers: { authorization: `Bearer ${body.access_token}` } }),
    'https://reports.example/mcp',
    {
      [oauth.allowInsecureRequests]: true,
    },
  );
  expect(claims).toMatchObject({
    sub: 'local/reconciler',
    client_id: 'local/reconciler',
    jti: body.issuance.id,
  });
  expect(await (await introspect(await server())).json()).toMatchObject({
    active: true,
    txn: body.issuance.task,
  });
  expect(await (await introspect(await server(), `${body.access_token.slice(0, -4)}AAAA`)).json()).toEqual({
    active: false,
  });
  expect((await introspect(await world.workload())).status).toBe(401);
  expect((await world.api('GET', '/v1/whoami', { bearer: body.access_token })).status).toBe(401);
  expect(
    (await world.exchange(form(body.access_token, {}, { subject_token_type: accessTokenType }))).body.reason,
  ).toBe('assertion_invalid');
  await world.api('POST', `/v1/tasks/${body.issuance.task}/end`, { bearer: body.task_token });
  expect(await (await introspect(await server())).json()).toEqual({ active: false });
});

test('oauth4webapi performs the exchange unmodified', async () => {
  const as = await oauth.processDiscoveryResponse(
    new URL(world.url),
    await oauth.discoveryRequest(new URL(world.url), {
      algorithm: 'oauth2',
      [oauth.allowInsecureRequests]: true,
    }),
  );
  const { grant_type: grantType, ...parameters } = form(await world.workload(), {
    ...opening('oauth4webapi'),
    ...report,
  });
  const response = await oauth.genericTokenEndpointRequest(
    as,
    { client_id: 'any' },
    oauth.None(),
    String(grantType),
    new URLSearchParams(parameters),
    {
      [oauth.allowInsecureRequests]: true,
    },
  );
  const result = await oauth.processGenericTokenEndpointResponse(as, { client_id: 'any' }, response);
  expect(result).toMatchObject({ token_type: 'bearer', access_token: expect.any(String) });
});

test('audience names a stored grant of exactly one resource', async () => {
  const opened = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload(),
    json: { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
  });
  const grant = opened.body.grants.find(({ tool }: { tool: string }) => tool === 'report.post');
  const { authorization_details: _, ...rest } = form(await world.workload(), {});
  const answer = await world.exchange({ ...rest, audience: `${world.url}/grants/${grant.id}` });
  expect([answer.status, answer.body.token_type]).toEqual([200, 'Bearer']);
});

test('suspension denies what is out, resumption gives a new generation', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('suspended')));
  const { task } = body.issuance;
  const operator = await world.person();
  const suspended = await world.api('POST', `/v1/tasks/${task}/suspend`, {
    bearer: operator,
    json: { reason: 'look' },
  });
  expect([suspended.status, suspended.body.state]).toEqual([200, 'suspended']);
  await ended(task);
  expect(await s3Status(world, body.access_token, '2026q3/a.pdf')).toBe(403);
  expect(
    (await world.exchange(form(body.task_token, {}, { subject_token_type: accessTokenType }))).body.reason,
  ).toBe('task_suspended');
  expect((await world.api('POST', `/v1/tasks/${task}/resume`, { bearer: body.task_token })).status).toBe(403);
  expect((await world.api('POST', `/v1/tasks/${task}/resume`, { bearer: operator })).body).toMatchObject({
    state: 'open',
    generation: 2,
  });
  const fresh = await world.exchange(form(body.task_token, {}, { subject_token_type: accessTokenType }));
  expect(await s3Status(world, fresh.body.access_token, '2026q3/a.pdf')).toBe(200);
  expect(await s3Status(world, body.access_token, '2026q3/a.pdf')).toBe(403);
});

test('a freeze stops issuing at once and a thaw ends it', async () => {
  const operator = await world.person();
  expect(
    (await world.api('POST', '/v1/freeze', { bearer: await world.person(['audit']), json: { reason: 'x' } }))
      .status,
  ).toBe(403);
  const frozen = await world.api('POST', '/v1/freeze', { bearer: operator, json: { reason: 'INC-1' } });
  expect(frozen.body).toMatchObject({ frozen: true, reason: 'INC-1', drained: true });
  const refused = await world.exchange(form(await world.workload(), opening('frozen')));
  expect([refused.status, refused.body.error, refused.body.reason]).toEqual([
    503,
    'temporarily_unavailable',
    'frozen',
  ]);
  expect(refused.headers.get('retry-after')).not.toBeNull();
  await world.api('POST', '/v1/thaw', { bearer: operator, json: { reason: 'over' } });
  expect((await world.exchange(form(await world.workload(), opening('thawed')))).status).toBe(200);
});

test('budget and per-workload limits are counted, and their refusals say when to come back', async () => {
  const yaml = (name: string, limits: string, grant: string) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: t }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  task: { maxDuration: 10m, lease: 5m${limits} }
  grants:
    - { name: g, tool: t, resource: "https://reports.example/x", mint: { provider: token, server: reports }, actions: [read], effects: [read], budget: { ${grant} } }
`;
  const apply = async (text: string, set: string) =>
    world.api('POST', `/v1/apply?set=${set}`, { bearer: await world.person(), yaml: text });
  expect(
    (await apply(yaml('limited', ', maxOpen: 1, opensPerHour: 2', 'exchanges: 2'), 'limits')).status,
  ).toBe(200);
  expect((await apply(yaml('paced', '', 'perMinute: 1'), 'pace')).status).toBe(200);
  const ask = async (template: string, ref: string) =>
    world.exchange(
      form(await world.workload(), {
        tool: 't',
        identifier: 'https://reports.example/x',
        task: { template, ref },
      }),
    );
  const first = await ask('limited', 'a');
  expect((await ask('limited', 'a')).status).toBe(200);
  const spent = await ask('limited', 'a');
  expect([spent.status, spent.body.error, spent.body.reason]).toEqual([400, 'access_denied', 'budget_spent']);
  expect([(await ask('limited', 'b')).status, (await ask('limited', 'b')).body.reason]).toEqual([
    429,
    'too_many_open_tasks',
  ]);
  await world.api('POST', `/v1/tasks/${first.body.issuance.task}/end`, { bearer: first.body.task_token });
  const second = await ask('limited', 'c');
  expect(second.status).toBe(200);
  await world.api('POST', `/v1/tasks/${second.body.issuance.task}/end`, { bearer: second.body.task_token });
  expect((await ask('limited', 'd')).body.reason).toBe('rate_limited');
  expect((await ask('paced', 'p')).status).toBe(200);
  const paced = await ask('paced', 'p');
  expect([paced.status, paced.body.error, Number(paced.headers.get('retry-after')) > 0]).toEqual([
    429,
    'temporarily_unavailable',
    true,
  ]);
});

test('narrowing a template reaches an open task at the next exchange, widening does not', async () => {
  const document = (resource: string) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: moving, owner: t }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  grants:
    - { name: g, tool: t, resource: "${resource}", mint: { provider: token, server: reports }, actions: [read], effects: [read] }
`;
  const apply = async (resource: string) =>
    world.api('POST', '/v1/apply?set=moving', { bearer: await world.person(), yaml: document(resource) });
  await apply('https://reports.example/a/**');
  const ask = async (identifier: string) =>
    world.exchange(
      form(await world.workload(), { tool: 't', identifier, task: { template: 'moving', ref: 'one' } }),
    );
  expect((await ask('https://reports.example/a/1')).status).toBe(200);
  const plan = await world.api('POST', '/v1/plan?set=moving', {
    bearer: await world.person(),
    yaml: document('https://reports.example/a/1'),
  });
  expect(plan.body.changes).toMatchObject([
    { action: 'update', name: 'moving', from: 1, to: 2, paths: ['spec.grants[0].resource'] },
  ]);
  await apply('https://reports.example/a/1');
  expect((await ask('https://reports.example/a/2')).body.reason).toBe('resource_outside_grant');
  expect((await ask('https://reports.example/a/1')).status).toBe(200);
  await apply('https://reports.example/**');
  expect((await ask('https://reports.example/b')).body.reason).toBe('resource_outside_grant');
  await world.api('POST', '/v1/apply?set=moving&prune=true', { bearer: await world.person(), yaml: '' });
  expect((await ask('https://reports.example/a/1')).body.reason).toBe('workload_not_matched');
});

test('boto3 and the AWS CLI work with the credential, where they are installed', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('boto3')));
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-boto-'));
  const config = join(dir, 'config');
  writeFileSync(join(dir, 'keys.json'), body.access_token, { mode: 0o600 });
  writeFileSync(
    config,
    `[default]\nregion = eu-west-1\ncredential_process = cat ${join(dir, 'keys.json')}\n`,
  );
  const env = { ...process.env, AWS_CONFIG_FILE: config, AWS_EC2_METADATA_DISABLED: 'true' };
  const run = (program: string, args: string[]) => output(program, args, env);
  if ((await run('python3', ['-c', 'import boto3; print("yes")'])).trim() !== 'yes')
    console.log('skipped: boto3 is not installed');
  else {
    const script = `import boto3,sys
s3=boto3.client('s3',endpoint_url='${world.file.aws}')
print(s3.get_object(Bucket='invoices',Key='2026q3/a.pdf')['Body'].read().decode().strip())
try: s3.get_object(Bucket='invoices',Key='2026q4/a.pdf')
except Exception as e: print(e.response['Error']['Code'])`;
    expect(await run('python3', ['-c', script])).toBe('invoice 2026q3/a.pdf\nAccessDenied\n');
  }
  if (!/aws-cli/.test(await run('aws', ['--version']))) console.log('skipped: the AWS CLI is not installed');
  else
    expect(
      await run('aws', [
        's3api',
        'get-object',
        '--endpoint-url',
        world.file.aws,
        '--bucket',
        'invoices',
        '--key',
        '2026q3/a.pdf',
        join(dir, 'out'),
      ]),
    ).toContain('ContentLength');
}, 60_000);

test('psql, as the auditor’s login, reads the views and nothing else', async () => {
  const run = (sql: string) => output('psql', ['-At', world.running.databaseUrls.auditor ?? '', '-c', sql]);
  if ((await run('select 1')).includes('ENOENT')) return console.log('skipped: psql is not installed');
  const denied = await run(
    "select count(*) from mayfly_issuances_v1 where state = 'ended' and ended_by = 'denied'",
  );
  expect(Number(denied)).toBeGreaterThan(0);
  for (const view of ['mayfly_audit_v1', 'mayfly_tasks_v1', 'mayfly_grants_v1'])
    expect(Number(await run(`select count(*) from ${view}`))).toBeGreaterThan(0);
  expect(await run('select * from issuance')).toContain('permission denied');
  return undefined;
});

test('no secret stands in the database or in the log', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('secrets')));
  const { SecretAccessKey, SessionToken } = JSON.parse(body.access_token);
  const dump = JSON.stringify([
    await world.sql('select * from issuance'),
    (await world.sql<{ body: Buffer }>('select body from audit_entry')).map((row) =>
      row.body.toString('utf8'),
    ),
    await world.sql('select * from task'),
    await world.sql('select * from idempotency'),
  ]);
  const { readFileSync } = await import('node:fs');
  const log = readFileSync(join(world.dataDir, 'mayfly.log'), 'utf8');
  for (const secret of [SecretAccessKey, SessionToken, body.task_token]) {
    expect(dump.includes(secret)).toBe(false);
    expect(log.includes(secret)).toBe(false);
  }
});
