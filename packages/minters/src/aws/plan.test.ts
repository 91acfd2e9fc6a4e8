import { expect, test } from '@jest/globals';
import { type MintRequest, Refusal } from '@mayfly/core';
import {
  awsProvider,
  awsRequest,
  grantId,
  issuanceId,
  now,
  policyOf,
  prefixRequest,
  role,
  taskId,
} from '../../test/plans.ts';
import { baseSeconds, planAws, planBase, sourceIdentity } from './plan.ts';

const bareGrant = '01M844DZQTEC1R60R30C1G60R3';
const reach = `mf-${bareGrant}-1`;
const refusal = (more: Partial<MintRequest>) => {
  try {
    planAws(awsRequest(more));
    return 'accepted';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
};

const common = {
  kind: 'aws',
  purpose: 'agent',
  issuanceId,
  taskId,
  grantId,
  generation: 1,
  provider: 'prod-aws',
  notAfter: '2026-11-23T12:01:00.000Z',
  reach,
  ends: { by: 'denied', typicalSeconds: 5 },
  enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
  issuedTokenType: 'urn:mayfly:token-type:aws-credentials',
  tokenType: 'N_A',
};
const body = {
  sts: 'https://sts.eu-west-1.amazonaws.com',
  iam: 'https://iam.amazonaws.com',
  role,
  sessionName: 'mf-66230fb10c7eb4f2e19f8a090b8eea322f3d6f15',
  sourceIdentity: reach,
  durationSeconds: 60,
  description: '01M844DZQTE40R2081040G2081',
};
const bounds = (more: Readonly<Record<string, string>> = {}) => ({
  DateLessThan: { 'aws:CurrentTime': '2026-11-23T12:01:00Z' },
  StringEquals: { 'aws:ResourceAccount': '123456789012', ...more },
});
const document = (...Statement: object[]) => ({ Version: '2012-10-17', Statement });

test.each([
  ['read', { actions: ['read'] }, ['s3:GetObject'], {}],
  ['write', { actions: ['write'] }, ['s3:PutObject'], {}],
  ['create', { actions: ['create'] }, ['s3:PutObject'], { 's3:if-none-match': '*' }],
  ['delete', { actions: ['delete'] }, ['s3:DeleteObject'], {}],
] as const)('golden plan: s3.object %s', (_, more, permissions, condition) => {
  const Resource = 'arn:aws:s3:::invoices/2026q3/a.pdf';
  const plan = planAws(awsRequest(more));
  expect({ ...plan, body: { ...plan.body, policy: policyOf(plan) } }).toEqual({
    ...common,
    access: 's3.object',
    identifier: Resource,
    actions: more.actions,
    nativePermissions: permissions,
    body: {
      ...body,
      policy: document({ Effect: 'Allow', Action: permissions, Resource, Condition: bounds(condition) }),
    },
  });
});

test('golden plan: s3.prefix read and list', () => {
  const plan = planAws(prefixRequest());
  expect({ ...plan, body: { ...plan.body, policy: policyOf(plan) } }).toEqual({
    ...common,
    access: 's3.prefix',
    identifier: 'arn:aws:s3:::invoices/2026q3/',
    actions: ['read', 'list'],
    nativePermissions: ['s3:GetObject', 's3:ListBucket'],
    body: {
      ...body,
      policy: document(
        {
          Effect: 'Allow',
          Action: ['s3:GetObject'],
          Resource: 'arn:aws:s3:::invoices/2026q3/*',
          Condition: bounds(),
        },
        {
          Effect: 'Allow',
          Action: ['s3:ListBucket'],
          Resource: 'arn:aws:s3:::invoices',
          Condition: bounds({ 's3:prefix': '2026q3/' }),
        },
      ),
    },
  });
});

test('golden plan: the base session of it', () => {
  const plan = planAws(prefixRequest());
  const base = planBase(plan, { issuanceId: taskId, now });
  expect(base).toEqual({
    ...common,
    purpose: 'base',
    issuanceId: taskId,
    access: 's3.prefix',
    identifier: 'arn:aws:s3:::invoices/2026q3/',
    actions: [],
    nativePermissions: [],
    notAfter: '2026-11-23T12:15:00.000Z',
    enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' },
    body: {
      ...body,
      sessionName: 'mf-e4b824d274d3755d50b67c1aba583a3f9ba61c69',
      policy: null,
      durationSeconds: baseSeconds,
      description: '01M844DZQTE81840G2081040G2',
    },
  });
});

test('the same request gives the same plan, and a plan is plain JSON', () => {
  const plan = planAws(prefixRequest());
  expect(planAws(prefixRequest())).toEqual(plan);
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
});

test('SourceIdentity is mf-, 26 characters of the grant, and the generation', () => {
  expect(sourceIdentity(grantId, 0)).toBe(`mf-${bareGrant}-0`);
  expect(sourceIdentity(grantId, 41)).toMatch(/^mf-[0-9A-HJKMNP-TV-Z]{26}-41$/);
  const names = [1, 2, 11].map((generation) => planAws(awsRequest({ generation })).reach);
  expect(new Set(names).size).toBe(3);
  // STS takes 2 to 64 of these characters, not starting with `aws:`.
  for (const one of names) expect(one).toMatch(/^[\w+=,.@-]{2,64}$/);
});

test('the session name is one of its issuance alone, of 160 bits, and does not tell the id', () => {
  const names = [issuanceId, taskId].map((id) =>
    String(planAws(awsRequest({ issuanceId: id })).body['sessionName']),
  );
  expect(new Set(names).size).toBe(2);
  for (const name of names) expect(name).toMatch(/^mf-[0-9a-f]{40}$/);
});

test('a life below 30 seconds is refused, by one second', () => {
  const at = (seconds: number) => ({
    notAfter: new Date(Math.floor(now.getTime() / 1000) * 1000 + seconds * 1000),
  });
  expect(refusal(at(30))).toBe('accepted');
  expect(refusal(at(29))).toBe('too_little_time_left: 29 s');
  expect(refusal(at(0))).toBe('too_little_time_left: 0 s');
  expect(refusal(at(-60))).toBe('too_little_time_left: -60 s');
});

test('the role is the first ceiling, or the ceiling that the template names', () => {
  const other = 'arn:aws:iam::123456789012:role/mayfly/other';
  expect(planAws(awsRequest()).body['role']).toBe(role);
  expect(planAws(awsRequest({ mint: { role: other } })).body['role']).toBe(other);
});

test.each([
  'arn:aws:iam::123456789012:role/mayfly/admin',
  'arn:aws:iam::999999999999:role/mayfly/finance',
  `${role}/`,
  'arn:aws:iam::123456789012:role/mayfly/*',
  '',
])('a role that is no ceiling of the provider is refused: %s', (wanted) => {
  expect(refusal({ mint: { role: wanted } })).toBe(
    'tool_not_granted: role is not a ceiling of provider prod-aws',
  );
});

test('the account of the role is the account of the bucket', () => {
  const foreign = 'arn:aws:iam::999999999999:role/mayfly/x';
  const plan = planAws(awsRequest({ provider: awsProvider({ roles: [foreign] }) }));
  expect(String(plan.body['policy'])).toContain('"aws:ResourceAccount":"999999999999"');
});

test('what may not be denied ends by expiry and says so', () => {
  expect(planAws(awsRequest({ provider: awsProvider({ revoke: 'none' }) })).ends).toEqual({ by: 'expired' });
});

test.each([
  ['region', { region: 'aws-global' }],
  ['region', { region: 'us-east-1.evil.test/' }],
  ['roles', { roles: [] }],
  ['roles.0', { roles: ['arn:aws:iam::1:role/x'] }],
  ['roles.0', { roles: ['arn:aws:iam::123456789012:user/x'] }],
  ['auth', { auth: 'keys' }],
  ['revoke', { revoke: 'maybe' }],
  ['denyBy', { denyBy: 'name' }],
  ['endpoints.sts', { endpoints: { sts: 'not a url' } }],
  ['revoker.role', { revoker: { role: 'x' } }],
  ['type', { type: 'gcp' }],
])('a provider with a bad %s is refused: %j', (place, spec) => {
  expect(refusal({ provider: awsProvider(spec) })).toMatch(
    new RegExp(`^provider_refused: provider prod-aws: ${place.replaceAll('.', '\\.')}: `),
  );
});
