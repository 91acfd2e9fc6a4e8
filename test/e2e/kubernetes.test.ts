import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ApiException, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { Mayfly } from '@mayfly/sdk';
import { type Cluster, startCluster } from '@mayfly/standins';
import { decodeJwt } from 'jose';
import { tryKubernetes } from '../../scripts/live/kubernetes.ts';
import { accessTokenType, form, startWorld, type World } from './world.ts';

const example = readFileSync(
  fileURLToPath(new URL('../../examples/clouds/kubernetes.yaml', import.meta.url)),
  'utf8',
);
const folder = mkdtempSync(join(tmpdir(), 'mayfly-k8s-'));
const deployer = 'k8s://staging/agents/deployer';
let offsetMs = 0;
let world: World;
let cluster: Cluster;

/** The cluster as docs/clouds/kubernetes.md sets one up, and the example as it stands but for addresses. */
beforeAll(async () => {
  cluster = await startCluster({ now: () => new Date(Date.now() + offsetMs) });
  // An intent that nobody finished is reaped after eight seconds instead of sixty.
  const settings = { mintDeadline: '5s', maxPause: '1s', clockSkew: '1s', reapAge: '8s' };
  world = await startWorld({ settings });
  const rule = (verb: string, resource: string, names?: string[]) => ({
    ...{ verbs: [verb], resource, namespace: 'agents' },
    ...(names === undefined ? {} : { names }),
  });
  for (const name of ['deployer', 'admin']) cluster.createServiceAccount('agents', name);
  for (const name of ['settings', 'other']) cluster.createConfigMap('agents', name, { colour: 'blue' });
  cluster.createConfigMap('kube-system', 'settings', { colour: 'red' });
  cluster.trust(`${world.url}/federation`, 'https://kubernetes.default.svc');
  cluster.allow('mayfly:staging-k8s:mint', [
    rule('create', 'secrets'),
    rule('create', 'serviceaccounts/token', ['deployer']),
  ]);
  cluster.allow('mayfly:staging-k8s:revoke', [rule('delete', 'secrets')]);
  cluster.allow('system:serviceaccount:agents:deployer', [rule('get', 'configmaps', ['settings'])]);
  writeFileSync(join(folder, 'ca.crt'), cluster.ca);
  const yaml = example
    .replace('https://127.0.0.1:6443', cluster.issuer)
    .replace('/etc/mayfly/staging-ca.crt', join(folder, 'ca.crt'));
  const applied = await world.api('POST', '/v1/apply?set=k8s', { bearer: await world.person(), yaml });
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
}, 60_000);
afterAll(async () => {
  await world.stop();
  await cluster.close();
  rmSync(folder, { recursive: true });
});

const opening = (ref: string) => ({
  task: { template: 'deploy-preview', ref, params: {}, objective: 'test' },
});
const detail = { tool: 'k8s.deploy', identifier: deployer };
const exchange = async (more: object) =>
  world.exchange(form(await world.workload('batch/deploy'), { ...detail, ...more }));

async function issue(ref: string) {
  const { status, body } = await exchange(opening(ref));
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body;
}

