import { expect, test } from '@jest/globals';
import { formatError, lint, parseDocuments } from './index.ts';

const issuer = `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: "https://ci.example", subjects: ["job/*"], claims: [team] }
`;

const providers = {
  aws: 'type: aws, region: eu-west-1, roles: ["arn:aws:iam::123456789012:role/a", "arn:aws:iam::210987654321:role/b"], revoke: none',
  ceph: 'type: aws, region: us-east-1, roles: ["arn:aws:iam:::role/a"], revoke: none, denyBy: sessionName, endpoints: { sts: "https://s3.example", iam: "https://s3.example" }',
  azure:
    'type: azure, tenant: aaaabbbb-0000-cccc-1111-dddd2222eeee, clients: [00001111-aaaa-2222-bbbb-3333cccc4444], accounts: [invoices]',
  gcp: 'type: gcp, workloadIdentityProvider: projects/1/locations/global/workloadIdentityPools/mayfly/providers/broker, serviceAccounts: [a@acme.iam.gserviceaccount.com]',
  k8s: 'type: kubernetes, cluster: staging, serviceAccounts: [agents/deployer, agents/reader-2], endpoints: { api: "https://k8s.example" }',
  github: 'type: github, appId: "1", installationId: "2", owner: acme',
} as const;

interface Grant {
  readonly provider: keyof typeof providers;
  readonly access: string;
  readonly resource: string;
  readonly actions?: string;
  readonly mint?: string;
}

/** `LEVEL rule: message` of what concerns the grant, not how it ends. */
function said({ provider, access, resource, actions = 'read', mint = '' }: Grant): readonly string[] {
  const long = provider === 'github' ? '61m' : provider === 'k8s' ? '15m' : '60s';
  const text = `${issuer}---
apiVersion: mayfly/v1
kind: Provider
metadata: { name: ${provider} }
spec: { ${providers[provider]} }
---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: job, owner: team-ci }
spec:
  workloads: [{ issuer: ci, match: { sub: job/build } }]
  params: { who: { pattern: "[a-z0-9-]{1,20}", example: a-1 } }
  task: { maxDuration: 2h }
  grants:
    - name: one
      tool: t
      resource: ${JSON.stringify(resource)}
      mint: { provider: ${provider}, access: ${access}${mint} }
      actions: [${actions}]
      effects: [read, write, delete]
      ttl: { default: ${long}, max: ${long} }
`;
  const { documents, errors } = parseDocuments([{ file: 'a.yaml', text }]);
  expect(errors.map(formatError)).toEqual([]);
  return lint(documents, [])
    .filter(({ path }) => path.startsWith('spec.grants'))
    .map(({ level, rule }) => `${level} ${rule}`);
}

const queue = 'arn:aws:sqs:eu-west-1:123456789012:answers';
const sqs: Grant = { provider: 'aws', access: 'sqs.queue', resource: queue, actions: 'send' };
const object: Grant = { provider: 'aws', access: 's3.object', resource: 'arn:aws:s3:::bucket/a/**' };
const ceph: Grant = { ...object, provider: 'ceph' };
const gcs: Grant = { provider: 'gcp', access: 'gcs.object', resource: 'gs://bucket/a/**' };
const unscoped: Grant = {
  ...{ provider: 'gcp', access: 'gcp.token', resource: '//pubsub.googleapis.com/projects/a/topics/b' },
  mint: ', serviceAccount: a@acme.iam.gserviceaccount.com, accept: unscoped',
};
const blob: Grant = {
  ...{ provider: 'azure', access: 'blob.object' },
  resource: 'https://invoices.blob.core.windows.net/reports/a/**',
};
const k8s: Grant = {
  ...{ provider: 'k8s', access: 'kubernetes.serviceaccount', actions: 'invoke' },
  resource: 'k8s://staging/agents/deployer',
};
const github: Grant = {
  ...{ provider: 'github', access: 'github.issues' },
  resource: 'https://github.com/acme/webshop',
};
const form = 'ERROR resource-form';

