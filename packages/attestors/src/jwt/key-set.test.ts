import type { RequestListener } from 'node:http';
import { afterEach, expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { makeKey } from '@mayfly/testkit';
import { attestorOptions, fetchLimits, outcome, serve, type TestServer, trusted } from '../../test/issuer.ts';
import type { AttestorOptions } from '../options.ts';
import { createKeySet } from './key-set.ts';
import { publishedKeys } from './key-source.ts';

const a = makeKey('ES256', 'a');
const b = makeKey('ES256', 'b');
const c = makeKey('ES256', 'c');
const start = Date.parse('2026-11-23T12:00:00Z');
const at = (seconds: number) => new Date(start + seconds * 1000);
const keys = (...list: unknown[]) => JSON.stringify({ keys: list });

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function server(answer: RequestListener): Promise<TestServer> {
  const started = await serve(answer);
  closing.push(started.close);
  return started;
}

const answering =
  (body: () => string, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (_, response) =>
    response.writeHead(200, headers).end(body());

function keySet(
  { origin }: { origin: string },
  more: Partial<TrustedIssuer> = {},
  readFile?: AttestorOptions['readFile'],
) {
  const issuer = trusted({ issuer: origin, jwksUri: `${origin}/keys`, jwksFile: null, ...more });
  const fetch = fetchLimits({ allowLoopbackOrigins: [origin] });
  const options = attestorOptions({ fetch, ...(readFile === undefined ? {} : { readFile }) });
  const set = createKeySet(publishedKeys(issuer, options));
  /** `found`, `absent`, or the fault. */
  return async (kid: string | undefined, seconds: number) => {
    let found = false;
    const said = await outcome(async () => {
      found = (await set.find({ kid, alg: 'ES256' }, at(seconds))) !== undefined;
    });
    return said === 'accepted' ? (found ? 'found' : 'absent') : said;
  };
}

test('finds the key of a kid with one fetch, and the next from memory', async () => {
  const jwks = await server(answering(() => keys(a.jwk, b.jwk)));
  const find = keySet(jwks);
  expect([await find('a', 0), await find('b', 1), await find('a', 2)]).toEqual(['found', 'found', 'found']);
  expect(jwks.asked).toEqual(['/keys']);
});

test('twenty at once make one fetch, for known and unknown kids', async () => {
  const jwks = await server(answering(() => keys(a.jwk)));
  const find = keySet(jwks);
  const found = await Promise.all(Array.from({ length: 20 }, (_, index) => find(index % 2 ? 'a' : 'x', 0)));
  expect(found.filter((one) => one === 'found')).toHaveLength(10);
  expect(jwks.asked).toHaveLength(1);
  await Promise.all(Array.from({ length: 20 }, () => find('x', 31)));
  expect(jwks.asked).toHaveLength(2);
});

test('rotation: an unknown kid asks again, at most once in 30 seconds', async () => {
  let published = [a.jwk];
  const jwks = await server(answering(() => keys(...published)));
  const find = keySet(jwks);
  expect(await find('a', 0)).toBe('found');
  published = [a.jwk, b.jwk];
  expect([await find('b', 1), await find('b', 29.999)]).toEqual(['absent', 'absent']);
  expect(jwks.asked).toHaveLength(1);
  expect(await find('b', 30)).toBe('found');
  expect(jwks.asked).toHaveLength(2);
  published = [b.jwk, c.jwk];
  expect([await find('c', 59.999), jwks.asked.length]).toEqual(['absent', 2]);
  expect([await find('c', 60), jwks.asked.length]).toEqual(['found', 3]);
});

test('a flood of unknown kids for an hour asks twice a minute at most, and known ones go on', async () => {
  const jwks = await server(answering(() => keys(a.jwk), { 'cache-control': 'max-age=3600' }));
  const find = keySet(jwks);
  for (let second = 0; second < 600; second += 5)
    expect([await find('x', second), await find('a', second)]).toEqual(['absent', 'found']);
  expect(jwks.asked.length).toBeLessThanOrEqual(20);
});

test('a withdrawn key is gone with the next fetch', async () => {
  let published = [a.jwk, b.jwk];
  const jwks = await server(answering(() => keys(...published), { 'cache-control': 'max-age=60' }));
  const find = keySet(jwks);
  expect(await find('a', 0)).toBe('found');
  published = [b.jwk];
  expect([await find('a', 59), await find('a', 60)]).toEqual(['found', 'absent']);
});

test.each([
  [undefined, 600],
  ['no-store', 600],
  ['max-age=0', 60],
  ['max-age=59', 60],
  ['max-age=60', 60],
  ['max-age=120', 120],
  ['max-age=600', 600],
  ['max-age=86400', 600],
  ['max-age=99999999999', 600],
])('Cache-Control %s keeps keys for %i seconds', async (header, seconds) => {
  const jwks = await server(
    answering(() => keys(a.jwk), header === undefined ? {} : { 'cache-control': header }),
  );
  const find = keySet(jwks);
  expect([await find('a', 0), await find('a', seconds - 0.001), jwks.asked.length]).toEqual([
    'found',
    'found',
    1,
  ]);
  expect([await find('a', seconds), jwks.asked.length]).toEqual(['found', 2]);
});

test('when the issuer dies its keys are good for their freshness, and then there is a fault', async () => {
  const jwks = await serve(answering(() => keys(a.jwk), { 'cache-control': 'max-age=120' }));
  const find = keySet(jwks);
  expect(await find('a', 0)).toBe('found');
  await jwks.close();
  const dead = 'issuer_unavailable (none): issuer: ECONNREFUSED';
  expect(await find('a', 119)).toBe('found');
  // Whether an unknown kid was published meanwhile cannot be said: that is a fault, and no refusal.
  expect(await find('x', 119)).toBe(dead);
  expect(await find('a', 119)).toBe('found');
  expect([await find('a', 120), await find('a', 3600)]).toEqual([dead, dead]);
});

test('an issuer that answers again is found again, also after faults', async () => {
  let alive = false;
  const jwks = await server((_, response) => {
    if (alive) response.end(keys(a.jwk));
    else response.writeHead(503).end();
  });
  const find = keySet(jwks);
  expect(await find('a', 0)).toBe('issuer_unavailable (none): issuer: answered 503');
  alive = true;
  expect(await find('a', 1)).toBe('found');
});

test('a failed flight fails all who waited for it, and whoever comes within a second', async () => {
  let answered = 0;
  const jwks = await server((_, response) => {
    answered += 1;
    response.writeHead(answered === 1 ? 500 : 200).end(keys(a.jwk));
  });
  const find = keySet(jwks);
  const failed = await Promise.all([find('a', 0), find('a', 0), find('a', 0)]);
  expect(new Set(failed)).toEqual(new Set(['issuer_unavailable (none): issuer: answered 500']));
  for (let tries = 0; tries < 50; tries += 1) expect(await find('a', 0.999)).toBe(failed[0]);
  expect(answered).toBe(1);
  expect([await find('a', 1), answered]).toEqual(['found', 2]);
});

test('a clock that is set back keeps no key alive', async () => {
  const jwks = await server(answering(() => keys(a.jwk)));
  const find = keySet(jwks);
  expect([await find('a', 0), await find('a', -3600), jwks.asked.length]).toEqual(['found', 'found', 2]);
});

test.each([
  ['two keys of one kid', keys(a.jwk, { ...b.jwk, kid: 'a' }), 'two keys of one kid'],
  [
    '33 keys',
    keys(...Array.from({ length: 33 }, (_, i) => ({ kty: 'EC', kid: `k${i}` }))),
    'key set malformed or too large',
  ],
  ['no keys member', '{}', 'key set malformed or too large'],
  ['keys that are no list', '{"keys":{}}', 'key set malformed or too large'],
  ['a list alone', '[]', 'key set malformed or too large'],
  ['null', 'null', 'key set malformed or too large'],
  ['a key that is text', keys('a'), 'key set malformed or too large'],
  ['a key without type', keys({ kid: 'a' }), 'key set malformed or too large'],
  ['a kid that is a number', keys({ ...a.jwk, kid: 7 }), 'key set malformed or too large'],
  ['key_ops that is text', keys({ ...a.jwk, key_ops: 'verify' }), 'key set malformed or too large'],
  ['key_ops that is a number', keys({ ...a.jwk, key_ops: 7 }), 'key set malformed or too large'],
  ['duplicate members', '{"keys":[],"keys":[]}', 'duplicate key'],
])('a set with %s is refused whole', async (_, body, detail) => {
  const jwks = await server(answering(() => body));
  expect(await keySet(jwks)('a', 0)).toBe(`issuer_unavailable (none): issuer: ${detail}`);
});

test('32 keys are taken, and so are kids shared with an encryption key', async () => {
  const others = Array.from({ length: 30 }, (_, index) => ({ ...b.jwk, kid: `k${index}` }));
  const jwks = await server(answering(() => keys(a.jwk, { ...b.jwk, kid: 'a', use: 'enc' }, ...others)));
  expect(await keySet(jwks)('a', 0)).toBe('found');
});

test('an empty set answers absent', async () => {
  const jwks = await server(answering(() => keys()));
  expect(await keySet(jwks)('a', 0)).toBe('absent');
  expect(await keySet(jwks)(undefined, 0)).toBe('absent');
});

type Discovered = (origin: string) => unknown;
const discovering = async (document: Discovered, issuer: (origin: string) => string = (origin) => origin) => {
  let origin = '';
  const started = await server((request, response) => {
    response.end(request.url?.endsWith('/keys') ? keys(a.jwk) : JSON.stringify(document(origin)));
  });
  origin = started.origin;
  return { started, find: keySet(started, { jwksUri: null, issuer: issuer(origin) }) };
};

test('discovery names the place of the keys', async () => {
  const { started, find } = await discovering((origin) => ({ issuer: origin, jwks_uri: `${origin}/keys` }));
  expect(await find('a', 0)).toBe('found');
  expect(started.asked).toEqual(['/.well-known/openid-configuration', '/keys']);
});

test('discovery of an issuer with a path, and with a last slash', async () => {
  for (const path of ['/id/abc', '/id/abc/']) {
    const { started, find } = await discovering(
      (origin) => ({ issuer: origin + path, jwks_uri: `${origin}/keys` }),
      (origin) => origin + path,
    );
    expect(await find('a', 0)).toBe('found');
    expect(started.asked[0]).toBe('/id/abc/.well-known/openid-configuration');
  }
});

const mismatches: readonly (readonly [string, Discovered, string])[] = [
  [
    'another issuer',
    () => ({ issuer: 'https://evil.test', jwks_uri: 'https://evil.test/k' }),
    'discovery names another issuer',
  ],
  [
    'the issuer and a slash',
    (o) => ({ issuer: `${o}/`, jwks_uri: `${o}/keys` }),
    'discovery names another issuer',
  ],
  [
    'the issuer in upper case',
    (o) => ({ issuer: o.toUpperCase(), jwks_uri: `${o}/keys` }),
    'discovery names another issuer',
  ],
  ['no issuer', (o) => ({ jwks_uri: `${o}/keys` }), 'discovery document malformed'],
  ['no jwks_uri', (o) => ({ issuer: o }), 'discovery document malformed'],
  ['a jwks_uri that is no URL', (o) => ({ issuer: o, jwks_uri: '/keys' }), 'discovery document malformed'],
  ['a list', () => [], 'discovery document malformed'],
  [
    'keys at a loopback port that is not allowed',
    (o) => ({ issuer: o, jwks_uri: 'http://127.0.0.1:1/keys' }),
    'https is required',
  ],
  [
    'keys at a metadata service',
    (o) => ({ issuer: o, jwks_uri: 'https://169.254.169.254/keys' }),
    'address is forbidden',
  ],
  ['keys in a file', (o) => ({ issuer: o, jwks_uri: 'file:///etc/passwd' }), 'https is required'],
];

test.each(mismatches)('discovery with %s is a fault, and no key is fetched', async (_, document, detail) => {
  const { started, find } = await discovering(document);
  expect(await find('a', 0)).toMatch(
    new RegExp(`^issuer_unavailable \\(none\\): issuer: (${detail}|no address)$`),
  );
  expect(started.asked).toEqual(['/.well-known/openid-configuration']);
});

const fileSet = (readFile: () => Promise<string>) =>
  keySet({ origin: 'https://issuer.test' }, { jwksUri: null, jwksFile: 'keys.json' }, readFile);

test('a file of keys is read again after a minute, and never the network', async () => {
  let reads = 0;
  const find = fileSet(async () => {
    reads += 1;
    return keys(reads === 1 ? a.jwk : b.jwk);
  });
  expect([await find('a', 0), await find('a', 59), reads]).toEqual(['found', 'found', 1]);
  expect([await find('b', 60), await find('a', 61), reads]).toEqual(['found', 'absent', 2]);
});

test.each([
  ['missing', () => Promise.reject(new Error('ENOENT: /secret/path')), 'jwksFile unreadable'],
  ['not JSON', async () => '{', 'jwksFile: not JSON'],
  ['with duplicate keys', async () => '{"keys":[],"keys":[]}', 'jwksFile: duplicate key'],
  ['of another form', async () => '[]', 'key set malformed or too large'],
])('a file of keys that is %s is a fault', async (_, readFile, detail) => {
  expect(await fileSet(readFile)('a', 0)).toBe(`issuer_unavailable (none): issuer: ${detail}`);
});

test('the limits of a key set are those it was given', async () => {
  const jwks = await server(answering(() => keys(a.jwk, b.jwk), { 'cache-control': 'max-age=600' }));
  const { origin } = jwks;
  const issuer = trusted({ issuer: origin, jwksUri: `${origin}/keys`, jwksFile: null });
  const found = async (limits: Partial<AttestorOptions['keys']>, kid: string, ...times: number[]) => {
    const options = attestorOptions({
      fetch: fetchLimits({ allowLoopbackOrigins: [origin] }),
      keys: { ...attestorOptions().keys, ...limits },
    });
    const set = createKeySet(publishedKeys(issuer, options));
    const before = jwks.asked.length;
    const said: string[] = [];
    for (const time of times) said.push(await outcome(() => set.find({ kid, alg: 'ES256' }, at(time))));
    return [new Set(said).size === 1 ? said[0] : said, jwks.asked.length - before];
  };
  expect(await found({ keysMax: 2 }, 'a', 0)).toEqual(['accepted', 1]);
  expect(await found({ keysMax: 1 }, 'a', 0)).toEqual([
    'issuer_unavailable (none): issuer: key set malformed or too large',
    1,
  ]);
  expect(await found({ freshMsMax: 120_000 }, 'a', 0, 119, 120)).toEqual(['accepted', 2]);
  expect(await found({ refetchPauseMs: 5_000 }, 'x', 0, 4, 5, 9, 10)).toEqual(['accepted', 3]);
});
