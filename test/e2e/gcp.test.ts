import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Storage } from '@google-cloud/storage';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { parseId } from '@mayfly/protocol';
import { type GcpStandin, startGcp } from '@mayfly/standins';
import { IdentityPoolClient } from 'google-auth-library';
import { type Answer, form, jwtType, startWorld, type World } from './world.ts';

const example = fileURLToPath(new URL('../../examples/clouds/gcp.yaml', import.meta.url));
const pool = 'projects/123456789/locations/global/workloadIdentityPools/mayfly';
const finance = 'finance@acme-prod.iam.gserviceaccount.com';
const events = 'events@acme-prod.iam.gserviceaccount.com';

let world: World;
let gcp: GcpStandin;
/** Google's clock runs ahead of ours by this much: what has expired there, without waiting for it. */
let aheadMs = 0;

beforeAll(async () => {
  world = await startWorld();
  gcp = await startGcp({ now: () => new Date(Date.now() + aheadMs) });
  gcp.createPoolProvider(`${pool}/providers/broker`, `${world.url}/federation`);
  const tokenCreators = [`principal://iam.googleapis.com/${pool}/subject/mayfly:local-gcp:mint`];
  const roles = { invoices: ['roles/storage.objectUser'], archive: ['roles/storage.objectUser'] };
  gcp.createServiceAccount({ email: finance, tokenCreators, roles });
  gcp.createServiceAccount({
    ...{ email: events, tokenCreators },
    roles: { 'projects/acme-prod/topics/invoices': ['roles/pubsub.publisher'] },
  });
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf']) gcp.putObject('invoices', name, name);
  const yaml = readFileSync(example, 'utf8').replaceAll('http://127.0.0.1:4567', gcp.url);
  const applied = await apply(yaml);
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
}, 60_000);

afterAll(async () => {
  await gcp.close();
  await world.stop();
});
beforeEach(() => {
  aheadMs = 0;
});

async function apply(yaml: string, set = 'gcp'): Promise<Answer> {
  return world.api('POST', `/v1/apply?set=${set}`, { bearer: await world.person(), yaml });
}

const task = (ref: string) => ({
  task: { template: 'invoice-archive', ref, params: { quarter: '2026q3' }, objective: 'test' },
});
const exchange = async (ref: string, detail: Record<string, unknown>) =>
  world.exchange(form(await world.workload(), { ...task(ref), ...detail }));
const invoice = { tool: 'gcs.read', identifier: 'gs://invoices/2026q3/a.pdf' };

test('an exchange gives a URL for one object and one method, until its end', async () => {
  const { status, body } = await exchange('url', { ...invoice, ttl: 30 });
  expect([status, body]).toMatchObject([
    200,
    {
      issued_token_type: 'urn:mayfly:token-type:signed-url',
      token_type: 'N_A',
      issuance: {
        ends: { by: 'expired', worst_case_seconds: expect.any(Number) },
        enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
      },
    },
  ]);
  const url = String(body.access_token);
  const answer = await fetch(url);
  expect([answer.status, await answer.text()]).toEqual([200, '2026q3/a.pdf']);
  expect((await fetch(url.replace('a.pdf', 'b.pdf'))).status).toBe(403);
  expect((await fetch(url, { method: 'PUT', body: 'x' })).status).toBe(403);
  aheadMs = 31_000;
  expect((await fetch(url)).status).toBe(400);
});

test('a URL is for one action: a request for all of a grant’s is refused, and told to name one', async () => {
  const several = readFileSync(example, 'utf8').replaceAll('http://127.0.0.1:4567', gcp.url);
  const yaml = several
    .slice(several.indexOf('kind: GrantTemplate') - 'apiVersion: mayfly/v1\n'.length)
    .replace('name: invoice-archive', 'name: several-actions')
    .replace('actions: [read]', 'actions: [read, delete]')
    .replace('effects: [read]', 'effects: [read, delete]')
    .replace(/ {4}- name: announce[\s\S]*(?= {2}deviation)/, '');
  expect(await apply(yaml, 'several')).toMatchObject({ status: 200 });
  const { task: opened } = task('several');
  const ask = async (ref: string, more: object) =>
    exchange(ref, { task: { ...opened, ref, template: 'several-actions' }, ...invoice, ...more });
  const { body } = await ask('several', {});
  expect(body).toMatchObject({ error: 'invalid_target', reason: 'one_action_only' });
  expect((await ask('several-read', { actions: ['read'] })).status).toBe(200);
});

test('a URL that creates overwrites nothing', async () => {
  const identifier = 'gs://archive/2026q3/a.pdf';
  const { body } = await exchange('create', { tool: 'gcs.archive', identifier });
  const put = (headers: Record<string, string>) =>
    fetch(body.access_token, { method: 'PUT', headers, body: 'archived' });
  expect((await put({})).status).toBe(403);
  const once = { 'x-goog-if-generation-match': '0' };
  expect([(await put(once)).status, (await put(once)).status]).toEqual([200, 412]);
});

