import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Mayfly } from '@mayfly/sdk';
import {
  type AssertionRequest,
  type Cluster,
  type LocalIssuer,
  type Pod,
  startCluster,
  startIssuer,
  startWorkloadApi,
  type WorkloadApi,
} from '@mayfly/standins';
import { accessTokenType, form, jwtType, startWorld, type World } from './world.ts';

const examples = fileURLToPath(new URL('../../examples/issuers/', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'mayfly-attestors-'));

let world: World;
let cluster: Cluster;
let agent: WorkloadApi;
let github: LocalIssuer;
let gitlab: LocalIssuer;
let pod: Pod;

beforeAll(async () => {
  cluster = await startCluster();
  agent = await startWorkloadApi({
    trustDomain: 'spiffe://prod.example',
    listen: `unix://${join(dir, 'agent.sock')}`,
    callerPath: '/ns/finance/sa/reconciler',
  });
  [github, gitlab] = [await startIssuer(), await startIssuer()];
  pod = cluster.createPod(cluster.createServiceAccount('finance', 'reconciler'), 'reconciler-0');
  const [token, ca] = [join(dir, 'token'), join(dir, 'ca.crt')];
  writeFileSync(token, cluster.brokerToken);
  writeFileSync(ca, cluster.ca);
  world = await startWorld({
    allowLoopbackIssuers: [cluster.issuer, github.issuer, gitlab.issuer],
    settings: {
      allowTokenFiles: [`${cluster.issuer}=${token}`],
      spiffeEndpointSocket: agent.address,
      refusalRowsPerSecond: 1000,
    },
  });
  const moved: readonly (readonly [string, string])[] = [
    ['https://kubernetes.default.svc.cluster.local', cluster.issuer],
    ['https://kubernetes.default.svc', cluster.issuer],
    ['/var/run/secrets/kubernetes.io/serviceaccount/token', token],
    ['/var/run/secrets/kubernetes.io/serviceaccount/ca.crt', ca],
    ['https://token.actions.githubusercontent.com', github.issuer],
    ['https://gitlab.com', gitlab.issuer],
  ];
  const texts = readdirSync(examples).map((file) => readFileSync(join(examples, file), 'utf8'));
  const yaml = moved.reduce((text, [from, to]) => text.replaceAll(from, to), texts.join('---\n'));
  const applied = await world.api('POST', '/v1/apply?set=issuers', { bearer: await world.person(), yaml });
  expect([applied.status, applied.body.changes?.length]).toEqual([200, 14]);
}, 60_000);

afterAll(async () => {
  await world.stop();
  await Promise.all([cluster.close(), agent.close(), github.close(), gitlab.close()]);
  rmSync(dir, { recursive: true });
});

const podToken = (of: Pod = pod) => cluster.token(of, { audience: world.url });
const svid = (path = '/ns/finance/sa/reconciler') => agent.svid({ path, audience: world.url });
const job = {
  repository_id: '74',
  repository_owner_id: '65',
  repository: 'acme/app',
  repository_owner: 'acme',
  job_workflow_ref: 'acme/app/.github/workflows/release.yml@refs/heads/main',
  ref: 'refs/heads/main',
  environment: 'prod',
  event_name: 'push',
  runner_environment: 'github-hosted',
  run_id: '4711',
  run_attempt: '1',
};
const githubToken = (claims: object = {}, more: Partial<AssertionRequest> = {}) =>
  github.assertion({
    subject: 'repo:acme@65/app@74:environment:prod',
    audience: world.url,
    alg: 'RS256',
    claims: { ...job, ...claims },
    ...more,
  });
const pipeline = {
  project_id: '20',
  namespace_id: '72',
  project_path: 'acme/app',
  ref: 'main',
  ref_type: 'branch',
  ref_protected: 'true',
  environment: 'prod',
  pipeline_source: 'push',
  job_id: '302',
};
const gitlabToken = (claims: object = {}) =>
  gitlab.assertion({
    subject: 'project_path:acme/app:ref_type:branch:ref:main',
    audience: world.url,
    alg: 'RS256',
    claims: { ...pipeline, ...claims },
  });

