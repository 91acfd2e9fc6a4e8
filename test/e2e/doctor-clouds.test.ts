import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import {
  type AzureStandin,
  type Cluster,
  type GcpStandin,
  type GithubStandin,
  selfSigned,
  startAzure,
  startCluster,
  startGcp,
  startGithub,
} from '@mayfly/standins';
import { startWorld, type World } from './world.ts';

const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const example = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../examples/clouds/${name}.yaml`, import.meta.url)), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'mayfly-doctor-'));
const file = (name: string) => join(folder, name);
const pool = 'projects/123456789/locations/global/workloadIdentityPools/mayfly';
const accounts = ['finance', 'events'].map((name) => `${name}@acme-prod.iam.gserviceaccount.com`);
const certificate = selfSigned();

let world: World;
let gcp: GcpStandin;
let azure: AzureStandin;
let cluster: Cluster;
let github: GithubStandin;
let client: string;

/** Every provider as its page in docs/clouds sets it up, and the examples as they stand but for ids and addresses. */
beforeAll(async () => {
  [gcp, azure, cluster, github] = await Promise.all([
    startGcp(),
    startAzure({ certificate }),
    startCluster(),
    startGithub(),
  ]);
  const pem = github.createInstallation({
    ...{ appId: '123456', installationId: '7890', owner: 'acme' },
    ...{ repositories: ['webshop'], permissions: { contents: 'write' } },
  });
  writeFileSync(file('app.pem'), pem, { mode: 0o600 });
  writeFileSync(file('ca.crt'), cluster.ca);
  writeFileSync(file('azure.crt'), certificate.cert);
  world = await startWorld({ settings: { providerKeys: { 'acme-github': { file: file('app.pem') } } } });
  const federation = `${world.url}/federation`;
  seedGcp(federation);
  client = seedAzure(federation);
  seedCluster(federation);
  const documents = {
    gcp: example('gcp').replaceAll('http://127.0.0.1:4567', gcp.url),
    azure: example('azure')
      .replace(/tenant: .*/, `tenant: ${azure.tenant}`)
      .replace(/clients: .*/, `clients: [${client}]`)
      .replace(
        'spec:\n',
        `spec:\n  endpoints: { authority: "${azure.url}", management: "${azure.url}", blob: "${azure.url}" }\n`,
      ),
    kubernetes: example('kubernetes')
      .replace('https://127.0.0.1:6443', cluster.issuer)
      .replace('/etc/mayfly/staging-ca.crt', file('ca.crt')),
    github: example('github').replace('http://127.0.0.1:4570', github.url),
  };
  for (const [set, yaml] of Object.entries(documents)) {
    const bearer = await world.person();
    const applied = await world.api('POST', `/v1/apply?set=${set}`, { bearer, yaml });
    if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
  }
}, 90_000);
afterAll(async () => {
  await world.stop();
  await Promise.all([gcp, azure, cluster, github].map((one) => one.close()));
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  for (const { faults } of [gcp, azure, cluster, github]) faults.clear();
});

function seedGcp(federation: string): void {
  gcp.createPoolProvider(`${pool}/providers/broker`, federation);
  const tokenCreators = [`principal://iam.googleapis.com/${pool}/subject/mayfly:local-gcp:mint`];
  for (const email of accounts) gcp.createServiceAccount({ email, tokenCreators, roles: {} });
}

function seedAzure(issuer: string): string {
  azure.createAccount('invoices', { hierarchical: true });
  const assignments = [{ account: 'invoices', rights: ['delegate'] as const }];
  return azure.createApp({ issuer, subject: 'mayfly:prod-azure:mint', assignments });
}

function seedCluster(federation: string): void {
  const namespace = 'agents';
  cluster.createServiceAccount(namespace, 'deployer');
  cluster.trust(federation, 'https://kubernetes.default.svc');
  cluster.allow('mayfly:staging-k8s:mint', [
    { verbs: ['create'], resource: 'secrets', namespace },
    { verbs: ['create'], resource: 'serviceaccounts/token', namespace, names: ['deployer'] },
  ]);
  cluster.allow('mayfly:staging-k8s:revoke', [{ verbs: ['delete'], resource: 'secrets', namespace }]);
}

