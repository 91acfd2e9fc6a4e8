import { expect, test } from '@jest/globals';
import { formatError, lint, parseDocuments } from './index.ts';

const key = 'arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-1234567890ab';
const issuer = `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: "https://ci.example", subjects: ["job/*"] }
`;
const provider = (more = `kmsKeys: ["${key}"]`) => `apiVersion: mayfly/v1
kind: Provider
metadata: { name: cloud }
spec:
  type: aws
  region: eu-west-1
  roles: ["arn:aws:iam::123456789012:role/mayfly/ci"]
  revoker: { role: "arn:aws:iam::123456789012:role/mayfly/reaper" }
  ${more}
`;
const template = (
  access: string,
  resource: string,
  { verb = 'read', mint = '' } = {},
) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: job, owner: team-ci }
spec:
  risk: medium
  workloads: [{ issuer: ci, match: { sub: job/build } }]
  params: { who: { pattern: "[a-z0-9-]{1,20}", example: a-1 } }
  grants:
    - name: one
      tool: t
      resource: "${resource}"
      mint: { provider: cloud, access: ${access}${mint} }
      actions: [${verb}]
      effects: [read, write, delete]
      ttl: { default: 60s, max: 60s }
`;

function said(text: string, cloud = provider()): readonly string[] {
  const { documents, errors } = parseDocuments([
    { file: 'a.yaml', text: [issuer, cloud, text].join('---\n') },
  ]);
  return [
    ...errors.map(formatError),
    ...lint(documents, []).map(({ rule, message }) => `${rule}: ${message}`),
  ];
}

const of = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:123456789012:${rest}`;

test.each([
  ['secretsmanager.secret', of('secretsmanager', 'secret:db-prod-AbCd12'), 'read'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:team/db-prod-AbCd12'), 'read'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:team/**'), 'read'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:team/${params.who}'), 'read'],
  ['dynamodb.items', of('dynamodb', 'table/orders/items/${params.who}'), 'write, read'],
  ['dynamodb.items', of('dynamodb', 'table/orders/items/**'), 'read'],
  ['sqs.queue', of('sqs', 'reports'), 'send'],
  ['sqs.queue', of('sqs', 'reports.fifo'), 'receive'],
  ['lambda.function', of('lambda', 'function:resize:prod'), 'invoke'],
])('%s takes %s', (access, resource, verb) => {
  expect(said(template(access, resource, { verb }))).toEqual([]);
});

test.each(['write', 'delete'])('%s of items without read says what it tells', (verb) => {
  const [found, ...more] = said(template('dynamodb.items', of('dynamodb', 'table/orders/items/a'), { verb }));
  expect(more).toEqual([]);
  expect(found).toMatch(/^tells-what-is-there: .*ReturnValuesOnConditionCheckFailure/);
});

test.each([
  ['secretsmanager.secret', of('secretsmanager', 'secret:db-prod-*'), 'no-fixed-first-segment'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:db-prod'), 'resource-form'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:team/db'), 'resource-form'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:${params.who}-AbCd12'), 'caller-chosen-secret'],
  ['secretsmanager.secret', of('secretsmanager', 'secret:team/db?-AbCd12'), 'resource-form'],
  ['dynamodb.items', of('dynamodb', 'table/orders'), 'resource-form'],
  ['dynamodb.items', of('dynamodb', 'table/orders/index/by-date'), 'resource-form'],
  ['dynamodb.items', of('dynamodb', 'table/orders/items/'), 'resource-form'],
  ['dynamodb.items', of('dynamodb', 'table/${params.who}/items/a'), 'caller-chosen-table'],
  ['dynamodb.items', of('dynamodb', 'table/*/items/a'), 'no-fixed-first-segment'],
  ['sqs.queue', of('sqs', 'reports/**'), 'resource-form'],
  ['sqs.queue', of('sqs', 'reports*'), 'no-fixed-first-segment'],
  ['sqs.queue', of('sqs', '${params.who}'), 'caller-chosen-queue'],
  ['sqs.queue', 'arn:aws:sqs:eu-west-1:*:reports', 'resource-form'],
  ['sqs.queue', 'arn:aws:sqs:*:123456789012:reports', 'resource-form'],
  ['lambda.function', of('lambda', 'function:resize'), 'resource-form'],
  ['lambda.function', of('lambda', 'function:resize:*'), 'no-fixed-first-segment'],
  ['lambda.function', of('lambda', 'function:resize:${params.who}'), 'caller-chosen-function'],
])('%s refuses %s as %s', (access, resource, rule) => {
  const verb = { s: 'read', d: 'read', l: 'invoke' }[access.charAt(0)] ?? 'read';
  const asked = access === 'sqs.queue' ? 'send' : verb;
  const rules = said(template(access, resource, { verb: asked })).map((one) => one.split(':')[0]);
  expect(rules).toContain(rule);
});

const bucket = 'arn:aws:s3:::bucket/${params.who}/**';

test('a grant names one of the keys of its provider', () => {
  const mint = `, kmsKey: "${key}"`;
  expect(said(template('s3.object', bucket, { mint }))).toEqual([]);
  expect(said(template('s3.object', bucket, { mint }), provider(''))).toEqual([
    'kmsKey: not one of the kmsKeys of provider cloud',
  ]);
  const other = `, kmsKey: "${key.replace('0a1b', 'ffff')}"`;
  expect(said(template('s3.object', bucket, { mint: other }))).toEqual([
    'kmsKey: not one of the kmsKeys of provider cloud',
  ]);
  expect(said(template('sqs.queue', of('sqs', 'reports'), { verb: 'send', mint }))).toEqual([
    'kmsKey: sqs.queue takes no KMS key',
  ]);
});

test.each(['alias/invoices', 'key/*', 'key/invoices'])(
  'a provider lists keys by their ids: not %s',
  (name) => {
    const text = template('s3.object', bucket);
    const [error] = said(text, provider(`kmsKeys: ["arn:aws:kms:eu-west-1:123456789012:${name}"]`));
    expect(error).toContain('the ARN of a KMS key by its id');
  },
);
