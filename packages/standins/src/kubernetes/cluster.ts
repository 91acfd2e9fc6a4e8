import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request as httpsRequest } from 'node:https';
import { exportJWK, generateKeyPair } from 'jose';
import { Faults } from '../aws/faults.ts';
import { answerJson, bearerOf, type JsonAnswer, member, readJson } from '../json-api.ts';
import { selfSigned } from '../tls/self-signed.ts';
import { callOf, failure, reviewAccess, runCall, signToken } from './api.ts';
import { authenticate, brokerName, verifyAccountToken } from './authenticate.ts';
import { type ClusterRecord, keyOf, type Pod, type Rule, type ServiceAccount, type State } from './state.ts';

export type { ClusterRecord, Pod, Rule, ServiceAccount } from './state.ts';

export interface ClusterOptions {
  readonly now?: () => Date;
  /** How long a token that was good is believed without another look; 10 s in a real API server, here 0. */
  readonly rememberMs?: number;
}

export interface Cluster {
  /** Base URL of the API server, `iss` of its tokens and their audience where none is named. */
  readonly issuer: string;
  /** PEM of the authority that only this cluster's clients know. */
  readonly ca: string;
  /** What the broker's own pod shows: keys and reviews are for authenticated callers. */
  readonly brokerToken: string;
  /** Its user name, for `allow`. */
  readonly brokerName: string;
  createServiceAccount(namespace: string, name: string): ServiceAccount;
  createPod(account: ServiceAccount, name: string): Pod;
  createConfigMap(namespace: string, name: string, data: Readonly<Record<string, string>>): void;
  /** As if a mint had made it. */
  createSecret(namespace: string, name: string): void;
  /** Users of another issuer: their `sub` is their name here. */
  trust(issuer: string, audience: string): void;
  /** RBAC; a user without rules may do nothing. */
  allow(user: string, rules: readonly Rule[]): void;
  /** A projected token, as the kubelet asks for it (TokenRequest). */
  token(pod: Pod, options: { audience: string; expirationSeconds?: number }): Promise<string>;
  /** Its tokens still verify, and a review refuses them. */
  deletePod(pod: Pod): void;
  /** Names of the Secrets that are there. */
  secrets(): readonly string[];
  /** From now on a review answers 500. */
  breakReviews(): void;
  /** By `create secrets`, `delete secrets`, `create serviceaccounts/token`, `review access`. */
  readonly faults: Faults;
  ledger(): readonly ClusterRecord[];
  /** The status of a call with this bearer, by a client that knows the authority. */
  ask(method: string, path: string, bearer: string): Promise<number>;
  /** Paths that were asked for with the broker's token. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

const nodeUid = randomUUID();

/** An API server on loopback as far as tokens go: TokenRequest, TokenReview, keys, RBAC, Secrets that tokens are bound to. */
export async function startCluster({
  now = () => new Date(),
  rememberMs = 0,
}: ClusterOptions = {}): Promise<Cluster> {
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  const kid = randomBytes(8).toString('hex');
  const { key, cert } = selfSigned();
  const server = createServer({ key, cert });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  const state: State = {
    issuer: `https://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`,
    brokerToken: `${randomBytes(16).toString('base64url')}.broker.token`,
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' },
    ...{ privateKey, publicKey, kid, now, rememberMs, broken: false, faults: new Faults() },
    ...{ accounts: new Map(), pods: new Map(), secrets: new Map(), configMaps: new Map() },
    ...{ rules: new Map(), seen: new Map(), trusted: [], ledger: [], asked: [] },
  };
  server.on('request', (request, response) => void answer(request, response, state));
  return clusterOf(state, cert, async () => {
    state.faults.clear();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  });
}

function clusterOf(state: State, ca: string, close: () => Promise<void>): Cluster {
  const { issuer, brokerToken, faults, asked } = state;
  return {
    ...{ issuer, ca, brokerToken, brokerName, faults, asked, close },
    createServiceAccount: (namespace, name) => {
      const account = { namespace, name, uid: randomUUID() };
      state.accounts.set(keyOf(namespace, name), account);
      return account;
    },
    createPod: (account, name) => {
      const pod = { name, uid: randomUUID(), account };
      state.pods.set(pod.uid, pod);
      return pod;
    },
    createConfigMap: (namespace, name, data) => void state.configMaps.set(keyOf(namespace, name), data),
    createSecret: (namespace, name) =>
      void state.secrets.set(keyOf(namespace, name), { namespace, name, uid: randomUUID(), annotations: {} }),
    trust: (external, audience) => void state.trusted.push({ issuer: external, audience }),
    allow: (user, rules) => void state.rules.set(user, [...(state.rules.get(user) ?? []), ...rules]),
    token: ({ name, uid, account }, { audience, expirationSeconds = 600 }) => {
      const exp = Math.floor(state.now().getTime() / 1000) + expirationSeconds;
      const more = { node: { name: 'node-1', uid: nodeUid }, pod: { name, uid } };
      return signToken(account, { state, audiences: [audience], exp, jti: randomUUID(), more });
    },
    deletePod: ({ uid }) => void state.pods.delete(uid),
    secrets: () => [...state.secrets.keys()],
    breakReviews: () => {
      state.broken = true;
    },
    ledger: () => [...state.ledger],
    ask: (method, path, bearer) => statusOf(`${issuer}${path}`, { method, bearer, ca }),
  };
}

function statusOf(
  url: string,
  { method, bearer, ca }: { method: string; bearer: string; ca: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${bearer}` };
    const sent = httpsRequest(url, { method, ca, headers }, (answered) => {
      answered.resume();
      answered.on('end', () => resolve(answered.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, state: State): Promise<void> {
  const { url = '', method = '' } = request;
  const body = method === 'GET' ? undefined : await readJson(request);
  const bearer = bearerOf(request);
  const call = callOf(method, url, body);
  const isReview = method === 'POST' && url === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const run = async (lie: Parameters<Parameters<typeof answerJson>[0]['run']>[0]): Promise<JsonAnswer> => {
    const user = await authenticate(bearer, state);
    if (user === undefined) return failure(401, 'Unauthorized');
    if (isReview) return lie === undefined ? reviewAccess(body, user, state) : { status: 201, body: {} };
    if (call !== undefined) return runCall(call, { user, body, lie, state });
    return bearer === state.brokerToken ? forBroker(method, url, { body, state }) : failure(404, 'NotFound');
  };
  const named = call === undefined ? '' : `${call.verb} ${call.resource}`;
  const action = isReview ? 'review access' : named;
  await answerJson({ response, faults: state.faults, action, run });
}

/** What the broker asks when it attests: keys and reviews. */
async function forBroker(
  method: string,
  url: string,
  { body, state }: { body: unknown; state: State },
): Promise<JsonAnswer> {
  const { issuer, jwk, asked, broken } = state;
  asked.push(url);
  if (url === '/.well-known/openid-configuration')
    return { status: 200, body: { issuer, jwks_uri: `${issuer}/openid/v1/jwks` } };
  if (url === '/openid/v1/jwks') return { status: 200, body: { keys: [jwk] } };
  if (url !== '/apis/authentication.k8s.io/v1/tokenreviews' || method !== 'POST')
    return failure(404, 'NotFound');
  if (broken) return failure(500, 'InternalError');
  const status = await review(body, state);
  return { status: 201, body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status } };
}

async function review(body: unknown, state: State): Promise<unknown> {
  const audiences = member(body, 'spec', 'audiences');
  const wanted = Array.isArray(audiences) ? audiences.map(String) : [state.issuer];
  const verified = await verifyAccountToken(String(member(body, 'spec', 'token')), wanted, state);
  if (verified === undefined) return { authenticated: false, user: {}, error: 'invalid token' };
  const { username, uid, audiences: known, pod } = verified;
  const extra =
    pod === undefined
      ? {}
      : {
          'authentication.kubernetes.io/pod-name': [pod.name],
          'authentication.kubernetes.io/pod-uid': [pod.uid],
        };
  const groups = ['system:serviceaccounts', 'system:authenticated'];
  return { authenticated: true, audiences: known, user: { username, uid, groups, extra } };
}