test('what ends only by expiry is said to, and waits for it', async () => {
  const { body } = await exchange('end', invoice);
  const path = `/v1/tasks/${body.issuance.task}/end`;
  const end = await world.api('POST', path, { bearer: body.task_token, json: { outcome: 'completed' } });
  expect(end.body).toMatchObject({ state: 'completed', ending: { total: 1, byExpiry: 1 } });
  expect((await fetch(body.access_token)).status).toBe(200);
  expect((await exchange('end', invoice)).body.reason).toBe('task_ended');
});

/** An agent of Google's own libraries, which knows of Mayfly only the address of /token and a stored grant. */
async function googleAgent(ref: string) {
  const json = { template: 'invoice-archive', params: { quarter: '2026q3' }, ref };
  const { body } = await world.api('POST', '/v1/tasks', { bearer: await world.workload(), json });
  const grant = body.grants.find(({ tool }: { tool: string }) => tool === 'gcs.browse');
  let exchanges = 0;
  const authClient = new IdentityPoolClient({
    type: 'external_account',
    audience: `${world.url}/grants/${grant.id}`,
    subject_token_type: jwtType,
    token_url: `${world.url}/token`,
    subject_token_supplier: {
      getSubjectToken: () => {
        exchanges += 1;
        return world.workload();
      },
    },
    scopes: ['https://www.googleapis.com/auth/devstorage.read_only'],
    // Without it the library takes a token of a minute for expired, and asks anew at each request.
    eagerRefreshThresholdMillis: 1000,
  });
  const storage = new Storage({
    ...{ apiEndpoint: gcp.url, useAuthWithCustomEndpoint: true, projectId: 'acme-prod', authClient },
    retryOptions: { autoRetry: false },
  });
  return { bucket: storage.bucket('invoices'), exchanges: () => exchanges };
}

const code = (run: Promise<unknown>) =>
  run.then(
    () => 200,
    (error: unknown) => Reflect.get(Object(error), 'code'),
  );

test('Google’s own libraries read one prefix with our /token as their STS, and are refused its neighbours', async () => {
  const { bucket, exchanges } = await googleAgent('libraries');
  const [content] = await bucket.file('2026q3/a.pdf').download();
  expect(content.toString('utf8')).toBe('2026q3/a.pdf');
  const [files] = await bucket.getFiles({ prefix: '2026q3/' });
  expect(files.map(({ name }) => name)).toEqual(['2026q3/a.pdf', '2026q3/b.pdf']);
  expect(await code(bucket.file('2026q4/a.pdf').download())).toBe(403);
  expect(await code(bucket.getFiles())).toBe(403);
  expect(await code(bucket.file('2026q3/new').save('x', { resumable: false }))).toBe(403);
  expect(await code(bucket.file('2026q3/a.pdf').delete())).toBe(403);
  expect(exchanges()).toBe(1);
  aheadMs = 61_000;
  expect(await code(bucket.file('2026q3/a.pdf').download())).toBe(401);
});

