import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Minter, type MintRequest, Refusal } from '@mayfly/core';
import { type Cluster, startCluster } from '@mayfly/standins';
import { decodeJwt } from 'jose';
import { outcome } from '../../test/cloud.ts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { kubernetesProvider, kubernetesRequest } from '../../test/small-requests.ts';
import type { MinterServices } from '../services.ts';
import { createKubernetesMinter } from './minter.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
  cluster.createServiceAccount('agents', 'deployer');
  cluster.allow(cluster.brokerName, [
    { verbs: ['create', 'delete'], resource: 'secrets', namespace: 'agents' },
    { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names: ['deployer'] },
  ]);
});
afterAll(() => cluster.close());

const context = () => ({ now: new Date(), signal: AbortSignal.timeout(20_000) });
const withToken = () =>
  kubernetesProvider(cluster.issuer, { auth: 'tokenFile', tokenFile: '/token', caFile: '/ca.pem' });
function minterFor(provider = withToken(), more: Partial<MinterServices> = {}): Minter {
  const origin = cluster.issuer;
  return createKubernetesMinter({
    deny: new MemoryDenyStore(() => new Date()),
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
    federation: { sign: () => Promise.reject(new Error('not asked for')) },
    files: {
      authority: async () => cluster.ca,
      token: async (file, to) =>
        file === '/token' && to === origin ? `${cluster.brokerToken}\n` : Promise.reject(new Error(file)),
      privateKey: () => Promise.reject(new Error('not asked for')),
    },
    ...more,
  });
}
const request = (more: Partial<MintRequest> = {}) => kubernetesRequest(withToken(), more);

test('a token is what kubectl takes from a plugin, and joins to the audit log of the cluster', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  const { credential, expiresAt, keyHash } = await minter.mint(plan, context());
  const { kind, apiVersion, status } = JSON.parse(credential.reveal());
  expect([kind, apiVersion]).toEqual(['ExecCredential', 'client.authentication.k8s.io/v1']);
  expect(Date.parse(status.expirationTimestamp)).toBe(expiresAt.getTime());
  expect(expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
  expect(keyHash).toMatch(/^[0-9a-f]{64}$/);
  const record = cluster.ledger().at(-1);
  expect(record).toMatchObject({ name: 'deployer', issued: { boundTo: plan.reach.split('/')[1] } });
  expect(cluster.secrets()).toContain(plan.reach);
});

test('a token that is refused after its Secret was made leaves its end to the reaper', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  cluster.faults.arm({ action: 'create serviceaccounts/token', mode: 'refuse', status: 403 });
  expect(await outcome(() => minter.mint(plan, context()))).toBe(
    'provider_refused (unknown): TokenRequest: 403',
  );
  expect(cluster.secrets()).toContain(plan.reach);
  expect(await minter.revoke(plan, context())).toBe('gone');
  expect(cluster.secrets()).not.toContain(plan.reach);
});

test('a cluster that may not give tokens of this account says so', async () => {
  const provider = kubernetesProvider(cluster.issuer, {
    ...withToken().spec,
    serviceAccounts: ['agents/other'],
  });
  const minter = minterFor(provider);
  const plan = minter.plan(kubernetesRequest(provider, { identifier: 'k8s://staging/agents/other' }));
  expect(await outcome(() => minter.mint(plan, context()))).toBe(
    'provider_refused (unknown): TokenRequest: 403',
  );
  expect(await minter.revoke(plan, context())).toBe('gone');
});

/** By federation; the cluster knows but the bearers of `known`. */
function federated(known: () => string, now: () => Date = () => new Date()) {
  const signed: string[] = [];
  const { spec } = withToken();
  const provider = kubernetesProvider(cluster.issuer, { ...spec, auth: 'federation', tokenFile: undefined });
  const sign = async ({ purpose }: { purpose: string }) => {
    signed.push(purpose);
    return known();
  };
  const minter = minterFor(provider, { federation: { sign }, now });
  const end = () => minter.revoke(minter.plan(kubernetesRequest(provider)), context());
  return { minter, signed, end };
}

test('ends that come together are made with one assertion, of their own identity', async () => {
  let now = new Date();
  const { minter, signed, end } = federated(
    () => cluster.brokerToken,
    () => now,
  );
  await Promise.all([end(), end(), end()]);
  expect(signed).toEqual(['revoke']);
  await minter.mint(minter.plan(request()), context());
  expect(signed).toEqual(['revoke', 'mint']);
  now = new Date(now.getTime() + 10_000);
  await end();
  expect(signed).toEqual(['revoke', 'mint', 'revoke']);
});

test('an assertion that was refused is not shown again', async () => {
  let known = 'nobody';
  const { signed, end } = federated(() => known);
  expect(await outcome(end)).toBe('provider_refused (none): delete Secret: 401');
  known = cluster.brokerToken;
  expect(await end()).toBe('was-absent');
  expect(signed).toHaveLength(2);
});

test.each([
  ['another token file', { tokenFile: '/etc/passwd' }, '/etc/passwd is not allowed or cannot be read'],
  ['no file at all', {}, '/ca.pem is not allowed or cannot be read', { files: undefined }],
])('nothing is sent with %s', async (_, spec, detail, more: object = {}) => {
  const provider = kubernetesProvider(cluster.issuer, { ...withToken().spec, ...spec });
  const minter = minterFor(provider, more);
  const before = cluster.ledger().length;
  const told = await outcome(() => minter.mint(minter.plan(request()), context()));
  const expected = detail.startsWith('/ca') ? '/token is not allowed or cannot be read' : detail;
  expect(told).toBe(`provider_unavailable (none): ${expected}`);
  expect(cluster.ledger()).toHaveLength(before);
});

