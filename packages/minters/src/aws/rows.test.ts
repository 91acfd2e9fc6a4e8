import { expect, test } from '@jest/globals';
import { type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { mutationsOf } from '../../test/mutations.ts';
import {
  type Allowed,
  allowedFor,
  awsRequest,
  awsThings,
  kmsKey,
  policyOf,
  prefixRequest,
  thingRequest,
  underKey,
} from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { planAws } from './plan.ts';

const requests: readonly (readonly [string, MintRequest])[] = [
  ['a secret', thingRequest('secretsmanager.secret', ['read'])],
  ['a secret under a key', underKey(thingRequest('secretsmanager.secret', ['read']))],
  ['items read', thingRequest('dynamodb.items', ['read'])],
  ['items changed', thingRequest('dynamodb.items', ['write', 'delete'])],
  ['items read and changed', thingRequest('dynamodb.items', ['read', 'write', 'delete'])],
  ['a queue sent to', thingRequest('sqs.queue', ['send'])],
  ['a queue received from', thingRequest('sqs.queue', ['receive'])],
  ['a function', thingRequest('lambda.function', ['invoke'])],
  ['an object read under a key', underKey(awsRequest())],
  ['an object made under a key', underKey(awsRequest({ actions: ['create'] }))],
  ['a prefix under a key', underKey(prefixRequest({ actions: ['read', 'list', 'create', 'delete'] }))],
];

const check = (plan: unknown, request: MintRequest, more: Partial<Allowed> = {}) =>
  checkPlan(plan as MintPlan, allowedFor(request, more)); // Broken plans are the point of this suite.
const withPolicy = (plan: MintPlan, document: unknown) => ({
  ...plan,
  body: { ...plan.body, policy: JSON.stringify(document) },
});
const refusal = (request: MintRequest) => {
  try {
    planAws(request);
    return 'accepted';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
};

test.each(requests)('the check passes what the planner makes: %s', (_, request) => {
  expect(check(planAws(request), request)).toBeNull();
});

test.each(requests)('no single change of the policy document passes: %s', (_, request) => {
  const plan = planAws(request);
  const mutations = mutationsOf(policyOf(plan));
  expect(mutations.length).toBeGreaterThan(70);
  const passed = mutations.filter(({ value }) => check(withPolicy(plan, value), request) === null);
  expect(passed.map(({ name }) => name)).toEqual([]);
});

const common = {
  DateLessThan: { 'aws:CurrentTime': '2026-11-23T12:01:00Z' },
  StringEquals: { 'aws:ResourceAccount': '123456789012' },
};
const policy = (...statements: readonly object[]) => ({
  Version: '2012-10-17',
  Statement: statements.map((one) => ({ Effect: 'Allow', ...one })),
});
const sent = (request: MintRequest) => policyOf(planAws(request));

test('a secret: its full ARN and its current version alone', () => {
  expect(sent(thingRequest('secretsmanager.secret', ['read']))).toEqual(
    policy({
      Action: ['secretsmanager:GetSecretValue'],
      Resource: awsThings['secretsmanager.secret'],
      Condition: {
        ...common,
        StringEqualsIfExists: { 'secretsmanager:VersionStage': 'AWSCURRENT' },
        Null: { 'secretsmanager:VersionId': 'true' },
      },
    }),
  );
});

const one = {
  'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['customer-17'] },
  Null: { 'dynamodb:LeadingKeys': 'false' },
};
const table = 'arn:aws:dynamodb:eu-west-1:123456789012:table/orders';

test('items: one partition key, which must be there, on the table and no index', () => {
  expect(sent(thingRequest('dynamodb.items', ['read']))).toEqual(
    policy({
      Action: ['dynamodb:GetItem', 'dynamodb:Query'],
      Resource: table,
      Condition: { ...common, ...one },
    }),
  );
});

test('items: a change without read answers nothing of what was there; with read it may', () => {
  const changes = ['dynamodb:PutItem', 'dynamodb:UpdateItem', 'dynamodb:DeleteItem'];
  expect(sent(thingRequest('dynamodb.items', ['write', 'delete']))).toEqual(
    policy({
      Action: changes,
      Resource: table,
      Condition: { ...common, ...one, StringEqualsIfExists: { 'dynamodb:ReturnValues': 'NONE' } },
    }),
  );
  const both = JSON.stringify(sent(thingRequest('dynamodb.items', ['read', 'write', 'delete'])));
  expect(both).not.toContain('ReturnValues');
});

test('a queue: sending is not receiving, and who receives may delete', () => {
  const on = (...Action: string[]) => policy({ Action, Resource: awsThings['sqs.queue'], Condition: common });
  expect(sent(thingRequest('sqs.queue', ['send']))).toEqual(on('sqs:SendMessage'));
  expect(sent(thingRequest('sqs.queue', ['receive']))).toEqual(on('sqs:ReceiveMessage', 'sqs:DeleteMessage'));
});

test('a function: one alias of it', () => {
  expect(sent(thingRequest('lambda.function', ['invoke']))).toEqual(
    policy({
      Action: ['lambda:InvokeFunction'],
      Resource: awsThings['lambda.function'],
      Condition: common,
    }),
  );
});

test('a key: through S3, in its region, for the object or its bucket', () => {
  const statements = JSON.parse(JSON.stringify(sent(underKey(awsRequest())))).Statement;
  expect(statements[1]).toEqual({
    Effect: 'Allow',
    Action: ['kms:Decrypt'],
    Resource: kmsKey,
    Condition: {
      ...common,
      StringEquals: { ...common.StringEquals, 'kms:ViaService': 's3.eu-west-1.amazonaws.com' },
      StringLike: {
        'kms:EncryptionContext:aws:s3:arn': ['arn:aws:s3:::invoices', 'arn:aws:s3:::invoices/2026q3/a.pdf'],
      },
    },
  });
});

test('a write under a key also reads back what it has encrypted; a listing needs no key', () => {
  const permissions = (request: MintRequest) => planAws(underKey(request)).nativePermissions;
  expect(permissions(awsRequest({ actions: ['write'] }))).toEqual([
    's3:PutObject',
    'kms:GenerateDataKey',
    'kms:Decrypt',
  ]);
  expect(permissions(prefixRequest({ actions: ['list'] }))).toEqual(['s3:ListBucket']);
});

test('a key in another account is held to that account', () => {
  const request = underKey(awsRequest());
  const other = kmsKey.replace('123456789012', '999999999999');
  const provider = { ...request.provider, spec: { ...request.provider.spec, kmsKeys: [other] } };
  const asked = { ...request, provider, mint: { ...request.mint, kmsKey: other } };
  expect(check(planAws(asked), asked)).toBeNull();
  const [object, key] = JSON.parse(JSON.stringify(sent(asked))).Statement;
  expect(object.Condition.StringEquals['aws:ResourceAccount']).toBe('123456789012');
  expect(key.Condition.StringEquals['aws:ResourceAccount']).toBe('999999999999');
});

test('only a key that provider and grant name', () => {
  const request = underKey(awsRequest());
  const without = { ...request, provider: awsRequest().provider };
  expect(refusal(without)).toBe('tool_not_granted: kmsKey is not a ceiling of provider prod-aws');
  expect(check(planAws(request), without)).toBe('KMS key is not a ceiling of the provider');
  const unnamed = { ...request, mint: awsRequest().mint };
  expect(check(planAws(request), unnamed)).toBe('permission kms:Decrypt is not known');
});

test.each([
  'arn:aws:kms:eu-west-1:123456789012:alias/invoices',
  'arn:aws:kms:eu-west-1:123456789012:key/*',
  'arn:aws:kms:*:123456789012:key/0a1b2c3d-0000-4000-8000-1234567890ab',
  'arn:aws-cn:kms:cn-north-1:123456789012:key/0a1b2c3d-0000-4000-8000-1234567890ab',
  '0a1b2c3d-0000-4000-8000-1234567890ab',
  '*',
])('no key by another name than its ARN: %s', (name) => {
  const request = underKey(awsRequest());
  const provider = { ...request.provider, spec: { ...request.provider.spec, kmsKeys: [name] } };
  expect(refusal({ ...request, provider, mint: { ...request.mint, kmsKey: name } })).toBe(
    'tool_not_granted: mint.kmsKey is no ARN of a key',
  );
});

test.each(['dynamodb.items', 'sqs.queue', 'lambda.function'] as const)('%s takes no key', (access) => {
  const verbs = { 'dynamodb.items': 'read', 'sqs.queue': 'send', 'lambda.function': 'invoke' } as const;
  expect(refusal(underKey(thingRequest(access, [verbs[access]])))).toBe(
    `tool_not_granted: ${access} takes no KMS key`,
  );
});

const form = {
  'secretsmanager.secret': 'not the full ARN of a secret, with its six last characters',
  'dynamodb.items': 'not an ARN of a table with /items/ and a partition key',
  'sqs.queue': 'not the ARN of a queue',
  'lambda.function': 'not the ARN of a function with its alias or version',
};
const wild = 'the key holds what a policy would read as more than one';
const verb = {
  'secretsmanager.secret': 'read',
  'dynamodb.items': 'read',
  'sqs.queue': 'send',
  'lambda.function': 'invoke',
} as const;

test.each<[keyof typeof awsThings, string, string]>([
  ['secretsmanager.secret', 'secret:team/db', form['secretsmanager.secret']],
  ['secretsmanager.secret', 'secret:team/db-AbCd1', form['secretsmanager.secret']],
  ['secretsmanager.secret', 'secret:team/db-??????', form['secretsmanager.secret']],
  ['secretsmanager.secret', 'secret:team/db-*', form['secretsmanager.secret']],
  ['secretsmanager.secret', 'secret:*', form['secretsmanager.secret']],
  ['secretsmanager.secret', 'secret:../db-AbCd12', wild],
  ['dynamodb.items', 'table/orders', form['dynamodb.items']],
  ['dynamodb.items', 'table/orders/items/', form['dynamodb.items']],
  ['dynamodb.items', 'table/*/items/customer-17', form['dynamodb.items']],
  ['dynamodb.items', 'table/orders/index/by-date', form['dynamodb.items']],
  ['dynamodb.items', 'table/orders/items/*', wild],
  ['dynamodb.items', 'table/orders/items/${aws:userid}', wild],
  ['dynamodb.items', 'table/orders/items/a,b', wild],
  ['dynamodb.items', 'table/orders/items/a/', 'dynamodb.items opens one key, not a prefix'],
  ['sqs.queue', 'reports*', form['sqs.queue']],
  ['sqs.queue', 'reports?', form['sqs.queue']],
  ['sqs.queue', '*', form['sqs.queue']],
  ['sqs.queue', 'reports.fifo.dlq', form['sqs.queue']],
  ['sqs.queue', 'a/reports', form['sqs.queue']],
  ['lambda.function', 'function:resize', form['lambda.function']],
  ['lambda.function', 'function:resize:*', form['lambda.function']],
  ['lambda.function', 'function:resize*:prod', form['lambda.function']],
  ['lambda.function', 'function:resize:$LATEST', form['lambda.function']],
  ['lambda.function', 'layer:resize:1', form['lambda.function']],
])('%s refuses %s, and so does the check', (access, rest, detail) => {
  const identifier = awsThings[access].replace(/^((?:[^:]*:){5}).*$/, `$1${rest.replaceAll('$', '$$$$')}`);
  const request = thingRequest(access, [verb[access]], { identifier });
  expect(refusal(request)).toBe(`identifier_malformed: ${detail}`);
  // What the compiler would have sent, had it let it through.
  const good = thingRequest(access, [verb[access]]);
  const text = JSON.stringify(sent(good)).replaceAll(awsThings[access], identifier);
  const plan = { ...planAws(good), identifier };
  const forced = { ...plan, body: { ...plan.body, policy: text } };
  const bound = identifier.replace(/[^:]*$/, '**');
  if (rest !== 'secret:../db-AbCd12' && rest !== 'table/orders/items/a,b')
    expect(check(forced, request, { resource: bound })).not.toBeNull();
});

test.each(Object.keys(awsThings) as (keyof typeof awsThings)[])(
  '%s: of another account, region-less or of another service, it is refused by both',
  (access) => {
    const thing = awsThings[access];
    const changed = (identifier: string) => thingRequest(access, [verb[access]], { identifier });
    expect(refusal(changed(thing.replace('123456789012', '999999999999')))).toBe(
      'identifier_malformed: the account is not that of the role',
    );
    const foreign = thing.replace('123456789012', '999999999999');
    const good = planAws(thingRequest(access, [verb[access]]));
    const policy = String(good.body['policy']).replaceAll('123456789012', '999999999999');
    const forced = { ...good, identifier: foreign, body: { ...good.body, policy } };
    expect(check(forced, changed(foreign))).toBe('the identifier is of another account than the role');
    for (const identifier of [
      thing.replace('eu-west-1', '*'),
      thing.replace('eu-west-1', ''),
      thing.replace('123456789012', '*'),
      thing.replace('arn:aws', 'arn:*'),
      thing.replace(/^arn:aws:[a-z]+/, 'arn:aws:*'),
      'arn:aws:s3:::invoices/a',
    ]) {
      expect(refusal(changed(identifier))).toBe(`identifier_malformed: ${form[access]}`);
      const plan = { ...planAws(thingRequest(access, [verb[access]])), identifier };
      expect(check(plan, changed(identifier), { resource: identifier })).not.toBeNull();
    }
  },
);

test('no row knows a verb that is not its own', () => {
  const all = ['read', 'list', 'create', 'write', 'delete', 'send', 'receive', 'invoke', 'decrypt'] as const;
  const known = (access: keyof typeof awsThings) =>
    all.filter((one) => refusal(thingRequest(access, [one])) === 'accepted');
  expect(known('secretsmanager.secret')).toEqual(['read']);
  expect(known('dynamodb.items')).toEqual(['read', 'write', 'delete']);
  expect(known('sqs.queue')).toEqual(['send', 'receive']);
  expect(known('lambda.function')).toEqual(['invoke']);
});
