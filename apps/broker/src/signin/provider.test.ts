import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { auditEvent } from '@mayfly/core';
import { memoryRows } from '../../test/sign-in-rows.ts';
import { completeConfig } from '../config.ts';
import { Keyring, makeSigningKey } from '../keys/keyring.ts';
import { type Asked, createDriver } from './drive.ts';
import { createProvider } from './provider.ts';

const redirectUri = 'https://console.example/callback';
const now = new Date();

async function driven(issuer = 'https://mayfly.example') {
  const config = completeConfig({
    issuer,
    signInIssuer: 'corp-sso',
    signInClientId: 'mayfly',
    signInRedirectUris: [redirectUri],
  });
  const kek = randomBytes(32);
  const ring = new Keyring([await makeSigningKey('sign-in', { kek, now, activeFrom: now })], kek);
  const { all, rows } = memoryRows();
  const provider = createProvider({
    config,
    keys: ring.verifiers('sign-in', now),
    secret: randomBytes(32),
    rows: all,
    issued: () => auditEvent({ newId: () => 'id', now }, { type: 'signin.succeeded' }),
    stands: async () => true,
    cancelled: async () => undefined,
  });
  const { ask } = createDriver(provider, issuer);
  const get = (url: string, more: Partial<Asked> = {}) =>
    ask({ method: 'GET', url, requestId: 'r', accept: 'text/html', ...more });
  return { get, ask, rows };
}

const authorize = `/authorize?${new URLSearchParams({
  client_id: 'mayfly-console',
  response_type: 'code',
  redirect_uri: redirectUri,
  scope: 'openid',
  code_challenge: 'x'.repeat(43),
  code_challenge_method: 'S256',
})}`;

test('behind https every address is https, and cookies are this host’s alone', async () => {
  const { get, ask } = await driven();
  const { status, headers } = await get(authorize);
  expect([status, headers['location']]).toEqual([303, '/sign-in']);
  const page = await get('/device');
  const cookies = [headers['set-cookie'] ?? [], page.headers['set-cookie'] ?? []].flat();
  // Two of the interaction, one of the session, each with its signature.
  expect(cookies.length).toBe(6);
  for (const cookie of cookies) {
    expect(cookie).toMatch(/; secure; httponly(;|$)/);
    if (/^__Host-/.test(cookie)) expect(cookie).toMatch(/; path=\/; /);
    else expect(cookie).toMatch(/^__Secure-[^;]+; path=\/(sign-in|authorize\/[A-Za-z0-9_-]{43});/);
    expect(cookie).not.toContain('domain=');
  }
  const form = new URLSearchParams({ client_id: 'mayfly-cli', scope: 'openid' });
  const device = await ask({
    method: 'POST',
    url: '/device_authorization',
    form,
    requestId: 'r',
    accept: 'application/json',
  });
  expect(JSON.parse(device.body)['verification_uri']).toBe('https://mayfly.example/device');
});

test('a session’s cookie counts with its signature only', async () => {
  const { get, rows } = await driven();
  const { headers } = await get('/device');
  const pairs = [headers['set-cookie'] ?? []].flat().map((one) => one.split(';')[0] ?? '');
  await get('/device', { cookie: pairs.join('; ') });
  expect(rows.size).toBe(1);
  await get('/device', { cookie: pairs[0] });
  expect(rows.size).toBe(2);
});

test('neither address nor browser of anyone lies in a row', async () => {
  const { get, ask, rows } = await driven();
  await get(authorize);
  const form = new URLSearchParams({ client_id: 'mayfly-cli', scope: 'openid' });
  await ask({
    method: 'POST',
    url: '/device_authorization',
    form,
    requestId: 'r',
    accept: 'application/json',
  });
  const device = [...rows.values()].find(({ model }) => model === 'DeviceCode');
  expect(Reflect.get(device?.payload ?? {}, 'deviceInfo')).toEqual({});
});

test('a failure beneath it is told as that failure, with its status', async () => {
  const { all } = memoryRows();
  const failing = new Error('the database is away');
  Object.assign(all, { put: async () => Promise.reject(failing) });
  const config = completeConfig({ issuer: 'https://mayfly.example' });
  const kek = randomBytes(32);
  const ring = new Keyring([await makeSigningKey('sign-in', { kek, now, activeFrom: now })], kek);
  const provider = createProvider({
    config,
    keys: ring.verifiers('sign-in', now),
    secret: randomBytes(32),
    rows: all,
    issued: () => auditEvent({ newId: () => 'id', now }, { type: 'signin.succeeded' }),
    stands: async () => true,
    cancelled: async () => undefined,
  });
  const form = new URLSearchParams({ client_id: 'mayfly-cli', scope: 'openid' });
  const { status, error } = await createDriver(provider, config.issuer).ask({
    method: 'POST',
    url: '/device_authorization',
    form,
    requestId: 'r',
    accept: 'application/json',
  });
  expect([status, error]).toEqual([500, failing]);
});