interface Row {
  readonly check: string;
  readonly ok: boolean;
  readonly says: string;
}

/** `mayfly doctor` on this machine, beside the running broker: its exit code, and what it says of the clouds here. */
function doctor(): Promise<{ code: number; rows: Row[] }> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    MAYFLY_DATA_DIR: world.dataDir,
    MAYFLY_LISTEN: new URL(world.url).host,
    MAYFLY_PROVIDER_KEYS: `acme-github=${file('app.pem')}`,
    NODE_EXTRA_CA_CERTS: file('azure.crt'),
  };
  const ours = /^provider (?:local-gcp|prod-azure|staging-k8s|acme-github): /;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [main, 'doctor', '-o', 'json'], { env }, (error, out, err) => {
      if (out === '') return reject(new Error(err));
      const rows: Row[] = JSON.parse(out);
      const code = error === null ? 0 : Number(error.code);
      return resolve({ code, rows: rows.filter(({ check }) => ours.test(check)) });
    });
  });
}

test('every provider of the examples is looked at where it is, and is whole', async () => {
  const { code, rows } = await doctor();
  expect(rows.filter(({ ok }) => !ok)).toEqual([]);
  expect(code).toBe(0);
  expect(rows.map(({ check, says }) => `${check}: ${says}`).sort()).toEqual(
    [
      'provider acme-github: app: its key is accepted',
      'provider acme-github: installation: of acme',
      'provider acme-github: permissions: contents: write',
      'provider acme-github: repositories: selected ones only',
      'provider local-gcp: federation: our assertion is accepted',
      ...accounts.flatMap((email) => [
        `provider local-gcp: generateAccessToken ${email}: allowed`,
        `provider local-gcp: signBlob ${email}: allowed`,
      ]),
      `provider prod-azure: account invoices: gives user delegation keys to ${client}`,
      `provider prod-azure: client ${client}: our assertion is accepted`,
      'provider staging-k8s: mint agents/deployer: TokenRequest: allowed',
      'provider staging-k8s: mint agents: create Secrets: allowed',
      'provider staging-k8s: revoke agents: delete Secrets: allowed',
    ].sort(),
  );
}, 60_000);

test('what is broken at each of them fails the doctor, with the line that mends it', async () => {
  const refuse = { mode: 'refuse', status: 403 } as const;
  gcp.faults.arm({ action: 'ExchangeToken', ...refuse, code: 'invalid_grant' });
  azure.faults.arm({ action: 'GetUserDelegationKey', ...refuse });
  cluster.faults.arm({ action: 'review access', ...refuse, status: 401 });
  github.createInstallation({
    ...{ appId: '123456', installationId: '7890', owner: 'acme', repositories: [], permissions: {} },
  });
  const { code, rows } = await doctor();
  expect(code).toBe(1);
  const broken = rows.filter(({ ok }) => !ok);
  expect(broken.map(({ check }) => check).sort()).toEqual([
    'provider acme-github: app',
    'provider local-gcp: federation',
    'provider prod-azure: account invoices',
    'provider staging-k8s: mint identity',
  ]);
  const said = (provider: string) => broken.find(({ check }) => check.includes(provider))?.says;
  expect(said('acme-github')).toContain('installation: 401; needs MAYFLY_PROVIDER_KEYS=acme-github=FILE');
  expect(said('local-gcp')).toContain(`--issuer-uri ${world.url}/federation`);
  expect(said('prod-azure')).toContain(
    `az role assignment create --assignee ${client} --role "Storage Blob Delegator"`,
  );
  expect(said('staging-k8s')).toContain(`"url":"${world.url}/federation"`);
}, 60_000);
