import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { auditEvent } from '@mayfly/core';
import { seededIds } from '@mayfly/testkit';
import pg from 'pg';
import { type Embedded, startEmbedded } from './embedded.ts';
import { migrate } from './migrate.ts';
import type { SignInRows } from './sign-in.ts';
import { createStore, type Store } from './store.ts';

let dataDir: string;
let embedded: Embedded;
let owner: pg.Pool;
let stores: Store[];
let rows: SignInRows;
let replica: SignInRows;
const secret = randomBytes(32);
const newId = seededIds({ now: () => new Date() });

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'mayfly-sign-in-'));
  if (process.getuid?.() === 0) chmodSync(dataDir, 0o711);
  embedded = await startEmbedded({ dataDir, log: () => undefined });
  await migrate(embedded.ownerUrl);
  owner = new pg.Pool({ connectionString: embedded.ownerUrl, max: 2 });
  owner.on('error', () => undefined);
  stores = [1, 2].map(() =>
    createStore({
      url: embedded.appUrl,
      connections: 12,
      endingConnections: 2,
      reapAgeSeconds: 60,
      rowMac: () => Buffer.alloc(32),
      onError: () => undefined,
    }),
  );
  const [first, second] = stores;
  if (first === undefined || second === undefined) throw new Error('two replicas are needed');
  [rows, replica] = [first.signIn(() => secret), second.signIn(() => secret)];
}, 60_000);

