import { request } from 'node:https';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import { type Cluster, type Pod, startCluster } from './cluster.ts';

let cluster: Cluster;
let pod: Pod;
beforeAll(async () => {
  cluster = await startCluster();
  pod = cluster.createPod(cluster.createServiceAccount('finance', 'reconciler'), 'reconciler-0');
});
afterAll(() => cluster.close());

interface Said {
  readonly status: number | undefined;
  readonly body: unknown;
}

function ask(path: string, { bearer, json }: { bearer?: string; json?: unknown } = {}): Promise<Said> {
  return new Promise((resolve, reject) => {
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const method = json === undefined ? 'GET' : 'POST';
    const sent = request(`${cluster.issuer}${path}`, { ca: cluster.ca, method, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => {
        text += String(chunk);
      });
      answer.on('end', () => resolve({ status: answer.statusCode, body: JSON.parse(text) }));
    });
    sent.on('error', reject);
    sent.end(json === undefined ? undefined : JSON.stringify(json));
  });
}

const bearer = () => ({ bearer: cluster.brokerToken });
const reviews = '/apis/authentication.k8s.io/v1/tokenreviews';
const review = async (token: string, audiences = ['https://mayfly.example']) => {
  const { status, body } = await ask(reviews, { ...bearer(), json: { spec: { token, audiences } } });
  expect(status).toBe(201);
  return Reflect.get(Object(body), 'status');
};

test('a projected token is bound to its pod, and its keys are those of discovery', async () => {
  const token = await cluster.token(pod, { audience: 'https://mayfly.example' });
  const { body } = await ask('/openid/v1/jwks', bearer());
  const { payload } = await jwtVerify(token, createLocalJWKSet(body as JSONWebKeySet), {
    issuer: cluster.issuer,
    audience: 'https://mayfly.example',
  });
  expect(payload).toMatchObject({
    sub: 'system:serviceaccount:finance:reconciler',
    aud: ['https://mayfly.example'],
    'kubernetes.io': { pod: { uid: pod.uid }, serviceaccount: { uid: pod.account.uid } },
  });
});

test.each(['/.well-known/openid-configuration', '/openid/v1/jwks', reviews])(
  'nobody without the token of the broker is told anything: %s',
  async (path) => {
    expect((await ask(path)).status).toBe(401);
    expect((await ask(path, { bearer: 'other' })).status).toBe(401);
  },
);

test('its certificate is believed by those who know its authority', async () => {
  await expect(fetch(`${cluster.issuer}/openid/v1/jwks`)).rejects.toThrow();
});

test('a review names the user, and knows audiences, pods and forgeries', async () => {
  const token = await cluster.token(pod, { audience: 'https://mayfly.example' });
  expect(await review(token)).toMatchObject({
    authenticated: true,
    audiences: ['https://mayfly.example'],
    user: { username: decodeJwt(token).sub, uid: pod.account.uid },
  });
  expect(await review(token, ['https://elsewhere.example'])).toMatchObject({ authenticated: false });
  expect(await review(`${token.slice(0, -8)}AAAAAAAA`)).toMatchObject({ authenticated: false });
  const other = cluster.createPod(pod.account, 'reconciler-1');
  const orphan = await cluster.token(other, { audience: 'https://mayfly.example' });
  expect(await review(orphan)).toMatchObject({ authenticated: true });
  cluster.deletePod(other);
  expect(await review(orphan)).toMatchObject({ authenticated: false });
});
