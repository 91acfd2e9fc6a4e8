import { request } from 'node:https';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type LocalIssuer, startIssuer } from '../issuer/issuer.ts';
import { type Cluster, startCluster } from './cluster.ts';

const audience = 'https://kubernetes.default.svc';
let offsetMs = 0;
const now = () => new Date(Date.now() + offsetMs);
let issuer: LocalIssuer;
let cluster: Cluster;
beforeAll(async () => {
  issuer = await startIssuer();
  cluster = await startCluster({ now, rememberMs: 10_000 });
  for (const name of ['deployer', 'other']) cluster.createServiceAccount('agents', name);
  cluster.createConfigMap('agents', 'settings', { colour: 'blue' });
  cluster.trust(issuer.issuer, audience);
  cluster.allow('minter', [
    { verbs: ['create'], resource: 'secrets', namespace: 'agents' },
    { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names: ['deployer'] },
  ]);
  cluster.allow('reaper', [{ verbs: ['delete'], resource: 'secrets', namespace: 'agents' }]);
  cluster.allow('system:serviceaccount:agents:deployer', [
    { verbs: ['get'], resource: 'configmaps', namespace: 'agents' },
  ]);
});
afterAll(async () => {
  await issuer.close();
  await cluster.close();
});

interface Said {
  readonly status: number | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of any path; each test asserts what it reads
  readonly body: any;
}

function ask(method: string, path: string, bearer: string, json?: unknown): Promise<Said> {
  return new Promise((resolve, reject) => {
    const text = json === undefined ? '' : JSON.stringify(json);
    // Node frames no body of a DELETE by itself.
    const headers = { authorization: `Bearer ${bearer}`, 'content-length': String(Buffer.byteLength(text)) };
    const sent = request(`${cluster.issuer}${path}`, { ca: cluster.ca, method, headers }, (answer) => {
      let said = '';
      answer.on('data', (chunk) => {
        said += String(chunk);
      });
      answer.on('end', () => resolve({ status: answer.statusCode, body: JSON.parse(said) }));
    });
    sent.on('error', reject);
    sent.end(text);
  });
}
const as = (subject: string, aud = audience) =>
  issuer.assertion({ subject, audience: aud, lifetimeSeconds: 86_400 }); // Its clock stands apart.
const namespace = '/api/v1/namespaces/agents';
const secret = (name: string) => ({ metadata: { name, namespace: 'agents' } });
const bound = (name: string, more: object = {}) => ({
  spec: { expirationSeconds: 600, boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name }, ...more },
});
const tokenPath = `${namespace}/serviceaccounts/deployer/token`;
async function tokenBoundTo(name: string): Promise<string> {
  await ask('POST', `${namespace}/secrets`, await as('minter'), secret(name));
  return (await ask('POST', tokenPath, await as('minter'), bound(name))).body.status.token;
}

test('a token is bound to its Secret, and dies with it once it is no longer remembered', async () => {
  const token = await tokenBoundTo('one');
  expect(decodeJwt(token)).toMatchObject({
    sub: 'system:serviceaccount:agents:deployer',
    aud: [cluster.issuer],
    'kubernetes.io': { namespace: 'agents', secret: { name: 'one' }, serviceaccount: { name: 'deployer' } },
  });
  const settings = `${namespace}/configmaps/settings`;
  expect(await ask('GET', settings, token)).toMatchObject({
    status: 200,
    body: { data: { colour: 'blue' } },
  });
  const gone = await ask('DELETE', `${namespace}/secrets/one`, await as('reaper'));
  expect([gone.status, gone.body.status]).toEqual([200, 'Success']);
  expect(await cluster.ask('GET', settings, token)).toBe(200);
  offsetMs += 10_001;
  expect(await cluster.ask('GET', settings, token)).toBe(401);
  // A Secret of the same name is another one.
  await tokenBoundTo('one');
  expect(await cluster.ask('GET', settings, token)).toBe(401);
});

test('a token ends with its seconds', async () => {
  const token = await tokenBoundTo('two');
  offsetMs += 601_000;
  expect(await cluster.ask('GET', `${namespace}/configmaps/settings`, token)).toBe(401);
});

test('an assertion of a trusted issuer is remembered as long, and no longer', async () => {
  const assertion = await as('reaper');
  const missing = `${namespace}/secrets/none`;
  expect(await cluster.ask('DELETE', missing, assertion)).toBe(404);
  // Past its own end, and still known.
  const { exp = Number.NaN } = decodeJwt(assertion);
  const before = offsetMs;
  offsetMs += exp * 1000 - now().getTime() - 1_000;
  expect(await cluster.ask('DELETE', missing, assertion)).toBe(404);
  offsetMs += 5_000;
  expect(await cluster.ask('DELETE', missing, assertion)).toBe(404);
  offsetMs += 6_000;
  expect(await cluster.ask('DELETE', missing, assertion)).toBe(401);
  offsetMs = before;
});

