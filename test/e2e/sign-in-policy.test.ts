import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import {
  applyBundle,
  completeConfig,
  createLog,
  keyEvent,
  makeSigningKey,
  type Running,
  readFolder,
  startBroker,
} from '@mayfly/broker';
import { openBrowser } from './browser.ts';
import {
  approve,
  codeFlow,
  confirmCode,
  login,
  passSignIn,
  poll,
  post,
  redeem,
  redirectUri,
  startDevice,
} from './sign-in.ts';
import { accessTokenType, form, freePort, jwtType, opening, startWorld, type World } from './world.ts';

let world: World;
/** A second broker of the same issuer, database and key-encryption key. */
let second: Running;
let secondUrl: string;

beforeAll(async () => {
  const settings = { signInRedirectUris: [redirectUri], signInPollInterval: '1s' };
  world = await startWorld({ settings });
  const port = await freePort();
  secondUrl = `http://127.0.0.1:${port}`;
  second = await startBroker({
    config: completeConfig({
      ...settings,
      issuer: world.url,
      databaseUrl: world.running.databaseUrls.app,
      keyEncryptionKey: { file: join(world.dataDir, 'key-encryption-key') },
      listen: `127.0.0.1:${port}`,
      opsListen: `127.0.0.1:${await freePort()}`,
      allowLoopbackIssuers: [world.file.workloads, world.file.people],
      signInIssuer: 'people',
      signInClientId: 'mayfly-dev',
    }),
    env: {},
    environment: 'dev',
    role: 'api',
    log: createLog({ level: 'silent' }),
  });
}, 60_000);

afterEach(() => documents());
afterAll(async () => {
  await second.stop();
  await world.stop();
});

/** The examples, as `mayfly dev` applies them, with a change. */
async function documents(edit: (text: string) => string = (text) => text): Promise<void> {
  const folder = fileURLToPath(new URL('../../examples/', import.meta.url));
  const placed = (text: string) =>
    text
      .replaceAll('http://127.0.0.1:4600', world.file.workloads)
      .replaceAll('http://127.0.0.1:4601', world.file.people)
      .replaceAll('http://127.0.0.1:4566', world.file.aws);
  const sources = readFolder(folder).map(({ file, text }) => ({ file, text: edit(placed(text)) }));
  const left = sources.filter(({ text }) => text.includes('kind:'));
  await applyBundle(world.running.broker, left);
}

const whoami = async (bearer: string, url = secondUrl) => {
  const answer = await fetch(`${url}/v1/whoami`, { headers: { authorization: `Bearer ${bearer}` } });
  return { status: answer.status, body: Object(await answer.json()) };
};
const rolesOf = async (bearer: string) =>
  Object((await whoami(bearer)).body.roles ?? []).map(({ role }: { role: string }) => role);
const later = () => world.sql(`update sign_in set polled_at = polled_at - interval '1 minute'`);

test.each([
  ['the issuer speaks for people no more', (text: string) => text.replace('people: true', 'people: false')],
  ['its subjects are narrowed', (text: string) => text.replace('"*@corp.example"', '"*@other.example"')],
  [
    'the name is given to another issuer',
    (text: string) => text.replace(world.file.people, 'https://people.other.example'),
  ],
])('a token is worth nothing on any replica once %s, and again when that is undone', async (_, edit) => {
  const token = await login(world);
  expect((await whoami(token)).status).toBe(200);
  await documents(edit);
  for (const url of [secondUrl, world.url]) {
    const refused = await whoami(token, url);
    expect([refused.status, refused.body.reason]).toEqual([401, 'unauthenticated']);
  }
  await documents();
  expect((await whoami(token)).status).toBe(200);
});

test('a token is worth nothing once its issuer is removed', async () => {
  const token = await login(world);
  await documents((text) => {
    const parts = text.split('---\n').filter((part) => !/name: (people|admins|auditors) /.test(part));
    return parts.join('---\n');
  });
  expect((await whoami(token)).status).toBe(401);
  const device = await startDevice(world);
  const browser = openBrowser();
  const page = await confirmCode(browser, device);
  const refused = await browser.get(`${world.url}/sign-in/continue`);
  expect([page.status, refused.status, refused.location]).toEqual([200, 403, '']);
});

