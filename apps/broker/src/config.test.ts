import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ConfigError, completeConfig, loadConfig } from './config.ts';
import { isCidr, isLoopbackHost } from './net.ts';
import { settings } from './settings.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'mayfly-config-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function problemsOf(values: Record<string, unknown>): readonly string[] {
  try {
    completeConfig(values);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

function file(text: string): string {
  const path = join(dir, 'mayfly.yaml');
  writeFileSync(path, text);
  return path;
}

test('without any setting the broker listens on loopback only and weakens nothing', () => {
  const config = completeConfig({});
  expect(config).toMatchObject({
    listen: '127.0.0.1:8080',
    issuer: 'http://127.0.0.1:8080',
    federationIssuer: 'http://127.0.0.1:8080/federation',
    insecure: [],
    mintDeadline: 10_000,
    maxPause: 15_000,
    clockSkew: 30_000,
    reapAge: 60_000,
    reapInterval: 1_000,
    revokeConcurrency: 50,
  });
});

test('flags go before the environment, the environment before the file', () => {
  const path = file('listen: 127.0.0.1:1001\nreapInterval: 2s\nlogLevel: warn\n');
  const env = { MAYFLY_LISTEN: '127.0.0.1:1002', MAYFLY_REAP_INTERVAL: '3s', MAYFLY_CONFIG: path };
  const config = loadConfig({ env, flags: { listen: '127.0.0.1:1003' } });
  expect([config.listen, config.reapInterval, config.logLevel]).toEqual(['127.0.0.1:1003', 3_000, 'warn']);
});

test('every setting has an environment variable of its own', () => {
  const names = Object.values(settings).map(({ env }) => env);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^(MAYFLY_[A-Z_]+|DATABASE_URL|SPIFFE_ENDPOINT_SOCKET)$/);
});

test('an unknown key refuses the start, and all problems are told at once', () => {
  expect(problemsOf({ lisen: 'x', reapInterval: '5', logLevel: 'loud' })).toEqual([
    expect.stringContaining('reapInterval (MAYFLY_REAP_INTERVAL): a duration such as 10s'),
    expect.stringContaining('logLevel (MAYFLY_LOG_LEVEL)'),
    'unknown setting: lisen',
  ]);
});

test.each(['900', '1.5s', '-1s', '0s', ' 1s', '1 s', '1S', '99999999999s', 'NaN', 'Infinitys', '1s1s'])(
  'a duration is never guessed: %j',
  (text) => {
    expect(problemsOf({ mintDeadline: text })).toHaveLength(1);
  },
);

test('lists in the environment are comma-separated', () => {
  const env = { MAYFLY_PROVIDER_ENDPOINTS: 'https://a.example, https://b.example,' };
  const config = loadConfig({ env });
  expect(config.providerEndpoints).toEqual(['https://a.example', 'https://b.example']);
  expect(config.insecure).toEqual(['providerEndpoints']);
});

const outside = { issuer: 'https://mayfly.example' };

test.each<[string, Record<string, unknown>, string | null]>([
  ['http beyond loopback', { issuer: 'http://mayfly.example' }, 'https is required beyond loopback'],
  [
    'one issuer for both',
    { ...outside, federationIssuer: 'https://mayfly.example' },
    'must differ from issuer',
  ],
  [
    'a federation issuer over http',
    { ...outside, federationIssuer: 'http://b.example/x' },
    'https is required',
  ],
  ['http on loopback', { issuer: 'http://localhost:8080' }, null],
  ['an issuer with a path', { issuer: 'https://mayfly.example/x' }, 'an origin such as'],
  ['a reap age that a pause could outlast', { reapAge: '55s' }, 'reapAge must be greater'],
  ['a reap age just above', { reapAge: '56s' }, null],
  ['a certificate without key', { tlsCert: 'c.pem' }, 'belong together'],
  ['all addresses without TLS', { ...outside, listen: '0.0.0.0:8080' }, 'listen beyond loopback'],
  ['all addresses with TLS', { ...outside, listen: '0.0.0.0:8080', tlsCert: 'c', tlsKey: 'k' }, null],
  [
    'all addresses behind a proxy',
    { ...outside, listen: '0.0.0.0:8080', trustedProxies: '10.0.0.0/8' },
    null,
  ],
  ['a proxy that is no CIDR', { trustedProxies: 'proxy.example' }, 'not an address or CIDR'],
  ['a proxy with too many bits', { trustedProxies: '10.0.0.0/33' }, 'not an address or CIDR'],
  [
    'loopback issuers beyond loopback',
    { ...outside, allowLoopbackIssuers: 'http://127.0.0.1:1' },
    'only while',
  ],
  ['private issuers over http', { allowPrivateIssuers: 'http://10.0.0.1' }, 'only https origins'],
  ['a database without key', { databaseUrl: 'postgresql://x' }, 'keyEncryptionKey'],
  ['a database with a key', { databaseUrl: 'postgresql://x', keyEncryptionKey: '/kek' }, null],
])('%s', (_, values, problem) => {
  expect(problemsOf(values)).toEqual(problem === null ? [] : [expect.stringContaining(problem)]);
});

test('a file that is not a mapping, not YAML or not there is told by name', () => {
  for (const text of ['- a\n', 'a: b: c\n', 'a: 1\na: 2\n'])
    expect(() => loadConfig({ file: file(text), env: {} })).toThrow(/mayfly\.yaml/);
  expect(() => loadConfig({ file: join(dir, 'absent.yaml'), env: {} })).toThrow(/absent\.yaml/);
});

test('loopback is judged by the address, not by how the name looks', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', '[::1]', 'localhost'])
    expect([host, isLoopbackHost(host)]).toEqual([host, true]);
  for (const host of ['127.0.0.1.evil.example', 'localhost.evil.example', '0.0.0.0', '10.0.0.1', '::', ''])
    expect([host, isLoopbackHost(host)]).toEqual([host, false]);
  expect(isCidr('::1/128')).toBe(true);
  expect(isCidr('10.0.0.1')).toBe(true);
});

test('a variable that nobody knows refuses the start, those of clients do not', () => {
  const env = { MAYFLY_SERVER: 'https://x.example', MAYFLY_TASK_TOKEN: 't', MAYFLY_PROOF: 'dpop' };
  expect(loadConfig({ env }).issuer).toBe('http://127.0.0.1:8080');
  expect(() => loadConfig({ env: { MAYFLY_DPOP_NONSE: 'required' } })).toThrow(
    'unknown variable: MAYFLY_DPOP_NONSE',
  );
});
