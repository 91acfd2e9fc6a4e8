import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Inspection } from '@mayfly/core';
import { type Cluster, type LocalIssuer, type Rule, startCluster, startIssuer } from '@mayfly/standins';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { kubernetesProvider } from '../../test/small-requests.ts';
import { createKubernetesMinter } from './minter.ts';

const audience = 'https://kubernetes.default.svc';
const mintRules: readonly Rule[] = [
  { verbs: ['create'], resource: 'secrets', namespace: 'agents' },
  { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names: ['deployer'] },
];
const revokeRules: readonly Rule[] = [{ verbs: ['delete'], resource: 'secrets', namespace: 'agents' }];

let issuer: LocalIssuer;
beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());
let cluster: Cluster | undefined;
afterEach(() => cluster?.close());

interface Scene {
  readonly trusted?: string;
  readonly mint?: readonly Rule[];
  readonly revoke?: readonly Rule[];
  readonly before?: (cluster: Cluster) => void;
}

/** What is found in a cluster of its own; nothing is made there. */
async function inspected({ trusted = audience, mint, revoke, before }: Scene = {}) {
  const made = await startCluster();
  cluster = made;
  made.trust(issuer.issuer, trusted);
  made.allow('mayfly:staging-k8s:mint', mint ?? mintRules);
  made.allow('mayfly:staging-k8s:revoke', revoke ?? revokeRules);
  before?.(made);
  const provider = kubernetesProvider(made.issuer, {
    serviceAccounts: ['agents/deployer'],
    caFile: '/ca.pem',
  });
  const minter = createKubernetesMinter({
    deny: new MemoryDenyStore(() => new Date()),
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
    federation: {
      sign: ({ provider: name, purpose, audience: to }) =>
        issuer.assertion({ subject: `mayfly:${name}:${purpose}`, audience: to, alg: 'RS256' }),
    },
    files: {
      authority: async () => made.ca,
      token: () => Promise.reject(new Error('not asked for')),
      privateKey: () => Promise.reject(new Error('not asked for')),
    },
  });
  const context = { now: new Date(), signal: AbortSignal.timeout(20_000) };
  const found = (await minter.inspect?.(provider, context)) ?? [];
  expect(made.ledger()).toEqual([]);
  expect(made.secrets()).toEqual([]);
  return found;
}

const failed = (found: readonly Inspection[]) => found.filter(({ ok }) => !ok);

test('each identity may do what it needs, and nothing of what it must not', async () => {
  expect(await inspected()).toEqual([
    { subject: 'mint agents: create Secrets', ok: true, says: 'allowed' },
    { subject: 'mint agents/deployer: TokenRequest', ok: true, says: 'allowed' },
    { subject: 'revoke agents: delete Secrets', ok: true, says: 'allowed' },
  ]);
});

test('each missing permission prints the role and the binding that give it', async () => {
  expect(failed(await inspected({ mint: [], revoke: [] }))).toEqual([
    {
      subject: 'mint agents: create Secrets',
      ok: false,
      says: 'not allowed; kubectl -n agents create role mayfly-secrets --verb=create --resource=secrets && kubectl -n agents create rolebinding mayfly-secrets --role=mayfly-secrets --user=mayfly:staging-k8s:mint',
    },
    {
      subject: 'mint agents/deployer: TokenRequest',
      ok: false,
      says: 'not allowed; kubectl -n agents create role mayfly-tokens-deployer --verb=create --resource=serviceaccounts/token --resource-name=deployer && kubectl -n agents create rolebinding mayfly-tokens-deployer --role=mayfly-tokens-deployer --user=mayfly:staging-k8s:mint',
    },
    {
      subject: 'revoke agents: delete Secrets',
      ok: false,
      says: 'not allowed; kubectl -n agents create role mayfly-reaper --verb=delete --resource=secrets && kubectl -n agents create rolebinding mayfly-reaper --role=mayfly-reaper --user=mayfly:staging-k8s:revoke',
    },
  ]);
});

test.each([
  ['get', 'mint agents: get Secrets'],
  ['list', 'mint agents: list Secrets'],
  ['watch', 'mint agents: watch Secrets'],
])('an identity that may %s Secrets has too much', async (verb, subject) => {
  const more: Rule = { verbs: [verb], resource: 'secrets', namespace: 'agents' };
  expect(failed(await inspected({ mint: [...mintRules, more] }))).toEqual([
    { subject, ok: false, says: 'too much: mayfly:staging-k8s:mint may do this; take it away' },
  ]);
});

test('tokens of any account are too much', async () => {
  const any: Rule = { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents' };
  const found = failed(await inspected({ mint: [...mintRules, any] }));
  expect(found.map(({ subject }) => subject)).toEqual(['mint agents: TokenRequest of any account']);
});

test('a reaper that may do everything has too much', async () => {
  const found = failed(await inspected({ revoke: [{ verbs: ['*'], resource: '*', namespace: '*' }] }));
  expect(found.map(({ subject }) => subject)).toEqual([
    'revoke agents: get Secrets',
    'revoke agents: list Secrets',
    'revoke agents: watch Secrets',
    'revoke everything',
  ]);
});

test('a cluster that expects another audience prints what its configuration needs', async () => {
  const jwt = `[{"issuer":{"url":"${issuer.issuer}","audiences":["${audience}"]},"claimMappings":{"username":{"claim":"sub","prefix":""}}}]`;
  const says = `SelfSubjectAccessReview: 401; AuthenticationConfiguration needs jwt: ${jwt}`;
  expect(await inspected({ trusted: 'https://other.example' })).toEqual([
    { subject: 'mint identity', ok: false, says },
    { subject: 'revoke identity', ok: false, says },
  ]);
});

test.each([
  ['throttled', { mode: 'refuse', status: 429 }, 'SelfSubjectAccessReview: 429'],
  ['cut', { mode: 'cut' }, 'SelfSubjectAccessReview: UND_ERR_SOCKET'],
  ['lying', { mode: 'lie_identity' }, 'the provider answered something that is no review'],
] as const)('a cluster that is %s is no cluster that allows', async (_, fault, says) => {
  const found = await inspected({
    before: ({ faults }) => void faults.arm({ action: 'review access', ...fault }),
  });
  expect(failed(found)).toEqual([
    { subject: 'mint identity', ok: false, says: expect.stringContaining(`${says}; `) },
  ]);
});
