import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { type Cluster, selfSigned, startCluster } from '@mayfly/standins';
import { compact, makeKey, pattern } from '@mayfly/testkit';
import { describeAttestor } from '@mayfly/testkit/contracts';
import { readGolden, underTest } from '../../test/golden.ts';
import { attestorOptions, fetchLimits, outcome, trusted } from '../../test/issuer.ts';
import { createAttestor } from '../create-attestor.ts';

describeAttestor('the kubernetes attestor', underTest('kubernetes/golden.json'));

const golden = readGolden('kubernetes/golden.json');
const key = makeKey('RS256', 'k');

/** The golden token with other claims, by its own file of keys. */
async function attestWith(change: object) {
  const readFile = async () => JSON.stringify({ keys: [key.jwk] });
  const { subjects: _, ...issuer } = golden.issuer;
  const audience = 'https://mayfly.example';
  const subjects = [pattern('system:serviceaccount:*:*')];
  const document = trusted({ ...issuer, audience, subjects, algorithms: ['RS256'] });
  const token = compact({ alg: 'RS256', kid: 'k' }, { ...golden.payload, ...change }, key);
  const now = new Date(golden.now);
  const signal = new AbortController().signal;
  return createAttestor(document, attestorOptions({ readFile })).attest(token, { now, signal });
}

const bound = { namespace: 'kube-system', serviceaccount: { name: 'coredns', uid: 'u1' } };

test('a token that is bound to no pod has no claims of one, though it carries their names', async () => {
  const workload = await attestWith({ 'kubernetes.io': bound, 'pod.uid': 'forged', 'node.name': 'forged' });
  expect(workload.claims).toEqual({
    sub: 'system:serviceaccount:kube-system:coredns',
    namespace: 'kube-system',
    'serviceaccount.name': 'coredns',
    'serviceaccount.uid': 'u1',
  });
});

test.each([
  ['another namespace', { ...bound, namespace: 'finance' }],
  ['another account', { ...bound, serviceaccount: { name: 'admin', uid: 'u1' } }],
  [
    'a namespace that runs into the name',
    { namespace: 'kube-system:coredns', serviceaccount: { name: '', uid: 'u' } },
  ],
])('sub and kubernetes.io must agree: %s', async (_, other) => {
  expect(await outcome(() => attestWith({ 'kubernetes.io': other }))).toMatch(
    /^assertion_invalid: (sub and kubernetes\.io disagree|kubernetes\.io)$/,
  );
});

test.each([
  undefined,
  null,
  'x',
  {},
  { namespace: 'kube-system' },
  { ...bound, serviceaccount: { name: 'coredns' } },
  { ...bound, serviceaccount: { name: 'coredns', uid: 7 } },
  { ...bound, pod: { name: 'p' } },
  { ...bound, pod: 'p' },
])('refuses a kubernetes.io that is none: %j', async (other) => {
  expect(await outcome(() => attestWith({ 'kubernetes.io': other }))).toBe(
    'assertion_invalid: kubernetes.io',
  );
});

test('a token of a Secret is refused: it never expires, and neither does one with a forged exp', async () => {
  const flat = {
    'kubernetes.io': undefined,
    'kubernetes.io/serviceaccount/namespace': 'kube-system',
    'kubernetes.io/serviceaccount/service-account.name': 'coredns',
  };
  const secret = { ...flat, exp: undefined, iat: undefined };
  expect(await outcome(() => attestWith(secret))).toBe('assertion_invalid: exp and iat are required');
  expect(await outcome(() => attestWith(flat))).toBe('assertion_invalid: legacy secret token');
  expect(await outcome(() => attestWith({ iss: 'kubernetes/serviceaccount' }))).toBe(
    'assertion_invalid: iss',
  );
});

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.close());

const audience = 'https://mayfly.test';
const files = () => ({
  '/ca.crt': cluster.ca,
  '/token': cluster.brokerToken,
  '/other.crt': selfSigned().cert,
});

/** The attestor of the stand-in cluster: keys behind authentication and a private authority, TokenReview on. */
function clusterAttestor(more: Partial<TrustedIssuer> = {}, at: Cluster = cluster) {
  const tokenReview = { server: at.issuer, caFile: '/ca.crt', tokenFile: '/token' };
  const issuer = trusted({
    ...{ type: 'kubernetes', issuer: at.issuer, jwksFile: null, algorithms: ['RS256'], tokenReview },
    ...{ caFile: '/ca.crt', tokenFile: '/token', claims: ['pod.uid'] },
    ...more,
  });
  const known: Readonly<Record<string, string>> = { ...files(), '/ca.crt': at.ca, '/token': at.brokerToken };
  const options = attestorOptions({
    fetch: fetchLimits({ allowLoopbackOrigins: [at.issuer] }),
    tokenFiles: [{ origin: at.issuer, file: '/token' }],
    readFile: async (path) => known[path] ?? Promise.reject(new Error('ENOENT')),
  });
  const attestor = createAttestor(issuer, options);
  return (token: string) => attestor.attest(token, { now: new Date(), signal: new AbortController().signal });
}

function podOf(at: Cluster, name = 'reconciler') {
  return at.createPod(at.createServiceAccount('finance', name), `${name}-0`);
}

test('reads keys with the token of the broker and the authority of the cluster, and asks for a review', async () => {
  const pod = podOf(cluster);
  const workload = await clusterAttestor()(await cluster.token(pod, { audience }));
  expect(workload.claims).toMatchObject({ 'pod.uid': pod.uid });
  expect(cluster.asked).toEqual([
    '/.well-known/openid-configuration',
    '/openid/v1/jwks',
    '/apis/authentication.k8s.io/v1/tokenreviews',
  ]);
});

test.each([
  ['without a token', { tokenFile: null }, 'answered 401'],
  ['with another authority', { caFile: '/other.crt' }, ''],
  ['without the authority', { caFile: null }, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  [
    'with a file that the operator has not named',
    { tokenFile: '/ca.crt' },
    'tokenFile is not allowed for this origin',
  ],
])('keys cannot be had %s: a fault', async (_, more, detail) => {
  const token = await cluster.token(podOf(cluster), { audience });
  const said = await outcome(() => clusterAttestor(more)(token));
  expect(said).toMatch(/^issuer_unavailable \(none\): issuer: /);
  expect(said).toContain(detail);
});

test('the token of a deleted pod is refused, though it verifies', async () => {
  const pod = podOf(cluster);
  const token = await cluster.token(pod, { audience });
  expect(await outcome(() => clusterAttestor()(token))).toBe('accepted');
  cluster.deletePod(pod);
  expect(await outcome(() => clusterAttestor()(token))).toBe(
    'assertion_invalid: token review: not authenticated',
  );
  expect(await outcome(() => clusterAttestor({ tokenReview: null })(token))).toBe('accepted');
});

test('a review that cannot be had is a fault, never probably fine', async () => {
  const other = await startCluster();
  const token = await other.token(podOf(other), { audience });
  const attest = clusterAttestor({}, other);
  expect(await outcome(() => attest(token))).toBe('accepted');
  other.breakReviews();
  expect(await outcome(() => attest(token))).toBe('issuer_unavailable (none): issuer: answered 500');
  await other.close();
  expect(await outcome(() => attest(token))).toBe('issuer_unavailable (none): issuer: ECONNREFUSED');
});
