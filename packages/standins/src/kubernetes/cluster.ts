import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, jwtVerify, SignJWT } from 'jose';
import { selfSigned } from '../tls/self-signed.ts';

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface Pod {
  readonly name: string;
  readonly uid: string;
  readonly account: ServiceAccount;
}

export interface Cluster {
  /** Base URL of the API server, and `iss` of its tokens. */
  readonly issuer: string;
  /** PEM of the authority that only this cluster's clients know. */
  readonly ca: string;
  /** What the broker's own pod shows: keys and reviews are for authenticated callers. */
  readonly brokerToken: string;
  createServiceAccount(namespace: string, name: string): ServiceAccount;
  createPod(account: ServiceAccount, name: string): Pod;
  /** A projected token, as the kubelet asks for it (TokenRequest). */
  token(pod: Pod, options: { audience: string; expirationSeconds?: number }): Promise<string>;
  /** Its tokens still verify, and a review refuses them. */
  deletePod(pod: Pod): void;
  /** From now on a review answers 500. */
  breakReviews(): void;
  /** Paths that were asked for with the broker's token. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

interface State {
  readonly issuer: string;
  readonly brokerToken: string;
  readonly jwk: JWK;
  readonly publicKey: CryptoKey;
  readonly pods: Map<string, Pod>;
  readonly asked: string[];
  broken: boolean;
}

const nodeUid = randomUUID();
const bodyBytesMax = 65_536;

/** An API server on loopback as far as attestation goes: tokens, keys behind authentication, TokenReview. */
export async function startCluster(): Promise<Cluster> {
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  const kid = randomBytes(8).toString('hex');
  const { key, cert } = selfSigned();
  const server = createServer({ key, cert });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  const issuer = `https://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
  const state: State = {
    issuer,
    brokerToken: `${randomBytes(16).toString('base64url')}.broker.token`,
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' },
    publicKey,
    pods: new Map(),
    asked: [],
    broken: false,
  };
  server.on('request', (request, response) => void answer(request, response, state));
  return {
    issuer,
    ca: cert,
    brokerToken: state.brokerToken,
    asked: state.asked,
    createServiceAccount: (namespace, name) => ({ namespace, name, uid: randomUUID() }),
    createPod: (account, name) => {
      const pod = { name, uid: randomUUID(), account };
      state.pods.set(pod.uid, pod);
      return pod;
    },
    token: (pod, { audience, expirationSeconds = 600 }) => {
      const iat = Math.floor(Date.now() / 1000);
      const claims = { ...boundTo(pod), aud: [audience], iss: issuer, iat, nbf: iat, jti: randomUUID() };
      const payload = { ...claims, exp: iat + expirationSeconds };
      return new SignJWT(payload).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey);
    },
    deletePod: ({ uid }) => void state.pods.delete(uid),
    breakReviews: () => {
      state.broken = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function boundTo({ name, uid, account }: Pod) {
  return {
    sub: usernameOf(account),
    'kubernetes.io': {
      namespace: account.namespace,
      node: { name: 'node-1', uid: nodeUid },
      pod: { name, uid },
      serviceaccount: { name: account.name, uid: account.uid },
    },
  };
}

function usernameOf({ namespace, name }: ServiceAccount): string {
  return `system:serviceaccount:${namespace}:${name}`;
}

async function answer(request: IncomingMessage, response: ServerResponse, state: State): Promise<void> {
  const say = (status: number, body: unknown) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  if (request.headers.authorization !== `Bearer ${state.brokerToken}`)
    return void say(401, { kind: 'Status', status: 'Failure', code: 401 });
  const { url = '', method } = request;
  state.asked.push(url);
  if (url === '/.well-known/openid-configuration')
    return void say(200, { issuer: state.issuer, jwks_uri: `${state.issuer}/openid/v1/jwks` });
  if (url === '/openid/v1/jwks') return void say(200, { keys: [state.jwk] });
  if (url !== '/apis/authentication.k8s.io/v1/tokenreviews' || method !== 'POST')
    return void say(404, { kind: 'Status', status: 'Failure', code: 404 });
  if (state.broken) return void say(500, { kind: 'Status', status: 'Failure', code: 500 });
  const asked: unknown = JSON.parse(await readText(request));
  say(201, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    status: await review(asked, state),
  });
}

/** Signature, expiry, audience, and whether the pod that the token is bound to is still there. */
async function review(asked: unknown, { issuer, publicKey, pods }: State): Promise<unknown> {
  const spec: unknown = Reflect.get(Object(asked), 'spec');
  const audiences: unknown = Reflect.get(Object(spec), 'audiences');
  try {
    const token = String(Reflect.get(Object(spec), 'token'));
    const { payload } = await jwtVerify(token, publicKey, { issuer, algorithms: ['RS256'] });
    const bound: unknown = payload['kubernetes.io'];
    const pod = pods.get(String(Reflect.get(Object(Reflect.get(Object(bound), 'pod')), 'uid')));
    const known = [payload.aud].flat().filter((one) => Array.isArray(audiences) && audiences.includes(one));
    if (pod === undefined || known.length === 0)
      return { authenticated: false, user: {}, error: 'invalid token' };
    const extra = {
      'authentication.kubernetes.io/pod-name': [pod.name],
      'authentication.kubernetes.io/pod-uid': [pod.uid],
    };
    const { uid } = pod.account;
    const groups = ['system:serviceaccounts', 'system:authenticated'];
    return {
      authenticated: true,
      audiences: known,
      user: { username: usernameOf(pod.account), uid, groups, extra },
    };
  } catch {
    return { authenticated: false, user: {}, error: 'invalid token' };
  }
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > bodyBytesMax) throw new RangeError('too large');
  }
  return text;
}
