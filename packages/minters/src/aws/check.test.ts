import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { mutationsOf } from '../../test/mutations.ts';
import {
  type Allowed,
  allowedFor,
  awsProvider,
  awsRequest,
  policyOf,
  prefixRequest,
} from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { planAws } from './plan.ts';

const requests: readonly (readonly [string, MintRequest])[] = [
  ['read of one object', awsRequest()],
  ['write of one object', awsRequest({ actions: ['write'] })],
  ['create of one object', awsRequest({ actions: ['create'] })],
  ['read, create and delete of one object', awsRequest({ actions: ['read', 'create', 'delete'] })],
  ['read and list of a prefix', prefixRequest()],
  ['everything of a prefix', prefixRequest({ actions: ['read', 'list', 'write', 'delete'] })],
];

const check = (plan: unknown, request: MintRequest, more: Partial<Allowed> = {}) =>
  checkPlan(plan as MintPlan, allowedFor(request, more)); // Broken plans are the point of this suite.
const withBody = (plan: MintPlan, body: object) => ({ ...plan, body: { ...plan.body, ...body } });
const withPolicy = (plan: MintPlan, document: unknown) =>
  withBody(plan, { policy: JSON.stringify(document) });

test.each(requests)('passes what the planner makes: %s', (_, request) => {
  expect(check(planAws(request), request)).toBeNull();
});

// What may be otherwise and still opens nothing more; each with its reason.
const harmless: readonly [RegExp, string][] = [
  [/^body\.durationSeconds: (one less)$/, 'a shorter life'],
  [/^body\.durationSeconds: one more$/, 'the second by which clocks round'],
];