let refs = 0;
function exchange(token: string, template: string, place: string, more: Record<string, string> = {}) {
  refs += 1;
  const detail = {
    tool: 'report.post',
    identifier: `https://reports.example/${place}/1`,
    task: { template, ref: `ref-${refs}`, objective: 'test' },
  };
  return world.exchange(form(token, detail, more));
}
const fromPod = (token: string) => exchange(token, 'report-from-pod', 'finance');
const fromSvid = (token: string) => exchange(token, 'report-from-svid', 'finance');
const fromWorkflow = (token: string, more?: Record<string, string>) =>
  exchange(token, 'report-from-workflow', 'runs/4711', more);
const fromPipeline = (token: string) => exchange(token, 'report-from-pipeline', 'jobs/302');
const reasonOf = async (answering: ReturnType<typeof exchange>) => {
  const { status, body } = await answering;
  return status === 200 ? 'granted' : body.reason;
};

test('each workload gets its credential through the example of its issuer', async () => {
  for (const answer of [
    await fromPod(await podToken()),
    await fromSvid(await svid()),
    await fromWorkflow(await githubToken()),
    await fromPipeline(await gitlabToken()),
  ]) {
    expect([answer.status, answer.body.reason]).toEqual([200, undefined]);
    expect(answer.body.access_token.split('.')).toHaveLength(3);
  }
});