test('roles are those of the bindings and claims in force at each call', async () => {
  const token = await login(world);
  expect(await rolesOf(token)).toContain('admin');
  await documents((text) => text.replace('groups: platform', 'groups: elsewhere'));
  expect(await rolesOf(token)).toEqual([]);
  await documents((text) => text.replaceAll('claims: [groups]', 'claims: []'));
  expect((await whoami(token)).body.claims).toEqual({ sub: 'jane@corp.example' });
});

test.each([
  ['issuer', (text: string) => text.replace('people: true', 'people: false')],
  ['subjects', (text: string) => text.replace('"*@corp.example"', '"*@other.example"')],
])('an approved code gives nothing when the %s changed before it was redeemed', async (_, edit) => {
  const [flow, device] = [await codeFlow(world), await startDevice(world)];
  await approve(world, device);
  await documents(edit);
  expect((await redeem(world, flow)).body.reason).toBe('sign_in_code_invalid');
  expect((await poll(world, device)).body.reason).toBe('sign_in_code_invalid');
});

test('of 20 uses of one code on two replicas at most one gives a token, and that one is dead', async () => {
  const succeeded = async () =>
    (await world.sql(`select from mayfly_audit_v1 where type = 'signin.succeeded'`)).length;
  const [flow, before] = [await codeFlow(world), await succeeded()];
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => redeem({ ...world, api: apiOf(index) }, flow)),
  );
  // The second use takes back what the first one gave, and may be quicker than its answer.
  const given = answers.filter(({ status }) => status === 200);
  expect(given.length).toBeLessThanOrEqual(1);
  expect(await succeeded()).toBe(before + given.length);
  for (const { status, body } of answers) if (status !== 200) expect(body.error).toBe('invalid_grant');
  for (const { body } of given) expect((await whoami(body.access_token)).status).toBe(401);
});

/** Every other request goes to the second broker. */
function apiOf(index: number): World['api'] {
  if (index % 2 === 0) return world.api;
  return async (method, path, { yaml, headers } = {}) => {
    const answer = await fetch(`${secondUrl}${path}`, { method, body: yaml ?? null, headers: headers ?? {} });
    return { status: answer.status, body: await answer.json(), headers: answer.headers };
  };
}

test('a sign-in that began on one replica ends on another', async () => {
  const device = await startDevice(world);
  await approve(world, device);
  await later();
  const { status, body } = await poll({ ...world, api: apiOf(1) }, device);
  expect(status).toBe(200);
  expect((await whoami(body.access_token, world.url)).status).toBe(200);
});

test('a token ends when its holder revokes it, once in the log; anything else changes nothing', async () => {
  const [token, other] = [await login(world), await login(world)];
  for (const one of [token, token, 'x'.repeat(43)])
    expect((await post(world, '/revoke', { token: one })).status).toBe(200);
  expect([(await whoami(token)).status, (await whoami(other)).status]).toEqual([401, 200]);
  const rows = await world.sql(`select actor from mayfly_audit_v1 where type = 'signin.ended'`);
  expect(rows).toEqual([{ actor: 'people/jane@corp.example' }]);
  expect((await post(world, '/revoke', {})).body.reason).toBe('missing_parameter');
});

test('a token ends by the clock of the database', async () => {
  const token = await login(world);
  await world.sql(`update sign_in set expires_at = now() - interval '1 second' where model = 'AccessToken'`);
  expect((await whoami(token)).status).toBe(401);
});

