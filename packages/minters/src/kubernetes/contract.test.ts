import { afterAll, beforeAll } from '@jest/globals';
import type { Minted, MintPlan } from '@mayfly/core';
import { type Cluster, type LocalIssuer, startCluster, startIssuer } from '@mayfly/standins';
import type { Random } from '@mayfly/testkit';
import {
  bodyMutant,
  describeMinter,
  type MinterUnderTest,
  planMutant,
  type Scope,
  type Wanted,
} from '@mayfly/testkit/contracts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { kubernetesProvider, kubernetesRequest } from '../../test/small-requests.ts';
import { checkPlan } from '../check.ts';
import { createKubernetesMinter } from './minter.ts';
import { kubernetesBody } from './plan.ts';

/** Stands still: what is minted again then ends at the same time. */
const started = new Date();
const now = () => started;
const audience = 'https://kubernetes.default.svc';
let issuer: LocalIssuer;
let cluster: Cluster;
/** Has accounts of the same names. */
let elsewhere: Cluster;

beforeAll(async () => {
  issuer = await startIssuer();
  [cluster, elsewhere] = [await start(), await start()];
});
afterAll(async () => {
  await issuer.close();
  await Promise.all([cluster.close(), elsewhere.close()]);
});

/** A cluster as docs/clouds/kubernetes.md sets one up. */
async function start(): Promise<Cluster> {
  const made = await startCluster({ now });
  for (const name of ['deployer', 'reader', 'cluster-admin']) made.createServiceAccount('agents', name);
  made.createConfigMap('agents', 'settings', { colour: 'blue' });
  made.trust(issuer.issuer, audience);
  const names = ['deployer', 'reader'];
  for (const provider of ['staging-k8s', 'second-k8s']) {
    made.allow(`mayfly:${provider}:mint`, [
      { verbs: ['create'], resource: 'secrets', namespace: 'agents' },
      { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names },
    ]);
    made.allow(`mayfly:${provider}:revoke`, [
      { verbs: ['delete'], resource: 'secrets', namespace: 'agents' },
    ]);
  }
  made.allow('system:serviceaccount:agents:deployer', [
    { verbs: ['get'], resource: 'configmaps', namespace: 'agents' },
  ]);
  return made;
}

function subject(): MinterUnderTest {
  const at = cluster;
  const provider = kubernetesProvider(at.issuer, { caFile: '/ca.pem' });
  const moved = kubernetesProvider(elsewhere.issuer, { caFile: '/second.pem' });
  const second = { ...moved, name: 'second-k8s' };
  let current = provider;
  const secrets: string[] = [];
  const reports: unknown[] = [];
  const remember = (secret: string) => {
    secrets.push(secret);
    return secret;
  };
  const minter = createKubernetesMinter({
    deny: new MemoryDenyStore(now),
    provider: (name) => (name === second.name ? second : current),
    now,
    report: (...told) => void reports.push(told),
    federation: {
      sign: async ({ provider: name, purpose, audience: aud }) =>
        remember(await issuer.assertion({ subject: `mayfly:${name}:${purpose}`, audience: aud })),
    },
    files: {
      authority: async (file) => (file === '/ca.pem' ? at.ca : elsewhere.ca),
      token: () => Promise.reject(new Error('not allowed')),
      privateKey: () => Promise.reject(new Error('not allowed')),
    },
  });
  return {
    minter: {
      ...minter,
      mint: async (plan, context) => {
        const minted = await minter.mint(plan, context);
        remember(tokenOf(minted));
        return minted;
      },
    },
    check: checkPlan,
    request: kubernetesRequest(provider, { now: started }),
    resource: 'k8s://staging/agents/*',
    outside: 'k8s://staging/kube-system/default',
    second: { request: kubernetesRequest(second, { now: started }), accepts: acceptsAt(elsewhere) },
    move: () => {
      current = moved;
    },
    cloud: cloudOf(at, at.ledger().length),
    opens,
    scope,
    secrets: () => secrets,
    reported: () => reports,
    close: () => at.faults.clear(),
  };
}

function tokenOf({ credential }: Minted): string {
  return JSON.parse(credential.reveal()).status.token;
}