test('an unscoped token says that nothing holds it to its resource', async () => {
  const identifier = '//pubsub.googleapis.com/projects/acme-prod/topics/invoices';
  const { body } = await exchange('unscoped', { tool: 'pubsub.publish', identifier });
  expect(body).toMatchObject({
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    issuance: { enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' } },
  });
  expect(gcp.ledger().at(-1)).toMatchObject({ action: 'GenerateAccessToken', resource: events, status: 200 });
  // Its account alone narrows it: to that topic, and to publishing.
  const call = async (method: string, path: string) => {
    const headers = { authorization: `Bearer ${body.access_token}` };
    const message = method === 'POST' ? { body: JSON.stringify({ messages: [{ data: 'eA==' }] }) } : {};
    return (await fetch(`${gcp.url}${path}`, { method, headers, ...message })).status;
  };
  const topics = '/v1/projects/acme-prod/topics';
  expect([
    await call('POST', `${topics}/invoices:publish`),
    await call('POST', `${topics}/payroll:publish`),
    await call('GET', `${topics}/invoices`),
    await call('GET', '/storage/v1/b/invoices/o?prefix=2026q3/'),
  ]).toEqual([200, 403, 403, 403]);
  aheadMs = 61_000;
  expect(await call('POST', `${topics}/invoices:publish`)).toBe(401);
});

test('a template that does not accept an unscoped token is refused, and told why', async () => {
  const yaml = readFileSync(example, 'utf8').replaceAll('http://127.0.0.1:4567', gcp.url);
  const { status, body } = await apply(yaml.replace(', accept: unscoped', ''));
  expect(status).toBe(400);
  expect(JSON.stringify(body)).toContain('gcp.token opens all that its service account may');
});

test.each([
  [
    'a neighbour of the grant',
    { ...invoice, identifier: 'gs://invoices/2026q4/a.pdf' },
    'resource_outside_grant',
  ],
  ['another method', { ...invoice, actions: ['delete'] }, 'action_outside_grant'],
  ['a prefix as an object', { ...invoice, identifier: 'gs://invoices/2026q3/' }, 'resource_outside_grant'],
  ['a quote', { ...invoice, identifier: "gs://invoices/2026q3/'" }, 'identifier_malformed'],
])('refuses %s, and asks Google for nothing', async (_, detail, reason) => {
  const before = gcp.ledger().length;
  expect((await exchange(`refused-${reason}`, detail)).body.reason).toBe(reason);
  expect(gcp.ledger()).toHaveLength(before);
});

test('while Google is away nothing is issued, and then it is', async () => {
  gcp.faults.arm({ action: 'SignBlob', mode: 'refuse', status: 503 });
  const { status, body } = await exchange('away', invoice);
  expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
  expect(JSON.stringify(body)).not.toContain('iam.gserviceaccount');
  expect((await exchange('away-2', invoice)).status).toBe(200);
});

test('everything that Google made joins to exactly one issuance, and no secret was kept', async () => {
  const made = gcp
    .ledger()
    .filter(({ action, status }) => ['SignBlob', 'GenerateAccessToken'].includes(action) && status === 200)
    .map(({ issuance }) => parseId('isn', issuance ?? ''));
  expect(made.length).toBeGreaterThan(4);
  expect(new Set(made).size).toBe(made.length);
  const rows = await world.sql<{ id: string }>(
    "select id from mayfly_issuances_v1 where provider = 'local-gcp'",
  );
  const known = new Set(rows.map(({ id }) => id));
  for (const id of made) expect(known).toContain(id);
  const kept = await world.sql<{ text: string }>('select row_to_json(i)::text as text from issuance i');
  const log = readFileSync(join(world.dataDir, 'mayfly.log'), 'utf8');
  const text = log + kept.map((row) => row.text).join('\n');
  for (const token of gcp.tokens()) expect(text.includes(token)).toBe(false);
  expect(text).not.toContain('X-Goog-Signature');
});

test('Google’s libraries print no token, though their own variable asks them to', async () => {
  const assertion = await world.running.broker.tokens.signFederation({
    ...{ provider: 'local-gcp', purpose: 'mint' },
    audience: `https://iam.googleapis.com/${pool}/providers/broker`,
  });
  const child = fileURLToPath(new URL('./gcp-quiet-child.ts', import.meta.url));
  const before = gcp.tokens().length;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--no-warnings', child], {
    env: {
      ...{ PATH: process.env['PATH'], GOOGLE_SDK_NODE_LOGGING: '*', GCP_URL: gcp.url },
      ...{ ASSERTION: assertion, POOL_PROVIDER: `${pool}/providers/broker` },
    },
  });
  expect(stdout).toMatch(/^minted until /);
  const made = gcp.tokens().slice(before);
  expect(made).toHaveLength(3);
  for (const token of [...made, assertion]) expect((stdout + stderr).includes(token)).toBe(false);
});

test('the live script for people with a project holds here, and fails where a step does not hold', async () => {
  const script = fileURLToPath(new URL('../../scripts/live/gcp.ts', import.meta.url));
  const run = async (neighbour: string) => {
    const args = [
      ...[
        '--template',
        'invoice-archive',
        '--param',
        'quarter=2026q3',
        '--storage',
        gcp.url,
        '--skip-expiry',
      ],
      ...['--read-tool', 'gcs.read', '--object', 'gs://invoices/2026q3/a.pdf', '--neighbour', neighbour],
      ...['--prefix-tool', 'gcs.browse', '--prefix', 'gs://invoices/2026q3/'],
    ];
    const env = {
      PATH: process.env['PATH'],
      MAYFLY_SERVER: world.url,
      MAYFLY_ASSERTION: await world.workload(),
    };
    return promisify(execFile)(process.execPath, ['--no-warnings', script, ...args], { env }).then(
      ({ stdout }) => ({ code: 0, stdout }),
      (error: unknown) => ({
        code: Reflect.get(Object(error), 'code'),
        stdout: String(Object(error).stdout),
      }),
    );
  };
  const held = await run('gs://invoices/2026q4/a.pdf');
  expect(held).toMatchObject({ code: 0, stdout: expect.stringMatching(/every step held\n$/) });
  expect(held.stdout.match(/^held {2}/gm)).toHaveLength(10);
  // What lies beneath the prefix is no neighbour of it.
  const failed = await run('gs://invoices/2026q3/b.pdf');
  expect(failed).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('FAILED token at the neighbour: 200'),
  });
});