test('a person’s token is no subject token and introspects nothing, nor does its id_token act', async () => {
  const flow = await codeFlow(world);
  const { body } = await redeem(world, flow);
  for (const type of [jwtType, accessTokenType]) {
    const answer = await world.exchange(
      form(body.access_token, opening('person'), { subject_token_type: type }),
    );
    expect([answer.status, answer.body.reason]).toEqual([400, 'assertion_invalid']);
  }
  const headers = { authorization: `Bearer ${body.access_token}` };
  expect((await post(world, '/introspect', { token: 'x' }, headers)).status).toBe(401);
  expect((await whoami(body.id_token)).status).toBe(401);
  expect((await world.exchange(form(body.id_token, opening('person')))).body.reason).toBe(
    'assertion_invalid',
  );
  const opened = await world.api('POST', '/v1/tasks', {
    bearer: body.access_token,
    json: { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
  });
  expect([opened.status, opened.body.reason]).toEqual([403, 'workload_not_matched']);
});

test('while issuing is frozen people still sign in, or nobody could thaw it', async () => {
  const { store } = world.running.broker;
  await world.api('POST', '/v1/freeze', { bearer: await world.person(), json: { reason: 'INC' } });
  const thawed = await world.api('POST', '/v1/thaw', {
    bearer: await login(world),
    json: { reason: 'over' },
  });
  expect([thawed.status, await store.documents.freezeStatus()]).toEqual([200, []]);
});

test('a person who may introspect does so by an assertion, never by the token of a sign-in', async () => {
  await documents((text) =>
    text.replace(
      '{ issuer: local, match: { sub: "tools/reports" } }',
      '{ issuer: people, match: { groups: platform } }',
    ),
  );
  const ask = async (bearer: string) =>
    (await post(world, '/introspect', { token: 'x' }, { authorization: `Bearer ${bearer}` })).status;
  expect([await ask(await world.person()), await ask(await login(world))]).toEqual([200, 401]);
});

test('nothing that a client ever held is in the database', async () => {
  const held: string[] = [];
  const browser = openBrowser();
  const flow = await codeFlow(world, { browser });
  const tokens = (await redeem(world, flow)).body;
  const device = await startDevice(world);
  await passSignIn(world, browser, { page: await confirmCode(browser, device) });
  held.push(flow.code, flow.verifier, flow.state, flow.nonce, tokens.access_token, tokens.id_token);
  held.push(device.device_code, device.user_code, device.user_code.replace('-', ''), ...browser.cookies);
  const tables = await world.sql<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
       and has_table_privilege(oid, 'select')`,
  );
  expect(tables.map(({ name }) => name)).toContain('sign_in');
  for (const { name } of tables) {
    const rows = await world.sql<{ text: string }>(`select t::text as text from ${name} t`);
    const text = rows.map((row) => `${row.text}\n${bytesOf(row.text)}`).join('\n');
    for (const value of held) expect([name, text.includes(value)]).toEqual([name, false]);
  }
  const log = readFileSync(join(world.dataDir, 'mayfly.log'), 'utf8');
  for (const value of held) expect(log.includes(value)).toBe(false);
});

/** bytea columns are shown in hex: their bytes, as text. */
function bytesOf(text: string): string {
  return [...text.matchAll(/\\x([0-9a-f]+)/g)]
    .map(([, hex = '']) => Buffer.from(hex, 'hex').toString('latin1'))
    .join('\n');
}

test('a rotated key signs the next sign-in without a restart, and the old one stays published', async () => {
  const kidOf = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid;
  const tokenOf = async () => (await redeem(world, await codeFlow(world))).body.id_token;
  const before = kidOf(await tokenOf());
  const now = new Date();
  const kek = Buffer.from(readFileSync(join(world.dataDir, 'key-encryption-key'), 'utf8').trim(), 'base64');
  const key = await makeSigningKey('sign-in', { kek, now, activeFrom: now });
  const audit = keyEvent('key.rotated', key);
  await world.running.broker.store.keys.insert(key, { onlyIfNone: false, audit });
  expect([before, kidOf(await tokenOf())]).toEqual([expect.not.stringMatching(key.id), key.id]);
  const { keys } = (await world.api('GET', '/jwks')).body;
  const kids = keys.map(({ kid }: { kid: string }) => kid);
  expect(kids).toEqual(expect.arrayContaining([before, key.id]));
  expect(JSON.stringify(keys)).not.toMatch(/"(d|p|q|dp|dq|qi)":/);
});