function cloudOf(at: Cluster, since: number): NonNullable<MinterUnderTest['cloud']> {
  const tokens = 'create serviceaccounts/token';
  return {
    failNext: (fault) => {
      switch (fault) {
        case 'refused':
          return void at.faults.arm({ action: '*', mode: 'refuse', status: 403 });
        case 'throttled':
          return void at.faults.arm({ action: '*', mode: 'refuse', status: 429 });
        case 'not-applied':
          return void at.faults.arm({ action: '*', mode: 'cut' });
        case 'applied':
          return void at.faults.arm({ action: tokens, mode: 'applied_and_cut' });
        case 'hangs':
          return void at.faults.arm({ action: tokens, mode: 'hold' });
        case 'lies':
          return void at.faults.arm({ action: tokens, mode: 'lie_longer' });
        case 'lies-identity':
          return void at.faults.arm({ action: tokens, mode: 'lie_identity' });
        default:
          return fault satisfies never;
      }
    },
    plays: ['throttled', 'lies-identity'],
    get hanging() {
      return at.faults.taken;
    },
    get minted() {
      const records = at.ledger().slice(since);
      return records.flatMap(({ issued }) => (issued?.boundTo ? [{ issuanceId: issued.boundTo }] : []));
    },
    hold: () => {
      const held = at.faults.taken;
      return { held, release: at.faults.arm({ action: tokens, mode: 'hold' }) };
    },
    accepts: acceptsAt(at),
  };
}

const acceptsAt = (at: Cluster) => async (minted: Minted) =>
  (await at.ask('GET', '/api/v1/namespaces/agents/configmaps/settings', tokenOf(minted))) === 200;

/** What TokenRequest gives for this: the account that the path names, if its Secret would be its own. */
function opens({ body }: MintPlan, { action, identifier }: Wanted): boolean {
  const { namespace, serviceAccount } = kubernetesBody.parse(body);
  return action === 'invoke' && identifier === `k8s://staging/${namespace}/${serviceAccount}`;
}

function scope(random: Random): Scope {
  const [name, other] = random.pick([
    ['deployer', 'reader'],
    ['reader', 'deployer'],
  ]);
  const audiences = random.pick([undefined, 'https://vault.example']);
  const identifier = `k8s://staging/agents/${name}`;
  const elsewhere = [
    `k8s://staging/agents/${other}`,
    'k8s://staging/agents/cluster-admin',
    `k8s://production/agents/${name}`,
    `k8s://staging/kube-system/${name}`,
    `k8s://staging/agents/${name}-2`,
    'k8s://staging/agents/',
  ];
  return {
    request: { identifier, mint: audiences === undefined ? {} : { audience: audiences } },
    neighbours: [
      ...elsewhere.map((one): Wanted => ({ action: 'invoke', identifier: one })),
      { action: 'read', identifier },
      { action: 'write', identifier },
    ],
  };
}

const secretOf = ({ body }: MintPlan) => kubernetesBody.parse(body).secret;

describeMinter('the kubernetes minter', subject, [
  bodyMutant('a token of another account', { serviceAccount: 'cluster-admin' }),
  bodyMutant('a token of another account that is a ceiling', { serviceAccount: 'reader' }),
  bodyMutant('a token in another namespace', { namespace: 'kube-system' }),
  bodyMutant('a token of another cluster', { api: 'https://production.example' }),
  bodyMutant('a token for another audience', { audiences: ['https://vault.example'] }),
  bodyMutant('a token for more audiences', { audiences: [audience, 'https://vault.example'] }),
  bodyMutant('a token that lives an hour', { expirationSecondsMax: 3600 }),
  planMutant('a Secret that somebody else may have', (plan) => ({
    ...plan,
    body: { ...plan.body, secret: { ...secretOf(plan), name: 'mayfly' } },
  })),
  planMutant('a Secret that says less', (plan) => ({
    ...plan,
    body: { ...plan.body, secret: { ...secretOf(plan), annotations: {} } },
  })),
  planMutant('a promise to end at once', (plan) => ({
    ...plan,
    ends: { by: 'deleted', guaranteedSeconds: 0 },
  })),
  planMutant('a promise to end for an audience that never asks', (plan) => ({
    ...plan,
    body: { ...plan.body, audiences: ['https://vault.example'] },
  })),
  planMutant('an enforcement that the provider does not have', (plan) => ({
    ...plan,
    enforcement: { ...plan.enforcement, ttl: 'broker' },
  })),
  planMutant('a claim that the account is narrowed', (plan) => ({
    ...plan,
    enforcement: { ...plan.enforcement, actions: 'provider' },
  })),
  {
    name: 'an end of another Secret',
    of: (under) => ({
      ...under,
      minter: {
        ...under.minter,
        revoke: (plan, context) =>
          under.minter.revoke(
            { ...plan, body: { ...plan.body, secret: { ...secretOf(plan), name: 'mayfly-other' } } },
            context,
          ),
      },
    }),
  },
]);
