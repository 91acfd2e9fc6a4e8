import { expect, test } from '@jest/globals';
import { formatFinding, lint, parseDocuments } from './index.ts';

const issuers = `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: "https://ci.example", subjects: ["job/*"], claims: [repository] }
---
apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: sso }
spec: { type: oidc, issuer: "https://sso.example", subjects: ["*@corp"], claims: [groups], people: true }
`;
const cloud = `apiVersion: mayfly/v1
kind: Provider
metadata: { name: cloud }
spec:
  type: aws
  region: eu-west-1
  roles: ["arn:aws:iam::123456789012:role/mayfly/ci"]
  revoker: { role: "arn:aws:iam::123456789012:role/mayfly/reaper" }
`;
const server = `apiVersion: mayfly/v1
kind: ResourceServer
metadata: { name: tools }
spec: { audience: "https://tools.example/mcp", subjects: [{ issuer: ci, match: { sub: job/tools } }] }
`;

interface Parts {
  readonly resource?: string;
  readonly grant?: string;
  readonly spec?: string;
  readonly params?: string;
  readonly mint?: string;
  readonly actions?: string;
  readonly effects?: string;
  readonly workloads?: string;
}

const template = (parts: Parts) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: job, owner: team-ci }
spec:
  ${parts.spec ?? 'risk: medium'}
  workloads: ${parts.workloads ?? '[{ issuer: ci, match: { sub: job/build } }]'}
  params: ${parts.params ?? '{ day: { pattern: "20[0-9]{2}-[0-9]{2}", example: 2026-11 } }'}
  grants:
    - name: one
      tool: s3.read
      resource: "${parts.resource ?? 'arn:aws:s3:::bucket/${params.day}/**'}"
      mint: ${parts.mint ?? '{ provider: cloud, access: s3.object }'}
      actions: ${parts.actions ?? '[read]'}
      effects: ${parts.effects ?? '[read]'}
      ${parts.grant ?? 'ttl: { default: 60s, max: 60s }'}