afterAll(async () => {
  for (const store of stores) await store.close();
  await owner.end();
  await embedded.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const fresh = () => randomBytes(32).toString('base64url');
const event = (type: string) =>
  auditEvent({ newId, now: new Date() }, { type, actor: 'corp-sso/jane', body: {} });
/** What is left of the time of these rows is over. */
const expire = (model: string) =>
  owner.query(`update sign_in set expires_at = now() - interval '1 second' where model = $1`, [model]);
const both = (index: number) => (index % 2 === 0 ? rows : replica);

/** As a token is issued: a person, its grant, and the token beneath. */
async function signIn(grantId = fresh(), token = fresh()): Promise<{ grantId: string; token: string }> {
  await rows.put({ model: 'Grant', id: grantId, payload: { accountId: 'corp-sso/jane' }, lifeSeconds: 60 });
  await rows.put({ model: 'Person', id: grantId, payload: { subject: 'jane' }, lifeSeconds: 60 });
  const row = { model: 'AccessToken', id: token, payload: { clientId: 'c' }, lifeSeconds: 60, grantId };
  await rows.put(row, event('signin.succeeded'));
  return { grantId, token };
}

test('of 40 consumers of one code on two replicas one is told that it is the first', async () => {
  const id = fresh();
  await rows.put({ model: 'AuthorizationCode', id, payload: {}, lifeSeconds: 60 });
  const told = await Promise.all(
    Array.from({ length: 40 }, (_, index) => both(index).consume('AuthorizationCode', id)),
  );
  expect(told.filter(Boolean)).toHaveLength(1);
  expect((await rows.find('AuthorizationCode', id))?.consumedAt).toBeInstanceOf(Date);
});

test('of 40 uses of one replay key on two replicas one makes the row', async () => {
  const id = fresh();
  const row = { model: 'ReplayDetection', id, payload: { iss: 'c' }, lifeSeconds: 60 };
  const told = await Promise.all(Array.from({ length: 40 }, (_, index) => both(index).putOnce(row)));
  expect(told.filter(Boolean)).toHaveLength(1);
});

test('a row is found by its id, its uid or its user code, and by nothing of another kind', async () => {
  const [id, uid, userCode] = [fresh(), fresh(), 'BCDFGHJK'];
  await rows.put({ model: 'DeviceCode', id, payload: { jti: id }, lifeSeconds: 60, uid, userCode });
  expect((await replica.find('DeviceCode', id))?.payload).toEqual({ jti: id });
  expect((await replica.findBy('user_code', 'DeviceCode', userCode))?.payload).toEqual({ jti: id });
  expect((await replica.findBy('uid', 'DeviceCode', uid))?.payload).toEqual({ jti: id });
  for (const missing of [
    rows.find('AccessToken', id),
    rows.find('DeviceCode', fresh()),
    rows.findBy('user_code', 'DeviceCode', 'XXXXXXXX'),
    rows.findBy('uid', 'DeviceCode', userCode),
    rows.findBy('user_code', 'Session', userCode),
  ])
    expect(await missing).toBeUndefined();
});

test('a changed payload keeps what happened to its row', async () => {
  const id = fresh();
  await rows.put({ model: 'DeviceCode', id, payload: { n: 1 }, lifeSeconds: 60 });
  await rows.consume('DeviceCode', id);
  await rows.put({ model: 'DeviceCode', id, payload: { n: 2 }, lifeSeconds: 60 });
  const found = await rows.find('DeviceCode', id);
  expect(found?.payload).toEqual({ n: 2 });
  expect(found?.consumedAt).toBeInstanceOf(Date);
});

test('a second poll within the interval is too soon on either replica, and leaves the first one’s time', async () => {
  const id = fresh();
  await rows.put({ model: 'DeviceCode', id, payload: {}, lifeSeconds: 60 });
  expect(await rows.poll('DeviceCode', id, 5_000)).toBe(true);
  expect(await replica.poll('DeviceCode', id, 5_000)).toBe(false);
  await owner.query(`update sign_in set polled_at = polled_at - interval '5 seconds'`);
  expect(await replica.poll('DeviceCode', id, 5_000)).toBe(true);
  // An unknown code is not the poll's to refuse.
  expect(await rows.poll('DeviceCode', fresh(), 5_000)).toBe(true);
});

test('a token shows its person until it expires, and not a moment longer', async () => {
  const { token } = await signIn();
  expect(await replica.signedIn(token)).toEqual({ token: { clientId: 'c' }, person: { subject: 'jane' } });
  expect(await rows.signedIn(fresh())).toBeUndefined();
  await expire('AccessToken');
  expect(await rows.signedIn(token)).toBeUndefined();
});

test('a token dies with its grant, also one that is made after the grant was destroyed', async () => {
  const { grantId, token } = await signIn();
  await replica.destroyGrant(grantId);
  expect(await rows.signedIn(token)).toBeUndefined();
  const late = { model: 'AccessToken', id: fresh(), payload: {}, lifeSeconds: 60, grantId };
  await rows.put(late);
  expect(await rows.signedIn(late.id)).toBeUndefined();
});

test('a token that a writer in the database gave to another grant does not open', async () => {
  const [mine, admins] = [await signIn(), await signIn()];
  await owner.query(
    `update sign_in set grant_id = (select grant_id from sign_in where id = sha256($2::bytea))
     where id = sha256($1::bytea)`,
    [mine.token, admins.token],
  );
  await expect(rows.signedIn(mine.token)).rejects.toThrow();
  expect((await rows.signedIn(admins.token))?.person).toEqual({ subject: 'jane' });
});

test('of 10 who end one sign-in at once one does, with one row in the log', async () => {
  const { token } = await signIn();
  const told = await Promise.all(
    Array.from({ length: 10 }, (_, index) => both(index).end(token, () => event('signin.ended'))),
  );
  expect(told.filter(Boolean)).toHaveLength(1);
  expect(await rows.signedIn(token)).toBeUndefined();
  const { rows: logged } = await owner.query(`select 1 from audit_entry where type = 'signin.ended'`);
  expect(logged).toHaveLength(1);
});

test('nothing that was put in can be read from the table', async () => {
  const held = [fresh(), fresh(), 'WXZBWXZB', fresh()];
  const [id = '', uid = '', userCode = '', grantId = ''] = held;
  const payload = { jti: id, uid, userCode, grantId };
  await rows.put({ model: 'DeviceCode', id, payload, lifeSeconds: 60, uid, userCode, grantId });
  const { rows: dumped } = await owner.query(
    `select model || encode(payload, 'escape') || encode(id, 'escape') || coalesce(encode(uid, 'escape'), '')
       || coalesce(encode(grant_id, 'escape'), '') || coalesce(encode(user_code, 'escape'), '') as text from sign_in`,
  );
  expect(dumped.length).toBeGreaterThan(0);
  for (const value of held) expect(JSON.stringify(dumped)).not.toContain(value);
});

test('what has expired is told so for a while and then swept', async () => {
  const id = fresh();
  await rows.put({ model: 'DeviceCode', id, payload: {}, lifeSeconds: 60 });
  await expire('DeviceCode');
  const [store] = stores;
  await store?.keepPartitions(90);
  expect(await rows.find('DeviceCode', id)).toBeDefined();
  await owner.query(
    `update sign_in set expires_at = now() - interval '601 seconds' where model = 'DeviceCode'`,
  );
  await store?.keepPartitions(90);
  expect(await rows.find('DeviceCode', id)).toBeUndefined();
});
