import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { attestorOptions, createRoute, readRegularFile } from './attesting.ts';
import { completeConfig } from './config.ts';
import { splitTokenFile } from './settings.ts';

const config = (more: Readonly<Record<string, unknown>> = {}) =>
  completeConfig({ issuer: 'https://mayfly.example', ...more });

test('the limits of attestors are settings, each with its default', () => {
  expect(attestorOptions(config())).toMatchObject({
    skewSeconds: 30,
    fetch: { timeoutMs: 3_000, bodyBytesMax: 65_536, allowLoopbackOrigins: [], allowPrivateOrigins: [] },
    keys: { keysMax: 32, refetchPauseMs: 30_000, freshMsMax: 600_000 },
    token: { charactersMax: 16_384, depthMax: 8 },
    tokenFiles: [],
    workloadApi: null,
  });
});

test('each setting reaches its limit', () => {
  const options = attestorOptions(
    config({
      ...{ issuerTimeout: '1s', issuerBodyMax: 1000, issuerKeysMax: 2, issuerRefetchPause: '5s' },
      ...{ issuerKeysAge: '2m', assertionMax: 2000, assertionDepth: 3, clockSkew: '10s' },
      ...{ allowPrivateIssuers: 'https://10.0.0.1', spiffeEndpointSocket: 'unix:///run/agent.sock' },
      allowTokenFiles: 'https://10.0.0.1=/run/token',
    }),
  );
  expect(options).toMatchObject({
    skewSeconds: 10,
    fetch: { timeoutMs: 1_000, bodyBytesMax: 1000, allowPrivateOrigins: ['https://10.0.0.1'] },
    keys: { keysMax: 2, refetchPauseMs: 5_000, freshMsMax: 120_000 },
    token: { charactersMax: 2000, depthMax: 3 },
    tokenFiles: [{ origin: 'https://10.0.0.1', file: '/run/token' }],
    workloadApi: 'unix:///run/agent.sock',
  });
});

test.each([
  ['https://10.0.0.1:6443=/run/token', { origin: 'https://10.0.0.1:6443', file: '/run/token' }],
  ['http://127.0.0.1:80801=/t', undefined],
  ['http://127.0.0.1:8080=/a=b', { origin: 'http://127.0.0.1:8080', file: '/a=b' }],
  ['http://10.0.0.1=/run/token', undefined],
  ['https://10.0.0.1/=/run/token', undefined],
  ['https://10.0.0.1=token', undefined],
  ['/run/token', undefined],
  ['=/run/token', undefined],
])('a token file is named with its origin: %s', (entry, split) => {
  expect(splitTokenFile(entry)).toEqual(split);
  const start = () => config({ allowTokenFiles: entry });
  if (split === undefined) expect(start).toThrow(/MAYFLY_ALLOW_TOKEN_FILES/);
  else expect(start().allowTokenFiles).toEqual([entry]);
});

test.each(['/run/agent.sock', 'http://127.0.0.1:1', 'tcp://agent:1', 'unix'])(
  'an agent is named by its socket or address, not %s',
  (spiffeEndpointSocket) => {
    expect(() => config({ spiffeEndpointSocket })).toThrow(/SPIFFE_ENDPOINT_SOCKET/);
  },
);

test('an assertion beyond the limits is routed nowhere', () => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const jwt = (more: object) =>
    `${part({ alg: 'ES256' })}.${part({ iss: 'https://issuer.example', ...more })}.c2ln`;
  const route = createRoute(config({ assertionMax: 200, assertionDepth: 2 }), { known: () => undefined });
  expect(route(jwt({}))).toBe('https://issuer.example');
  expect(route(jwt({ a: [1] }))).toBe('https://issuer.example');
  expect(route(jwt({ a: [[1]] }))).toBeUndefined();
  expect(route(jwt({ a: 'x'.repeat(200) }))).toBeUndefined();
});

describe('a file that a document names', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-files-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('is read when it is regular and small', async () => {
    const file = join(dir, 'jwks');
    writeFileSync(file, 'é'.repeat(50));
    expect(await readRegularFile(file, 100)).toBe('é'.repeat(50));
    await expect(readRegularFile(file, 99)).rejects.toThrow('too large');
  });

  test('holds nothing up when it is a pipe, a device or a folder', async () => {
    const pipe = join(dir, 'pipe');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    for (const path of [pipe, '/dev/zero', dir])
      await expect(readRegularFile(path, 100)).rejects.toThrow(/not a regular file/);
    await expect(readRegularFile(join(dir, 'absent'), 100)).rejects.toThrow('ENOENT');
  });
});
