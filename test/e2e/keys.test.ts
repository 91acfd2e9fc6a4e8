import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createLog, readInstallationKek, type Wired, wire } from '@mayfly/broker';
import { decodeProtectedHeader } from 'jose';
import * as oauth from 'oauth4webapi';
import { form, opening, startWorld, type World } from './world.ts';

let world: World;
/** A replica without requests, over the same database. */
let quiet: Wired;

beforeAll(async () => {
  world = await startWorld({
    edit: (text) =>
      text.replace('verification: introspect', 'verification: introspect\n  signingAlgorithm: RS256'),
  });
  const { config } = world.running.broker;
  quiet = await wire({
    config,
    databaseUrl: world.running.databaseUrls.app,
    kek: readInstallationKek(config, { env: {}, create: false }),
    log: createLog({ level: 'silent', file: undefined }),
  });
}, 60_000);

afterAll(async () => {
  await quiet.store.close();
  await world.stop();
});

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const issue = async (ref: string) =>
  (await world.exchange(form(await world.workload(), { ...opening(ref), ...report }))).body;
const headerOf = (token: string) => decodeProtectedHeader(token);
const published = async (): Promise<{ kid: string; alg: string }[]> =>
  (await world.api('GET', '/jwks')).body.keys;

test('a server that takes RS256 gets it; both algorithms are published, and a stranger verifies the token', async () => {
  // One more RS256 key is that of people's sign-in.
  expect((await published()).map(({ alg }) => alg).sort()).toEqual(['ES256', 'RS256', 'RS256']);
  const { access_token: token, task_token: taskToken } = await issue('rs256');
  expect([headerOf(token).alg, headerOf(taskToken).alg]).toEqual(['RS256', 'ES256']);
  const as = { issuer: world.url, jwks_uri: `${world.url}/jwks` };
  const request = new Request('https://reports.example', { headers: { authorization: `Bearer ${token}` } });
  const claims = await oauth.validateJwtAccessToken(as, request, 'https://reports.example/mcp', {
    [oauth.allowInsecureRequests]: true,
  });
  expect(claims.sub).toBe('local/reconciler');
});

test('when the time has come one of two replicas publishes the next keys, and both know them without a restart', async () => {
  const { broker } = world.running;
  expect([await broker.rotateKeys(), await quiet.rotateKeys()]).toEqual([[], []]);
  const before = await published();
  await world.sql(
    `update signing_key set active_from = active_from - interval '31 days' where purpose = 'token'`,
  );
  const made = await Promise.all([broker.rotateKeys(), quiet.rotateKeys(), broker.rotateKeys()]);
  expect(
    made
      .flat()
      .map(({ alg }) => alg)
      .sort(),
  ).toEqual(['ES256', 'RS256']);
  const next = made.flat().map(({ id }) => id);
  expect((await published()).map(({ kid }) => kid).sort()).toEqual(
    [...before.map(({ kid }) => kid), ...next].sort(),
  );
  await quiet.policies.refresh();
  const { keys } = quiet.keyring().jwks('token', new Date());
  expect(keys.map(({ kid }) => kid)).toEqual(expect.arrayContaining(next));
  const [row] = await world.sql(
    `select count(*)::int as n, bool_and(active_from > now() + interval '300 seconds') as ahead,
      (select bool_and(retired_at > now() + interval '1 day') from signing_key where purpose = 'token' and id <> all($1)) as later,
      (select count(*)::int from audit_entry where type = 'key.rotated') as events from signing_key where id = any($1)`,
    [next],
  );
  expect(row).toEqual({ n: 2, ahead: true, later: true, events: 2 });
  // Published, and not yet signing: whoever cached the keys a moment ago knows what signs.
  expect(before.map(({ kid }) => kid)).toContain(headerOf((await issue('before')).access_token).kid);
  expect(await broker.rotateKeys()).toEqual([]);
});

test('then the next keys sign, and what the last ones signed is still good', async () => {
  const { access_token: old, task_token: taskToken } = await issue('old');
  await world.sql(
    `update signing_key set active_from = now() where purpose = 'token' and active_from > now()`,
  );
  await world.sql('update config_epoch set epoch = epoch + 1');
  const { access_token: token } = await issue('new');
  expect(headerOf(token).kid).not.toBe(headerOf(old).kid);
  const introspected = await fetch(`${world.url}/introspect`, {
    method: 'POST',
    body: new URLSearchParams({ token: old }),
    headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
  });
  expect(Object(await introspected.json()).active).toBe(true);
  expect((await world.api('GET', '/v1/whoami', { bearer: taskToken })).status).toBe(200);
});

test('a next key that is withdrawn never signs, and the present one goes on', async () => {
  const { keys } = quiet.store;
  await world.sql(
    `update signing_key set active_from = active_from - interval '31 days' where purpose = 'token'`,
  );
  const [next] = (await quiet.rotateKeys()).filter(({ alg }) => alg === 'ES256');
  const event = () => ({
    ...{ id: crypto.randomUUID(), type: 'key.retired', at: new Date(), actor: 'mayfly', ...nothing },
  });
  const id = next?.id ?? '';
  expect([await keys.withdraw(id, event()), await keys.withdraw(id, event())]).toEqual([true, false]);
  expect((await published()).map(({ kid }) => kid)).not.toContain(id);
  const { task_token: token } = await issue('withdrawn');
  const [signer] = (await keys.list()).filter((key) => key.id === headerOf(token).kid);
  expect(signer?.retiredAt).toBeNull();
  // Its place is free: the next rotation publishes another.
  expect((await quiet.rotateKeys()).map(({ alg }) => alg)).toEqual(['ES256']);
});

test('a key that caches could miss is not taken by the database', async () => {
  await world.sql(
    `update signing_key set active_from = active_from - interval '31 days' where purpose = 'token'`,
  );
  const { keys } = quiet.store;
  const [like] = await keys.list();
  if (like === undefined) throw new Error('no key');
  const rule = {
    ...{ everyMs: 86_400_000, leadMs: 315_000, retireOthersAt: new Date(Date.now() + 86_400_000) },
    audit: { id: crypto.randomUUID(), type: 'key.rotated', at: new Date(), actor: 'mayfly', ...nothing },
  };
  const key = {
    ...like,
    id: 'made-late',
    purpose: 'token',
    alg: 'ES256',
    activeFrom: new Date(Date.now() + 300_000),
  };
  expect(await keys.rotate(key, rule)).toBe(false);
  expect((await keys.list()).some(({ id }) => id === 'made-late')).toBe(false);
});

const nothing = { taskId: null, issuanceId: null, body: {} };