test('an :id_token is as good as a :jwt', async () => {
  const idToken = { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' };
  expect(await reasonOf(fromWorkflow(await githubToken(), idToken))).toBe('granted');
});

test('a claim decides where a workload may post', async () => {
  const other = await githubToken({ run_id: '4712' });
  expect(await reasonOf(fromWorkflow(other))).toBe('resource_outside_grant');
});

test.each([
  ['another repository of the same name', () => githubToken({ repository_id: '75' })],
  ['another owner', () => githubToken({ repository_owner_id: '66' })],
  [
    'another workflow',
    () => githubToken({ job_workflow_ref: 'acme/app/.github/workflows/x.yml@refs/heads/main' }),
  ],
  ['another branch', () => githubToken({ ref: 'refs/heads/dev' })],
  ['a runner of somebody’s own', () => githubToken({ runner_environment: 'self-hosted' })],
])('a job of %s does not match', async (_, make) => {
  expect(await reasonOf(fromWorkflow(await make()))).toBe('workload_not_matched');
});

test('a job of a proposal is refused, whatever else it says', async () => {
  for (const event of ['pull_request', 'pull_request_target'])
    expect(await reasonOf(fromWorkflow(await githubToken({ event_name: event })))).toBe('assertion_invalid');
  const merge = await gitlabToken({ pipeline_source: 'merge_request_event' });
  expect(await reasonOf(fromPipeline(merge))).toBe('assertion_invalid');
});

test('an unprotected branch is another workload', async () => {
  expect(await reasonOf(fromPipeline(await gitlabToken({ ref_protected: 'false' })))).toBe(
    'workload_not_matched',
  );
});

test('the token of a deleted pod is refused', async () => {
  const gone = cluster.createPod(pod.account, 'reconciler-1');
  const token = await podToken(gone);
  expect(await reasonOf(fromPod(token))).toBe('granted');
  cluster.deletePod(gone);
  expect(await reasonOf(fromPod(token))).toBe('assertion_invalid');
});

test('a task of one pod is not that of another pod of the same account', async () => {
  const { body } = await fromPod(await podToken());
  const sibling = cluster.createPod(pod.account, 'reconciler-2');
  const detail = {
    tool: 'report.post',
    identifier: 'https://reports.example/finance/1',
    task: body.issuance.task,
  };
  expect(await reasonOf(world.exchange(form(await podToken(sibling), detail)))).toBe('task_unknown');
  expect(await reasonOf(world.exchange(form(await podToken(), detail)))).toBe('granted');
});

test('an SVID of another workload, or of another trust domain, is refused', async () => {
  expect(await reasonOf(fromSvid(await svid('/ns/finance/sa/other')))).toBe('workload_not_matched');
  expect(await reasonOf(fromSvid(await svid('/elsewhere')))).toBe('assertion_invalid');
  const claims = { sub: 'spiffe://evil.example/ns/finance/sa/reconciler' };
  const foreign = await github.assertion({ subject: claims.sub, audience: world.url, alg: 'RS256' });
  expect(await reasonOf(fromSvid(foreign))).toBe('assertion_invalid');
});

test('an issuer may not speak for the subjects of another', async () => {
  const pretended = { subject: 'spiffe://prod.example/ns/finance/sa/reconciler' };
  expect(await reasonOf(fromSvid(await githubToken({}, pretended)))).toBe('assertion_invalid');
  const asPod = { subject: 'system:serviceaccount:finance:reconciler' };
  expect(await reasonOf(fromPod(await githubToken({}, asPod)))).toBe('assertion_invalid');
});

test('a job token is used once, in whatever spelling it comes back', async () => {
  const token = await githubToken();
  expect(await reasonOf(fromWorkflow(token))).toBe('granted');
  expect(await reasonOf(fromWorkflow(token))).toBe('assertion_replayed');
  for (const other of [`${token}=`, ` ${token}`, `${token}\n`, `${token}.`])
    expect(await reasonOf(fromWorkflow(other))).toBe('assertion_invalid');
});

test('the other signature of the same bytes is the same assertion', async () => {
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
  const open = (bearer: string) => world.api('POST', '/v1/tasks', { bearer, json });
  const token = await world.workload();
  const twin = token.replace(/[^.]+$/, twinOf(token));
  expect(twin).not.toBe(token);
  expect((await open(token)).status).toBe(201);
  expect((await open(twin)).body.reason).toBe('assertion_replayed');
});

/** (r, n - s): as good a signature of P-256. */
function twinOf(token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const raw = Buffer.from(token.split('.')[2] ?? '', 'base64url');
  const s = order - BigInt(`0x${raw.subarray(32).toString('hex')}`);
  const mirrored = Buffer.from(s.toString(16).padStart(64, '0'), 'hex');
  return Buffer.concat([raw.subarray(0, 32), mirrored]).toString('base64url');
}

test.each(['at+jwt', 'dpop+jwt', 'mayfly-task+jwt', 'secevent+jwt', 'logout+jwt', 'txntoken+jwt'])(
  'a token of type %s is no assertion, though its issuer signed it',
  async (typ) => {
    expect(await reasonOf(fromWorkflow(await githubToken({}, { header: { typ } })))).toBe(
      'assertion_invalid',
    );
  },
);

test('what the broker signs itself is no assertion', async () => {
  const { body } = await fromWorkflow(await githubToken());
  for (const own of [body.task_token, body.access_token])
    expect(await reasonOf(fromWorkflow(own, { subject_token_type: jwtType }))).toBe('assertion_invalid');
  const federation = await world.running.broker.tokens.signFederation({
    provider: 'local-aws',
    purpose: 'mint',
    audience: world.url,
  });
  expect(await reasonOf(fromWorkflow(federation))).toBe('assertion_invalid');
});

test('an assertion is no access token, and neither is a tool token', async () => {
  const { body } = await fromWorkflow(await githubToken());
  const asTask = { subject_token_type: accessTokenType };
  for (const other of [await githubToken(), await svid(), await podToken(), body.access_token])
    expect(await reasonOf(fromWorkflow(other, asTask))).toBe('assertion_invalid');
});

test('no refusal says anything of the token', async () => {
  const token = await githubToken({ event_name: 'pull_request' });
  const { body } = await fromWorkflow(token);
  for (const piece of [...token.split('.'), 'acme', 'pull_request'])
    expect(JSON.stringify(body)).not.toContain(piece);
});

test('an agent beside a SPIFFE agent is known without a word of configuration', async () => {
  const mayfly = new Mayfly({ server: world.url, env: { SPIFFE_ENDPOINT_SOCKET: agent.address } });
  const task = await mayfly.task({ template: 'report-from-svid', objective: 'post' });
  const { tokenType, expiresAt } = await task.token('report.post', 'https://reports.example/finance/2');
  expect([tokenType, expiresAt.getTime() > Date.now()]).toEqual(['Bearer', true]);
  await task.complete();
});

test('whoami says which identity was taken, of all that were tried', async () => {
  const cli = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
  const env = { PATH: process.env['PATH'], MAYFLY_SERVER: world.url, SPIFFE_ENDPOINT_SOCKET: agent.address };
  const run = promisify(execFile)(process.execPath, [cli, 'whoami', '-o', 'json'], { env });
  const seen = JSON.parse((await run).stdout);
  expect(seen.identityFrom).toBe('SPIFFE Workload API');
  expect(JSON.stringify(seen)).toContain('spiffe://prod.example/ns/finance/sa/reconciler');
  for (const source of [
    'MAYFLY_ASSERTION',
    'Kubernetes projected token',
    'GitHub job token',
    'GitLab job token',
  ])
    expect(seen.identityNotFrom.join()).toContain(source);
});