test('a server whose certificate is of another authority is not believed', async () => {
  const other = await startCluster();
  const { files } = { files: { authority: async () => other.ca } };
  const minter = minterFor(withToken(), {
    files: { ...files, token: async () => cluster.brokerToken, privateKey: async () => '' },
  });
  expect(await outcome(() => minter.mint(minter.plan(request()), context()))).toMatch(
    /^provider_unavailable \((none|unknown)\): create Secret: [A-Z_]+$/,
  );
  await other.close();
});

test('a Provider that has moved to another cluster ends nothing there', async () => {
  const plan = minterFor().plan(request());
  const moved = minterFor(
    kubernetesProvider('https://127.0.0.1:1', {
      ...withToken().spec,
      endpoints: { api: 'https://127.0.0.1:1' },
    }),
  );
  for (const run of [() => moved.revoke(plan, context()), () => moved.mint(plan, context())])
    expect(await outcome(run)).toBe('provider_refused (none): provider staging-k8s has moved');
});

test('what is not found is an end only in the words of an API server', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  expect(await minter.revoke(plan, context())).toBe('was-absent');
  cluster.faults.arm({ action: 'delete secrets', mode: 'refuse', status: 404 });
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(
    'provider_refused (none): delete Secret: 404',
  );
  cluster.faults.arm({ action: 'delete secrets', mode: 'refuse', status: 202 });
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(
    'provider_unavailable (unknown): delete Secret: 202',
  );
});

test('a mint that comes late asks for less, and none that TokenRequest would stretch is sent', async () => {
  const minter = minterFor();
  const late = new Date(Date.now() - 80_000);
  const plan = minter.plan(request({ now: late }));
  const { expiresAt } = await minter.mint(plan, context());
  expect(expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
  const tooLate = minter.plan(request({ now: new Date(Date.now() - 150_000) }));
  expect(await outcome(() => minter.mint(tooLate, context()))).toMatch(
    /^provider_refused \(none\): [0-9]+ s left, less than TokenRequest takes$/,
  );
});

/** A cluster of its own clock; the Secret takes so long to be made. */
async function mintSlowly(secretSeconds: number, clusterAheadSeconds = 0) {
  let [passedMs, looks] = [0, 0];
  const now = () => new Date(Date.now() + passedMs);
  const slow = await startCluster({ now: () => new Date(now().getTime() + clusterAheadSeconds * 1000) });
  slow.createServiceAccount('agents', 'deployer');
  slow.allow(slow.brokerName, [
    { verbs: ['create', 'delete'], resource: 'secrets', namespace: 'agents' },
    { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names: ['deployer'] },
  ]);
  const provider = kubernetesProvider(slow.issuer, { ...withToken().spec, endpoints: { api: slow.issuer } });
  const minter = minterFor(provider, {
    now: () => {
      // Looked at before the Secret, and after it.
      if (looks === 1) passedMs += secretSeconds * 1000;
      looks += 1;
      return now();
    },
    files: {
      authority: async () => slow.ca,
      token: async () => slow.brokerToken,
      privateKey: () => Promise.reject(new Error('not asked for')),
    },
  });
  const plan = minter.plan(kubernetesRequest(provider, { now: now() }));
  const minting = minter.mint(plan, { ...context(), now: now() });
  return { plan, minter, minting, secrets: () => slow.secrets(), close: () => slow.close() };
}

test('a token whose Secret took long to be made ends no later than its plan', async () => {
  const { plan, minting, close } = await mintSlowly(60);
  const { credential, expiresAt } = await minting;
  const { exp = Number.NaN } = decodeJwt(JSON.parse(credential.reveal()).status.token);
  expect(exp * 1000).toBeLessThanOrEqual(Date.parse(plan.notAfter));
  expect(expiresAt.getTime()).toBe(exp * 1000);
  await close();
});

test('where too little is left once the Secret is there, no token is asked for and the Secret can be ended', async () => {
  const { plan, minter, minting, secrets, close } = await mintSlowly(99);
  expect(await outcome(() => minting)).toMatch(
    /^provider_refused \(unknown\): [0-9]+ s left, less than TokenRequest takes$/,
  );
  expect(secrets()).toContain(plan.reach);
  expect(await minter.revoke(plan, context())).toBe('gone');
  await close();
});

test('a token that ends after its plan by the clock of its cluster is not answered', async () => {
  const { minting, close } = await mintSlowly(0, 8);
  expect(await outcome(() => minting)).toBe(
    'provider_refused (unknown): the provider answered a longer life than asked for',
  );
  await close();
});

test.each([
  ['an account that is no ceiling', { identifier: 'k8s://staging/agents/cluster-admin' }, 'tool_not_granted'],
  ['another cluster', { identifier: 'k8s://production/agents/deployer' }, 'identifier_malformed'],
  ['a namespace alone', { identifier: 'k8s://staging/agents' }, 'identifier_malformed'],
  ['a path beyond', { identifier: 'k8s://staging/agents/deployer/x' }, 'identifier_malformed'],
  ['another access', { access: 'kubernetes.namespace' }, 'identifier_malformed'],
  ['another verb', { actions: ['read'] as const }, 'tool_not_granted'],
  ['no verb', { actions: [] }, 'tool_not_granted'],
])('plans nothing for %s', (_, more, reason) => {
  const plan = () => minterFor().plan(request(more));
  expect(plan).toThrow(Refusal);
  expect(plan).toThrow(expect.objectContaining({ reason }));
});

test('plans nothing that could not live as long as TokenRequest gives', () => {
  const now = new Date();
  const notAfter = new Date(now.getTime() + 604_000);
  expect(() => minterFor().plan(request({ now, notAfter }))).toThrow(
    expect.objectContaining({ reason: 'too_little_time_left' }),
  );
});