`;

function rulesOf(text: string): readonly string[] {
  const { documents, errors } = parseDocuments([
    { file: 'world.yaml', text: [issuers, cloud, server].join('---\n') },
    { file: 'a.yaml', text },
  ]);
  expect(errors).toEqual([]);
  return lint(documents, []).map(({ level, rule }) => `${level} ${rule}`);
}

test('a sound world has no finding', () => {
  expect(rulesOf(template({}))).toEqual([]);
});

const toolMint = '{ provider: token, server: tools }';
const bounds = '{ quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }';

// Each rule beside the document that is as near to it as can be and passes.
test.each<[string, Parts, Parts]>([
  [
    'SECURITY pattern-not-anchored-to-segment',
    { resource: 'arn:aws:s3:::bucket/${params.day}*' },
    { resource: 'arn:aws:s3:::bucket/${params.day}/*' },
  ],
  [
    'SECURITY pattern-not-anchored-to-segment',
    { resource: 'arn:aws:s3:::bucket/in-*/${params.day}' },
    { resource: 'arn:aws:s3:::bucket/*-in/${params.day}' },
  ],
  [
    'SECURITY low-risk-strong-effect',
    { spec: 'risk: low', effects: '[read, egress]' },
    { spec: 'risk: medium', effects: '[read, egress]' },
  ],
  [
    'SECURITY low-risk-outside-audience',
    { spec: 'risk: low', mint: toolMint, resource: 'https://other.example/x' },
    { spec: 'risk: low', mint: toolMint, resource: 'https://tools.example/x' },
  ],
  [
    'SECURITY low-risk-outside-audience',
    { spec: 'risk: low', mint: toolMint, resource: 'https://tools.example.evil/x' },
    { spec: 'risk: high', mint: toolMint, resource: 'https://tools.example.evil/x' },
  ],
  [
    'SECURITY high-risk-without-friction',
    { spec: 'risk: high', effects: '[read, privilege]' },
    { spec: 'risk: high', effects: '[read]' },
  ],
  [
    'SECURITY effects-understated',
    { actions: '[delete]', effects: '[write]' },
    { actions: '[delete]', effects: '[write, delete]' },
  ],
  [
    'SECURITY effects-understated',
    { actions: '[create]', effects: '[read]' },
    { actions: '[create]', effects: '[egress]' },
  ],
  ['ERROR effects-missing', { actions: '[create]', effects: '[]' }, { actions: '[read]', effects: '[]' }],
  [
    'SECURITY param-unbounded',
    { params: '{ day: { pattern: ".+", example: x } }' },
    { params: '{ day: { pattern: "[a-z]+", example: x } }' },
  ],
  [
    'SECURITY param-unbounded',
    { params: '{ day: { pattern: ".+", example: x } }' },
    { params: '{ day: { pattern: ".+", from: workload.claims.repository, example: x } }' },
  ],
  [
    'SECURITY any-subject',
    { workloads: '[{ issuer: ci, match: { sub: ["*", "*/**"] } }]' },
    { workloads: '[{ issuer: ci, match: { sub: "*", repository: acme } }]' },
  ],
  ['WARN no-workload', { workloads: '[]' }, {}],
  ['ERROR no-action', { actions: '[]' }, {}],
  [
    'WARN no-action',
    { mint: toolMint, resource: 'https://tools.example/x', actions: '[]' },
    { mint: toolMint, resource: 'https://tools.example/x' },
  ],
  ['WARN repeated', { actions: '[read, read]' }, { actions: '[read, create]', effects: '[write]' }],
  ['WARN no-opener', { spec: 'openers: []' }, { spec: 'openers: [self]' }],
  [
    'WARN claim-not-kept',
    { workloads: '[{ issuer: ci, match: { ref: main } }]' },
    { workloads: '[{ issuer: ci, match: { repository: acme } }]' },
  ],
  [
    'WARN claim-not-kept',
    { workloads: '[{ issuer: ci, match: { sub: job/build }, bind: [run_id] }]' },
    { workloads: '[{ issuer: ci, match: { sub: job/build }, bind: [repository] }]' },
  ],
  [
    'WARN claim-not-kept',
    { resource: 'arn:aws:s3:::bucket/${workload.claims.ref}/**' },
    { resource: 'arn:aws:s3:::bucket/${workload.claims.repository}/**' },
  ],
  [
    'WARN claim-not-kept',
    { params: '{ day: { pattern: "[a-z]+", from: workload.claims.ref, example: x } }' },
    { params: '{ day: { pattern: "[a-z]+", from: workload.claims.repository, example: x } }' },
  ],
  [
    'ERROR caller-chosen-bucket',
    { resource: 'arn:aws:s3:::acme-${params.day}/x' },
    {
      resource: 'arn:aws:s3:::acme-${params.day}/x',
      params: '{ day: { pattern: "[a-z]+", from: workload.claims.repository, example: x } }',
    },
  ],
  [
    'ERROR no-fixed-first-segment',
    { resource: 'arn:aws:s3:::${workload.claims.repository}/x' },
    { resource: 'arn:aws:s3:::acme-${workload.claims.repository}/x' },
  ],
  [
    'ERROR no-fixed-first-segment',
    { resource: 'https://*.example/x', mint: toolMint },
    { resource: 'https://tools.example/*', mint: toolMint },
  ],
  [
    'ERROR resource-form',
    { resource: 'https://a@tools.example/x', mint: toolMint },
    { resource: 'https://tools.example:8443/x', mint: toolMint },
  ],
  ['ERROR resource-form', { resource: 'arn:aws:s3:::bucket//x' }, { resource: 'arn:aws-cn:s3:::bucket/x' }],
  [
    'ERROR unknown-variable',
    { resource: 'arn:aws:s3:::bucket/${task.name}/**' },
    { resource: 'arn:aws:s3:::bucket/${task.id}/**' },
  ],
  [
    'ERROR object-form',
    { resource: 'arn:aws:s3:::bucket/x/' },
    { resource: 'arn:aws:s3:::bucket/x/', mint: '{ provider: cloud, access: s3.prefix }' },
  ],
  [
    'ERROR prefix-form',
    { resource: 'arn:aws:s3:::bucket/x/*', mint: '{ provider: cloud, access: s3.prefix }' },
    { resource: 'arn:aws:s3:::bucket/x/**', mint: '{ provider: cloud, access: s3.prefix }' },
  ],
  [
    'ERROR action-unknown',
    { actions: '[list]' },
    { actions: '[list]', mint: '{ provider: cloud, access: s3.prefix }', resource: 'arn:aws:s3:::bucket/x/' },
  ],
  [
    'ERROR ttl-range',
    { grant: 'ttl: { default: 29s, max: 60s }' },
    { grant: 'ttl: { default: 30s, max: 300s }' },
  ],
  ['ERROR ttl-range', { grant: 'ttl: { max: 301s }' }, { grant: 'ttl: { max: 300s }' }],
  [
    'ERROR ttl-range',
    { mint: toolMint, resource: 'https://tools.example/x', grant: 'ttl: { max: 3601s }' },
    { mint: toolMint, resource: 'https://tools.example/x', grant: 'ttl: { default: 5s, max: 3600s }' },
  ],
  ['ERROR endsWithin-unreachable', { grant: 'endsWithin: 59s' }, { grant: 'endsWithin: 60s' }],
  [
    'ERROR endsWithin-unreachable',
    { mint: toolMint, resource: 'https://tools.example/x', grant: 'endsWithin: 4s' },
    { mint: toolMint, resource: 'https://tools.example/x', grant: 'endsWithin: 5s' },
  ],
  [
    'ERROR empty-range',
    { params: '{ day: { integer: { min: 2, max: 1 }, example: 1 } }' },
    { params: '{ day: { integer: { min: 1, max: 1 }, example: 1 } }' },
  ],
  [
    'ERROR undefined-param',
    { params: bounds },
    { params: bounds, resource: 'arn:aws:s3:::bucket/${params.quarter}/**' },
  ],
])('%s is found, and not in the near miss', (finding, found, missed) => {
  expect(rulesOf(template(found))).toContain(finding);
  expect(rulesOf(template(missed))).not.toContain(finding);
});

test.each([
  [
    'SECURITY any-subject',
    issuers
      .split('---')[0]
      ?.replace('name: ci', 'name: ci2')
      .replace('ci.example', 'ci2.example')
      .replace('job/*', '*') ?? '',
  ],
  [
    'SECURITY people-reuse',
    issuers
      .split('---\n')[1]
      ?.replace('name: sso', 'name: sso2')
      .replace('sso.example', 'sso2.example')
      .replace('people: true', 'people: true, replay: reuse') ?? '',
  ],
  [
    'SECURITY no-revocation',
    cloud.replace('name: cloud', 'name: cloud2').replace(/ {2}revoker.*\n/, '  revoke: none\n'),
  ],
  ['SECURITY revoker-missing', cloud.replace('name: cloud', 'name: cloud2').replace(/ {2}revoker.*\n/, '')],
  [
    'WARN no-subject',
    server
      .replace('name: tools', 'name: tools2')
      .replace('tools.example', 'tools2.example')
      .replace(/subjects: .*/, 'subjects: [] }'),
  ],
  [
    'WARN role-of-people',
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { roles: [admin], subjects: [{ issuer: ci, match: { sub: job/x } }] }\n',
  ],
  [
    'WARN no-role',
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { subjects: [{ issuer: sso, match: { groups: x } }] }\n',
  ],
  [
    'WARN empty-scope',
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { roles: [auditor], scope: { templates: [] }, subjects: [{ issuer: sso, match: { groups: x } }] }\n',
  ],
])('%s is found in a document of its kind', (finding, text) => {
  expect(rulesOf(text)).toEqual([finding]);
});

test('a role that machines may hold is not a role of people', () => {
  const text =
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { roles: [operator], subjects: [{ issuer: ci, match: { sub: job/x } }] }\n';
  expect(rulesOf(text)).toEqual([]);
});

test('references may be met by the documents in force', () => {
  const alone = parseDocuments([{ file: 'a.yaml', text: template({}) }]).documents;
  const world = parseDocuments([{ file: 'w.yaml', text: [issuers, cloud].join('---\n') }]).documents;
  const rules = (others: Parameters<typeof lint>[1]) => lint(alone, others).map(({ rule }) => rule);
  expect(rules([])).toEqual(['unknown-issuer', 'unknown-provider']);
  expect(rules(world.map(({ document }) => document))).toEqual([]);
});

test('references are taken on trust only where nobody can know the others', () => {
  const { documents } = parseDocuments([{ file: 'a.yaml', text: template({}) }]);
  expect(lint(documents, null)).toEqual([]);
});

test('findings come in reading order with place, path, level, rule and a way out', () => {
  const { documents } = parseDocuments([
    {
      file: 'a.yaml',
      text: template({ resource: 'arn:aws:s3:::bucket/${params.day}*', grant: 'endsWithin: 5s' }),
    },
  ]);
  expect(lint(documents, null).map(formatFinding)).toEqual([
    'a.yaml:11:17: spec.grants[0].resource: SECURITY pattern-not-anchored-to-segment: "${params.day}*" also opens every name that starts like this; write "arn:aws:s3:::bucket/${params.day}/**"',
    'a.yaml:15:19: spec.grants[0].endsWithin: ERROR endsWithin-unreachable: the worst case is 60 s (a denial has no guaranteed delay, so the longest ttl counts); set ttl.max to 5s or endsWithin to 60s',
  ]);
});