test('a token for another audience is none here', async () => {
  await ask('POST', `${namespace}/secrets`, await as('minter'), secret('three'));
  const json = bound('three', { audiences: ['https://vault.example'] });
  const { token } = (await ask('POST', tokenPath, await as('minter'), json)).body.status;
  expect(decodeJwt(token).aud).toEqual(['https://vault.example']);
  expect(await cluster.ask('GET', `${namespace}/configmaps/settings`, token)).toBe(401);
});

test.each([
  ['less than ten minutes', 'deployer', bound('four', { expirationSeconds: 599 }), 422],
  ['a Secret that is not there', 'deployer', bound('nowhere'), 404],
  [
    'a Secret of another uid',
    'deployer',
    { spec: { boundObjectRef: { ...bound('four').spec.boundObjectRef, uid: 'x' } } },
    409,
  ],
  [
    'another kind of object',
    'deployer',
    { spec: { boundObjectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'four' } } },
    400,
  ],
  ['an account beyond the rules', 'other', bound('four'), 403],
])('gives no token for %s', async (_, account, json, status) => {
  await ask('POST', `${namespace}/secrets`, await as('minter'), secret('four'));
  const path = `${namespace}/serviceaccounts/${account}/token`;
  expect((await ask('POST', path, await as('minter'), json)).status).toBe(status);
});

test.each([
  ['nobody', async () => 'x', 401],
  ['a user of another audience', () => as('minter', 'https://elsewhere.example'), 401],
  ['a user without a rule', () => as('stranger'), 403],
  ['who may only delete', () => as('reaper'), 403],
])('%s makes no Secret', async (_, bearer, status) => {
  expect((await ask('POST', `${namespace}/secrets`, await bearer(), secret('five'))).status).toBe(status);
  expect(cluster.secrets()).not.toContain('agents/five');
});

test('a Secret is made once, is deleted under its conditions, and is then not found', async () => {
  const made = await ask('POST', `${namespace}/secrets`, await as('minter'), secret('six'));
  const again = await ask('POST', `${namespace}/secrets`, await as('minter'), secret('six'));
  expect([made.status, again.status, again.body.reason]).toEqual([201, 409, 'AlreadyExists']);
  const path = `${namespace}/secrets/six`;
  const other = await ask('DELETE', path, await as('reaper'), { preconditions: { uid: 'x' } });
  expect([other.status, other.body.reason]).toEqual([409, 'Conflict']);
  const { uid } = made.body.metadata;
  expect((await ask('DELETE', path, await as('reaper'), { preconditions: { uid } })).status).toBe(200);
  const absent = await ask('DELETE', path, await as('reaper'));
  expect([absent.status, absent.body.reason]).toEqual([404, 'NotFound']);
});

test('the audit log names who did what, and holds no token', async () => {
  const token = await tokenBoundTo('seven');
  await cluster.ask('GET', `${namespace}/configmaps/settings`, token);
  const credentialId = `JTI=${decodeJwt(token).jti}`;
  expect(cluster.ledger().slice(-2)).toMatchObject([
    { user: 'minter', resource: 'serviceaccounts/token', issued: { credentialId, boundTo: 'seven' } },
    { user: 'system:serviceaccount:agents:deployer', resource: 'configmaps', credentialId, status: 200 },
  ]);
  expect(JSON.stringify(cluster.ledger())).not.toContain(token);
});

test('a review says of the caller alone what RBAC says, and a rule for one name is none for all', async () => {
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const review = async (bearer: string, resourceAttributes: object) => {
    const { status, body } = await ask('POST', path, bearer, { spec: { resourceAttributes } });
    return [status, body.status?.allowed];
  };
  const create = { verb: 'create', resource: 'secrets', namespace: 'agents' };
  expect(await review(await as('minter'), create)).toEqual([201, true]);
  expect(await review(await as('reaper'), create)).toEqual([201, false]);
  expect(await review(await as('minter'), { ...create, namespace: 'kube-system' })).toEqual([201, false]);
  const token = { ...create, resource: 'serviceaccounts', subresource: 'token' };
  expect(await review(await as('minter'), { ...token, name: 'deployer' })).toEqual([201, true]);
  expect(await review(await as('minter'), { ...token, name: 'other' })).toEqual([201, false]);
  expect(await review(await as('minter'), token)).toEqual([201, false]);
  expect(await review(await as('minter', 'https://other.example'), create)).toEqual([401, undefined]);
});