test.each(requests)('no single change of what is sent passes: %s', (_, request) => {
  const plan = planAws(request);
  const mutations = mutationsOf(plan.body, ['body']);
  expect(mutations.length).toBeGreaterThan(40);
  const passed = mutations.filter(({ value }) => check({ ...plan, body: value }, request) === null);
  const unexplained = passed.filter(({ name }) => !harmless.some(([pattern]) => pattern.test(name)));
  expect(unexplained.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of the policy document passes: %s', (_, request) => {
  const plan = planAws(request);
  const mutations = mutationsOf(policyOf(plan));
  expect(mutations.length).toBeGreaterThan(70);
  const passed = mutations.filter(({ value }) => check(withPolicy(plan, value), request) === null);
  expect(passed.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of what the log is told passes: %s', (_, request) => {
  const plan = planAws(request);
  const { body: _body, ...told } = plan;
  const harmlessHere =
    /^(ends\.typicalSeconds|ends: without typicalSeconds|(ends|enforcement): one key more|: one key more)/;
  const passed = mutationsOf(told).filter(({ value }) => {
    try {
      return check({ ...Object(value), body: plan.body }, request) === null;
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  const unexplained = passed.filter(({ name }) => !harmlessHere.test(name));
  expect(unexplained.map(({ name }) => name)).toEqual([]);
});

test('every two keys of an object in another order, or spelled otherwise, is another policy', () => {
  const request = awsRequest();
  const plan = planAws(request);
  const text = String(plan.body['policy']);
  for (const changed of [
    ` ${text}`,
    `${text}\n`,
    text.replace('"Effect"', '"\\u0045ffect"'),
    text.replace('{"Effect":"Allow"', '{"Effect":"Deny","Effect":"Allow"'),
    text.replace('"Resource":', '"Resource":"*","Resource":'),
    text.replace('"Statement":', '"Statement":[],"Statement":'),
    text.replace('/', '\\/'),
  ])
    expect([changed, check(withBody(plan, { policy: changed }), request)]).toEqual([
      changed,
      'policy: not in its one spelling',
    ]);
});

const read = awsRequest();
const readPlan = planAws(read);
const [one] = [JSON.parse(String(readPlan.body['policy'])).Statement[0]];
const statement = (more: object) =>
  withPolicy(readPlan, { Version: '2012-10-17', Statement: [{ ...one, ...more }] });
const equals = (more: object) =>
  statement({ Condition: { ...one.Condition, StringEquals: { ...one.Condition.StringEquals, ...more } } });
const until = (time: string) =>
  statement({ Condition: { ...one.Condition, DateLessThan: { 'aws:CurrentTime': time } } });
const narrow = 'policy: holds more than narrow Allow statements';
const target = 'Resource is not the one thing asked for';
const unbounded = 'policy: a statement without an end';
const notThen = 'time bound is not the end of the plan';
const foreign = 's3:GetObject: a condition that nobody knows';
const unprefixed = 's3:ListBucket: without StringEquals s3:prefix "2026q3/"';
const form = 'body: not the known form, or without a session policy';

test.each([
  ['Resource of everything', statement({ Resource: '*' }), target],
  ['Resource of the bucket', statement({ Resource: 'arn:aws:s3:::invoices/*' }), target],
  ['Resource of the neighbour', statement({ Resource: 'arn:aws:s3:::invoices/2026q3/b.pdf' }), target],
  ['Resource with a star', statement({ Resource: 'arn:aws:s3:::invoices/2026q3/a.pdf*' }), target],
  ['Resource in another bucket', statement({ Resource: 'arn:aws:s3:::payroll/2026q3/a.pdf' }), target],
  ['Resource in another partition', statement({ Resource: 'arn:aws-cn:s3:::invoices/2026q3/a.pdf' }), target],
  ['a list of resources', statement({ Resource: [one.Resource] }), narrow],
  [
    'another account',
    equals({ 'aws:ResourceAccount': '999999999999' }),
    'resource account is not that of the role',
  ],
  [
    'no account',
    statement({ Condition: { DateLessThan: one.Condition.DateLessThan } }),
    'resource account is not that of the role',
  ],
  ['a wildcard action', statement({ Action: ['s3:*'] }), 'permission s3:* is not known'],
  ['every action', statement({ Action: ['*'] }), 'permission * is not known'],
  [
    'an action of another case',
    statement({ Action: ['S3:GetObject'] }),
    'permission S3:GetObject is not known',
  ],
  [
    'a permission of the prototype',
    statement({ Action: ['constructor'] }),
    'permission constructor is not known',
  ],
  [
    'an old version',
    statement({ Action: ['s3:GetObjectVersion'] }),
    'permission s3:GetObjectVersion is not known',
  ],
  ['role chaining', statement({ Action: ['sts:AssumeRole'] }), 'permission sts:AssumeRole is not known'],
  ['a write', statement({ Action: ['s3:PutObject'] }), 'permission s3:PutObject exceeds the actions'],
  [
    'a write beside the read',
    statement({ Action: ['s3:GetObject', 's3:PutObject'] }),
    'permission s3:PutObject exceeds the actions',
  ],
  [
    'a deletion',
    statement({ Action: ['s3:DeleteObject'] }),
    'permission s3:DeleteObject exceeds the actions',
  ],
  ['a list', statement({ Action: ['s3:ListBucket'] }), 'permission s3:ListBucket exceeds the actions'],
  [
    'the same permission twice',
    statement({ Action: ['s3:GetObject', 's3:GetObject'] }),
    'permissions are not those of the plan',
  ],
  ['no action', statement({ Action: [] }), narrow],
  ['an action as text', statement({ Action: 's3:GetObject' }), narrow],
  ['NotAction', statement({ NotAction: ['s3:PutObject'] }), narrow],
  ['NotResource', statement({ NotResource: 'arn:aws:s3:::x/*' }), narrow],
  ['a principal', statement({ Principal: '*' }), narrow],
  ['a Sid', statement({ Sid: 'x' }), narrow],
  ['Deny', statement({ Effect: 'Deny' }), narrow],
  ['no condition', statement({ Condition: undefined }), narrow],
  ['no time bound', statement({ Condition: { StringEquals: one.Condition.StringEquals } }), unbounded],
  [
    'a bound that may be absent',
    statement({
      Condition: {
        ...one.Condition,
        DateLessThan: undefined,
        DateLessThanIfExists: one.Condition.DateLessThan,
      },
    }),
    unbounded,
  ],
  [
    'a negated operator',
    statement({ Condition: { ...one.Condition, StringNotEquals: { 'aws:x': 'y' } } }),
    foreign,
  ],
  [
    'a set operator',
    statement({ Condition: { ...one.Condition, 'ForAllValues:StringEquals': { 'aws:x': 'y' } } }),
    foreign,
  ],
  ['a later end', until('2026-11-23T12:01:01Z'), 'time bound is later than allowed'],
  ['an earlier end', until('2026-11-23T12:00:59Z'), 'time bound is not the end of the plan'],
  ['an end in another zone', until('2026-11-23T12:01:00+00:00'), notThen],
  ['an end without a zone', until('2026-11-23T12:01:00'), notThen],
  ['an end in seconds', until('1795435260'), notThen],
  ['an end of fractions', until('2026-11-23T12:01:00.000Z'), notThen],
  ['an end of words', until('tomorrow'), notThen],
  ['a prefix on an object', equals({ 's3:prefix': '2026q3/' }), foreign],
  ['If-None-Match on a read', equals({ 's3:if-none-match': '*' }), foreign],
  [
    'a second statement',
    withPolicy(readPlan, { Version: '2012-10-17', Statement: [one, one] }),
    'permissions are not those of the plan',
  ],
  [
    'a statement for another key',
    withPolicy(readPlan, { Version: '2012-10-17', Statement: [one, { ...one, Resource: '*' }] }),
    target,
  ],
  [
    'five statements',
    withPolicy(readPlan, { Version: '2012-10-17', Statement: [one, one, one, one, one] }),
    narrow,
  ],
  ['no statement', withPolicy(readPlan, { Version: '2012-10-17', Statement: [] }), narrow],
  ['a statement outside a list', withPolicy(readPlan, { Version: '2012-10-17', Statement: one }), narrow],
  [
    'the old version of the language',
    withPolicy(readPlan, { Version: '2008-10-17', Statement: [one] }),
    narrow,
  ],
  ['an Id', withPolicy(readPlan, { Version: '2012-10-17', Id: 'x', Statement: [one] }), narrow],
  ['no policy', withBody(readPlan, { policy: null }), form],
  ['an empty policy', withBody(readPlan, { policy: '' }), narrow],
  ['a policy that is no JSON', withBody(readPlan, { policy: '{' }), narrow],
  ['a policy above 2,048 characters', withBody(readPlan, { policy: ' '.repeat(2049) }), form],
  [
    'a managed policy beside it',
    withBody(readPlan, { policyArns: ['arn:aws:iam::aws:policy/AdministratorAccess'] }),
    form,
  ],
  [
    'another STS',
    withBody(readPlan, { sts: 'https://sts.eu-west-2.amazonaws.com' }),
    'STS is not that of the provider',
  ],
  ['another IAM', withBody(readPlan, { iam: 'https://iam.example' }), 'IAM is not that of the provider'],
  [
    'another role',
    withBody(readPlan, { role: 'arn:aws:iam::123456789012:role/admin' }),
    'role is not a ceiling of the provider',
  ],
  [
    'another ceiling in another account',
    withBody(readPlan, { role: 'arn:aws:iam::999999999999:role/mayfly/finance' }),
    'role is not a ceiling of the provider',
  ],
  [
    'a session name that can be guessed',
    withBody(readPlan, { sessionName: 'mf-agent-1-agent-1-agent-1-agent-1-agent-1-' }),
    'session name is not that of the issuance',
  ],
  ['no SourceIdentity', withBody(readPlan, { sourceIdentity: null }), form],
  [
    'SourceIdentity of the next generation',
    withBody(readPlan, { sourceIdentity: readPlan.reach.replace(/-1$/, '-2') }),
    'SourceIdentity does not name grant and generation',
  ],
  [
    'SourceIdentity of no grant',
    { ...withBody(readPlan, { sourceIdentity: 'mf--1' }), reach: 'mf--1' },
    'SourceIdentity does not name grant and generation',
  ],
  [
    'SourceIdentity and reach of another grant',
    { ...withBody(readPlan, { sourceIdentity: `mf-${'0'.repeat(26)}-1` }), reach: `mf-${'0'.repeat(26)}-1` },
    'SourceIdentity does not name grant and generation',
  ],
  [
    'a reach that is not sent',
    { ...readPlan, reach: 'mf-x-1' },
    'SourceIdentity is not the reach of the plan',
  ],
  ['another generation', { ...readPlan, generation: 2 }, 'SourceIdentity does not name grant and generation'],
  ['a life beyond the plan', withBody(readPlan, { durationSeconds: 63 }), 'duration is longer than the plan'],
  ['a life above 900 seconds', withBody(readPlan, { durationSeconds: 901 }), form],
  [
    'the description of another issuance',
    withBody(readPlan, { description: '0'.repeat(26) }),
    'description does not name the issuance',
  ],
  [
    'a description with more to say',
    withBody(readPlan, { description: `${readPlan.body['description']} x` }),
    'description does not name the issuance',
  ],
  [
    'another issuance',
    { ...readPlan, issuanceId: readPlan.taskId },
    'session name is not that of the issuance',
  ],
  ['the size of a prefix', { ...readPlan, access: 's3.prefix' }, 'plan opens another access'],
  ['an unknown access', { ...readPlan, access: 's3.bucket' }, 'plan opens another access'],
  [
    'another permission told',
    { ...readPlan, nativePermissions: [] },
    'permissions are not those of the plan',
  ],
  [
    'a deletion promised',
    { ...readPlan, ends: { by: 'deleted' } },
    'ends is better than the provider can hold',
  ],
  [
    'a cut promised',
    { ...readPlan, ends: { by: 'cut', guaranteedSeconds: 60 } },
    'ends is better than the provider can hold',
  ],
  [
    'a guaranteed denial',
    { ...readPlan, ends: { by: 'denied', guaranteedSeconds: 60 } },
    'ends is better than the provider can hold',
  ],
  [
    'enforcement by nobody',
    { ...readPlan, enforcement: { ...readPlan.enforcement, ttl: 'broker' } },
    'enforcement is not what is sent',
  ],
  ['a Bearer', { ...readPlan, tokenType: 'Bearer' }, 'token type is not that of AWS credentials'],
])('refuses a plan with %s', (_, plan, problem) => {
  expect(check(plan, read)).toBe(problem);
});

const prefixed = prefixRequest();
const prefixPlan = planAws(prefixed);
const [objects, list] = JSON.parse(String(prefixPlan.body['policy'])).Statement;
const listing = (more: object) =>
  withPolicy(prefixPlan, { Version: '2012-10-17', Statement: [objects, { ...list, ...more }] });
const listCondition = (more: object) =>
  listing({ Condition: { ...list.Condition, StringEquals: { ...list.Condition.StringEquals, ...more } } });

test.each([
  ['on every bucket', listing({ Resource: 'arn:aws:s3:::*' }), target],
  ['on another bucket', listing({ Resource: 'arn:aws:s3:::payroll' }), target],
  ['without its prefix', listCondition({ 's3:prefix': undefined }), unprefixed],
  ['with a prefix above', listCondition({ 's3:prefix': '' }), unprefixed],
  ['with a shorter prefix', listCondition({ 's3:prefix': '2026q3' }), unprefixed],
  ['with a neighbouring prefix', listCondition({ 's3:prefix': '2026q4/' }), unprefixed],
  ['beside another permission', listing({ Action: ['s3:ListBucket', 's3:GetObject'] }), target],
  [
    'with If-None-Match',
    listCondition({ 's3:if-none-match': '*' }),
    's3:ListBucket: a condition that nobody knows',
  ],
])('refuses a list %s', (_, plan, problem) => {
  expect(check(plan, prefixed)).toBe(problem);
});

test('refuses a create that could overwrite', () => {
  const request = awsRequest({ actions: ['create'] });
  const plan = planAws(request);
  const text = String(plan.body['policy']).replace(',"s3:if-none-match":"*"', '');
  expect(text).not.toBe(plan.body['policy']);
  expect(check(withBody(plan, { policy: text }), request)).toBe(
    's3:PutObject: without StringEquals s3:if-none-match "*"',
  );
});

test.each([
  ['a star', 'arn:aws:s3:::invoices/2026q3/*', 'the identifier holds a wildcard'],
  ['a question mark', 'arn:aws:s3:::invoices/2026q3/?', 'the identifier holds a wildcard'],
  ['a variable', 'arn:aws:s3:::invoices/2026q3/${aws:username}', 'the identifier holds a wildcard'],
  ['a star in the bucket', 'arn:aws:s3:::inv*/2026q3/a', 'the identifier holds a wildcard'],
  ['no key', 'arn:aws:s3:::invoices', 'the identifier is no S3 ARN with a key'],
  ['another service', 'arn:aws:sqs:::invoices/a', 'the identifier is of another service'],
])('refuses an identifier with %s, whoever let it through', (_, identifier, problem) => {
  for (const access of ['s3.object', 's3.prefix']) {
    const plan = { ...statement({ Resource: identifier }), identifier, access };
    expect(check(plan, read, { identifier, access, resource: 'arn:aws:s3:::**' })).toBe(problem);
  }
});

test('refuses what the decision did not allow, whatever the plan says of itself', () => {
  expect(check(readPlan, read, { resource: 'arn:aws:s3:::invoices/2026q4/**' })).toBe(
    'the identifier lies outside the grant',
  );
  expect(check(readPlan, read, { identifier: 'arn:aws:s3:::invoices/b' })).toBe(
    'plan names another resource',
  );
  expect(check(readPlan, read, { actions: ['list'] })).toBe('actions exceed the decision');
  expect(check(readPlan, read, { notAfter: new Date('2026-11-23T12:00:59Z') })).toBe(
    'notAfter is later than the decision allows',
  );
  expect(check(readPlan, read, { provider: { ...awsProvider(), name: 'other' } })).toBe(
    'plan is for another provider',
  );
  expect(check(readPlan, read, { provider: awsProvider({ roles: [] }) })).toBe(
    'role is not a ceiling of the provider',
  );
  expect(check(readPlan, read, { provider: awsProvider({ roles: undefined }) })).toBe(
    'role is not a ceiling of the provider',
  );
});

test('refuses the promise of a denial where there is none', () => {
  const provider = awsProvider({ revoke: 'none' });
  expect(check(readPlan, read, { provider })).toBe('ends is better than the provider can hold');
  expect(check({ ...readPlan, ends: { by: 'expired' } }, read, { provider })).toBeNull();
});