// Each beside the grant that is as near to it as can be and passes.
test.each<[string, string, Grant, Grant]>([
  [
    'a queue of another account than the role’s',
    'ERROR account',
    { ...sqs, resource: queue.replace('123456789012', '210987654321') },
    {
      ...sqs,
      resource: queue.replace('123456789012', '210987654321'),
      mint: ', role: "arn:aws:iam::210987654321:role/b"',
    },
  ],
  ['a queue where there are no accounts', 'ERROR account', { ...sqs, provider: 'ceph' }, sqs],
  ['a queue of no region', form, { ...sqs, resource: queue.replace('eu-west-1', 'europe') }, sqs],
  [
    'create where it would overwrite',
    'ERROR create-refused',
    { ...ceph, actions: 'read, create' },
    { ...ceph, actions: 'read, write' },
  ],
  [
    'create at AWS is fine',
    'ERROR create-refused',
    { ...ceph, actions: 'create' },
    { ...object, actions: 'create' },
  ],
  [
    'a bucket of two letters',
    form,
    { ...object, resource: 'arn:aws:s3:::ab/a' },
    { ...object, resource: 'arn:aws:s3:::abc/a' },
  ],
  [
    'a key that no policy can hold',
    form,
    { ...object, resource: 'arn:aws:s3:::bucket/資料/**' },
    { ...object, resource: 'arn:aws:s3:::bucket/né/**' },
  ],
  [
    'a key longer than any',
    form,
    { ...object, resource: `arn:aws:s3:::bucket/${'k'.repeat(1025)}` },
    { ...object, resource: `arn:aws:s3:::bucket/${'k'.repeat(1024)}` },
  ],
  ['no action', 'ERROR no-action', { ...object, actions: '' }, object],
  ['a URL for two methods', 'WARN one-action', { ...gcs, actions: 'read, delete' }, gcs],
  [
    'a prefix for two verbs is fine',
    'WARN one-action',
    { ...gcs, actions: 'read, create' },
    { ...gcs, access: 'gcs.prefix', resource: 'gs://bucket/a/', actions: 'read, create' },
  ],
  [
    'a bucket that ends in a dot',
    form,
    { ...gcs, resource: 'gs://bucket./a' },
    { ...gcs, resource: 'gs://buck.et/a' },
  ],
  ['a quote in a condition', form, { ...gcs, resource: "gs://bucket/a'/**" }, gcs],
  [
    'a service without a name in it',
    form,
    { ...unscoped, resource: '//pubsub.googleapis.com' },
    { ...unscoped, resource: '//pubsub.googleapis.com/a' },
  ],
  ['a space in a name', form, { ...unscoped, resource: '//pubsub.googleapis.com/a b' }, unscoped],
  ['a blob with a space', form, { ...blob, resource: blob.resource.replace('/a/', '/a b/') }, blob],
  [
    'a directory that ends in a dot',
    form,
    { ...blob, resource: blob.resource.replace('/a/', '/a./') },
    { ...blob, resource: blob.resource.replace('/a/', '/.a/') },
  ],
  [
    'a container of two letters',
    form,
    { ...blob, resource: blob.resource.replace('reports', 're') },
    { ...blob, resource: blob.resource.replace('reports', 'rep') },
  ],
  ['another cluster', 'ERROR service-account', { ...k8s, resource: 'k8s://prod/agents/deployer' }, k8s],
  [
    'another service account',
    'ERROR service-account',
    { ...k8s, resource: 'k8s://staging/agents/admin' },
    { ...k8s, resource: 'k8s://staging/agents/reader-${params.who}' },
  ],
  [
    'service accounts of another namespace',
    'ERROR service-account',
    { ...k8s, resource: 'k8s://staging/kube-system/**' },
    { ...k8s, resource: 'k8s://staging/agents/**' },
  ],
  ['another owner', 'ERROR owner', { ...github, resource: 'https://github.com/other/webshop' }, github],
  [
    'an owner by a claim may be the one',
    'ERROR owner',
    { ...github, resource: 'https://github.com/b-${workload.claims.team}/webshop' },
    { ...github, resource: 'https://github.com/a${workload.claims.team}/webshop' },
  ],
  [
    'a part of a repository',
    form,
    { ...github, resource: 'https://github.com/acme/webshop/issues' },
    { ...github, resource: 'https://github.com/acme/webshop-${params.who}' },
  ],
  [
    'another name of a repository',
    form,
    { ...github, resource: 'https://github.com/acme/webshop.git' },
    { ...github, resource: 'https://github.com/acme/**' },
  ],
  ['no repository', form, { ...github, resource: 'https://github.com/acme' }, github],
])('%s: %s', (_, finding, refused, fine) => {
  expect(said(refused)).toContain(finding);
  expect(said(fine).filter((one) => one.startsWith('ERROR') || one === finding)).toEqual([]);
});