/** Kubernetes' own client for Node, unmodified, that takes the answer as from a credential plugin. */
function client(credential: string): CoreV1Api {
  const config = new KubeConfig();
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: process.execPath,
    args: ['-p', 'process.env.CREDENTIAL'],
    env: [{ name: 'CREDENTIAL', value: credential }],
  };
  config.loadFromOptions({
    clusters: [{ name: 'c', server: cluster.issuer, caData: Buffer.from(cluster.ca).toString('base64') }],
    users: [{ name: 'u', exec }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  return config.makeApiClient(CoreV1Api);
}
const said = (run: Promise<unknown>) =>
  run.then(
    () => 200,
    (error: unknown) => (error instanceof ApiException ? error.code : String(error)),
  );
const read = (api: CoreV1Api, name = 'settings', namespace = 'agents') =>
  said(api.readNamespacedConfigMap({ name, namespace }));

test('the account’s rights are there, its neighbours and a write are refused by the cluster', async () => {
  const body = await issue('rights');
  expect(body).toMatchObject({ issued_token_type: 'urn:mayfly:token-type:kubernetes', token_type: 'N_A' });
  expect(body.issuance).toMatchObject({
    ends: { by: 'deleted', worst_case_seconds: 10 },
    enforcement: { resource: 'provider', actions: 'broker', ttl: 'provider' },
  });
  const api = client(body.access_token);
  expect([await read(api), await read(api, 'other'), await read(api, 'settings', 'kube-system')]).toEqual([
    200, 403, 403,
  ]);
  const write = { namespace: 'agents', body: { metadata: { name: 'mine' }, data: {} } };
  expect(await said(api.createNamespacedConfigMap(write))).toBe(403);
  const { token } = JSON.parse(body.access_token).status;
  expect(decodeJwt(token)).toMatchObject({
    sub: 'system:serviceaccount:agents:deployer',
    'kubernetes.io': { secret: { name: `mayfly-${body.issuance.id.slice(4).toLowerCase()}` } },
  });
});

test('a token in the cluster’s own log joins to its issuance', async () => {
  const body = await issue('log');
  await read(client(body.access_token));
  const { jti = '' } = decodeJwt(JSON.parse(body.access_token).status.token);
  expect(cluster.ledger().at(-1)).toMatchObject({ credentialId: `JTI=${jti}`, name: 'settings' });
  const [row] = await world.sql(
    `select identifier_matches, provider_ref from (select resource = $2 as identifier_matches, provider_ref
       from mayfly_issuances_v1 where provider_key_hash = encode(sha256($1::bytea), 'hex')) joined`,
    [jti, deployer],
  );
  expect(row).toEqual({ identifier_matches: true, provider_ref: expect.stringMatching(/^agents\/mayfly-/) });
});

test('what the grant does not name is refused before the cluster is asked', async () => {
  const body = await issue('beyond');
  const before = cluster.ledger().length;
  const again = (more: object) =>
    world.exchange(form(body.task_token, { ...detail, ...more }, { subject_token_type: accessTokenType }));
  for (const more of [
    { identifier: 'k8s://staging/agents/admin' },
    { identifier: 'k8s://production/agents/deployer' },
    { tool: 'k8s.delete' },
    { actions: ['write'] },
  ])
    expect(await again(more)).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  expect(cluster.ledger()).toHaveLength(before);
});

test('the end of a task deletes the Secret, and the unexpired token of this task alone opens nothing more', async () => {
  const [ended, other] = [await issue('ended'), await issue('other')];
  const [api, sibling] = [client(ended.access_token), client(other.access_token)];
  expect([await read(api), await read(sibling)]).toEqual([200, 200]);
  const { task, id } = ended.issuance;
  const answer = await world.api('POST', `/v1/tasks/${task}/end`, {
    bearer: ended.task_token,
    json: { outcome: 'completed' },
  });
  expect(answer.status).toBe(200);
  const deadline = Date.now() + 15_000;
  const shown = async () =>
    (await world.api('GET', `/v1/issuances/${id}`, { bearer: await world.person() })).body;
  while ((await shown()).state !== 'ended' && Date.now() < deadline)
    await new Promise((resolve) => setImmediate(resolve));
  expect(await shown()).toMatchObject({ state: 'ended', endedBy: 'deleted' });
  expect([await read(api), await read(sibling)]).toEqual([401, 200]);
  expect(cluster.secrets()).not.toContain(`agents/mayfly-${id.slice(4).toLowerCase()}`);
});

test('the sdk gives an agent the bearer token, and no other form of it', async () => {
  const mayfly = new Mayfly({ server: world.url, env: {}, assertion: () => world.workload('batch/deploy') });
  await mayfly.run(
    { template: 'deploy-preview', ref: 'sdk', params: {}, objective: 'test' },
    async (task) => {
      const token = await task.kubernetes('k8s.deploy', deployer);
      expect(await cluster.ask('GET', '/api/v1/namespaces/agents/configmaps/settings', token)).toBe(200);
      const wrong = { reason: 'wrong_credential_kind', message: expect.stringContaining('task.kubernetes') };
      await expect(task.token('k8s.deploy', deployer)).rejects.toMatchObject(wrong);
    },
  );
});

test('the script for a real cluster holds on the stand-in, and says what does not', async () => {
  const paths = {
    allowed: '/api/v1/namespaces/agents/configmaps/settings',
    neighbour: '/api/v1/namespaces/kube-system/configmaps/settings',
  };
  const tried = async (more: Partial<typeof paths>) => {
    const said: string[] = [];
    const held = await tryKubernetes({
      mayfly: new Mayfly({ server: world.url, env: {}, assertion: () => world.workload('batch/deploy') }),
      ...{ template: 'deploy-preview', params: {}, tool: 'k8s.deploy', account: deployer },
      ...{ api: cluster.issuer, ca: cluster.ca, ...paths, ...more },
      say: (line) => void said.push(line.split(' ')[0] ?? ''),
    });
    return [held, said];
  };
  expect(await tried({})).toEqual([true, ['held', 'held', 'held', 'held']]);
  expect(await tried({ neighbour: paths.allowed })).toEqual([false, ['held', 'FAILED', 'held', 'held']]);
}, 60_000);

test('a lost answer of the cluster is a 503, and what it made is deleted by the stored plan', async () => {
  const before = cluster.secrets();
  cluster.faults.arm({ action: 'create serviceaccounts/token', mode: 'applied_and_failed', status: 503 });
  const { status, body } = await exchange(opening('away'));
  expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
  const [made = ''] = cluster.secrets().filter((name) => !before.includes(name));
  expect(made).toBe(`agents/mayfly-${body.issuance_id.slice(4).toLowerCase()}`);
  const deadline = Date.now() + 25_000;
  while (cluster.secrets().includes(made) && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 100));
  expect(cluster.secrets()).not.toContain(made);
});

test('a token ends with its seconds', async () => {
  const api = client((await issue('expiry')).access_token);
  expect(await read(api)).toBe(200);
  offsetMs = 901_000;
  expect(await read(api)).toBe(401);
  offsetMs = 0;
});
