import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { startWorkloadApi, type WorkloadApi } from '@mayfly/standins';
import { compact, makeKey, pattern } from '@mayfly/testkit';
import { describeAttestor } from '@mayfly/testkit/contracts';
import { underTest } from '../../test/golden.ts';
import { attestorOptions, fetchLimits, outcome, serve, trusted } from '../../test/issuer.ts';
import { createAttestor } from '../create-attestor.ts';
import type { AttestorOptions } from '../options.ts';

const jwtSvid = { keyUse: 'jwt-svid', needsIssAndIat: false } as const;

describeAttestor('the spiffe attestor', underTest('spiffe/golden.json', jwtSvid));

const trustDomain = 'spiffe://prod.example';
const audience = 'https://mayfly.test';
const path = '/ns/finance/sa/reconciler';
const dir = mkdtempSync(join(tmpdir(), 'mayfly-spiffe-'));
let agent: WorkloadApi;

beforeAll(async () => {
  agent = await startWorkloadApi({ trustDomain, listen: `unix://${join(dir, 'agent.sock')}` });
});
afterAll(async () => {
  await agent.close();
  rmSync(dir, { recursive: true });
});

const issuerOf = (more: Partial<TrustedIssuer> = {}) =>
  trusted({ type: 'spiffe', issuer: trustDomain, subjects: [pattern(`${trustDomain}/**`)], ...more });
const attestor = (more: Partial<TrustedIssuer> = {}, options: Partial<AttestorOptions> = {}) => {
  const made = createAttestor(issuerOf(more), attestorOptions({ workloadApi: agent.address, ...options }));
  return (token: string, afterSeconds = 0) =>
    made.attest(token, {
      now: new Date(Date.now() + afterSeconds * 1000),
      signal: new AbortController().signal,
    });
};

test('keys come from the Workload API where the document names no bundle', async () => {
  const attest = attestor();
  const workload = await attest(await agent.svid({ path, audience }));
  expect([workload.issuer, workload.subject]).toEqual([trustDomain, `${trustDomain}${path}`]);
});

test('a rotation is followed, and a withdrawn authority proves nothing', async () => {
  const attest = attestor();
  const before = await agent.svid({ path, audience });
  await attest(before);
  await agent.rotate();
  const after = await agent.svid({ path, audience });
  expect((await attest(after, 31)).subject).toBe(`${trustDomain}${path}`);
  expect((await attest(before, 31)).subject).toBe(`${trustDomain}${path}`);
  await agent.rotate({ forget: true });
  expect(await outcome(() => attest(before, 95))).toBe('assertion_invalid: no key of this kid and algorithm');
});

test('an agent that cannot be reached, or knows another trust domain, is a fault', async () => {
  const token = await agent.svid({ path, audience });
  const nowhere = {
    workloadApi: `unix://${join(dir, 'absent.sock')}`,
    fetch: fetchLimits({ timeoutMs: 500 }),
  };
  expect(await outcome(() => attestor({}, nowhere)(token))).toMatch(
    /^issuer_unavailable \(none\): issuer: Workload API: code (4|14)$/,
  );
  expect(await outcome(() => attestor({}, { workloadApi: null })(token))).toBe(
    'issuer_unavailable (none): issuer: no bundleFile, bundleUrl or SPIFFE_ENDPOINT_SOCKET',
  );
  const federated = { issuer: 'spiffe://other.example' };
  const svid = { sub: 'spiffe://other.example/a', aud: audience, exp: Math.floor(Date.now() / 1000) + 60 };
  const foreign = compact({ alg: 'ES256', kid: 'k' }, svid, makeKey('ES256', 'k'));
  const subjects = [pattern('spiffe://other.example/**')];
  expect(await outcome(() => attestor({ ...federated, subjects })(foreign))).toBe(
    'issuer_unavailable (none): issuer: Workload API knows no such trust domain',
  );
});

test('a bundle that is larger than any is refused', async () => {
  const token = await agent.svid({ path, audience });
  expect(await outcome(() => attestor({}, { fetch: fetchLimits({ bodyBytesMax: 20 }) })(token))).toBe(
    'issuer_unavailable (none): issuer: body too large',
  );
});

test('the keys of one trust domain say nothing about another', async () => {
  const key = makeKey('ES256', 'k');
  const keys = JSON.stringify({ keys: [{ ...key.jwk, use: 'jwt-svid' }] });
  const subjects = [pattern('spiffe://*/**')];
  const attest = attestor({ bundleFile: '/b', subjects }, { readFile: async () => keys });
  const svid = (sub: string) =>
    compact({ alg: 'ES256', kid: 'k' }, { sub, aud: audience, exp: Math.floor(Date.now() / 1000) + 60 }, key);
  expect((await attest(svid('spiffe://prod.example/a'))).subject).toBe('spiffe://prod.example/a');
  for (const sub of ['spiffe://other.example/a', 'spiffe://prod.example/../a', 'spiffe://prod.example//a'])
    expect(await outcome(() => attest(svid(sub)))).toBe('assertion_invalid: sub of another trust domain');
});

test('EdDSA is none of the algorithms of a JWT-SVID, also where the document lists it', async () => {
  const key = makeKey('EdDSA', 'ed');
  const keys = JSON.stringify({ keys: [{ ...key.jwk, use: 'jwt-svid' }] });
  const attest = attestor({ bundleFile: '/b', algorithms: ['EdDSA'] }, { readFile: async () => keys });
  const svid = { sub: `${trustDomain}/a`, aud: audience, exp: Math.floor(Date.now() / 1000) + 60 };
  expect(await outcome(() => attest(compact({ alg: 'EdDSA', kid: 'ed' }, svid, key)))).toBe(
    'assertion_invalid: algorithm',
  );
});

test('typ JOSE is that of a JWT-SVID too', async () => {
  const key = makeKey('ES256', 'k');
  const keys = JSON.stringify({ keys: [{ ...key.jwk, use: 'jwt-svid' }] });
  const attest = attestor({ bundleFile: '/b' }, { readFile: async () => keys });
  const svid = { sub: `${trustDomain}/a`, aud: audience, exp: Math.floor(Date.now() / 1000) + 60 };
  const typed = compact({ alg: 'ES256', kid: 'k', typ: 'JOSE' }, svid, key);
  expect(await outcome(() => attest(typed))).toBe('accepted');
});

test('a bundle endpoint is read in the format of SPIFFE', async () => {
  const endpoint = await serve((_, response) => response.end(JSON.stringify(agent.bundle())));
  const fetch = fetchLimits({ allowLoopbackOrigins: [endpoint.origin] });
  const attest = attestor({ bundleUrl: `${endpoint.origin}/bundle` }, { fetch, workloadApi: null });
  expect((await attest(await agent.svid({ path, audience }))).subject).toBe(`${trustDomain}${path}`);
  await endpoint.close();
});
