import { expect, test } from '@jest/globals';
import { Refusal } from '@mayfly/core';
import { notAfter } from '../../test/plans.ts';
import { compilePolicy, type PolicyInput } from './policy.ts';

const input: PolicyInput = {
  access: 's3.object',
  identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
  actions: ['read'],
  account: '123456789012',
  notAfter,
};
const compile = (more: Partial<PolicyInput> = {}) => compilePolicy({ ...input, ...more });
const refusal = (more: Partial<PolicyInput>) => {
  try {
    compile(more);
    return 'accepted';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
};
const object = (key: string) => refusal({ identifier: `arn:aws:s3:::invoices/${key}` });
const prefix = (key: string) => refusal({ access: 's3.prefix', identifier: `arn:aws:s3:::invoices/${key}` });

const bound = '"DateLessThan":{"aws:CurrentTime":"2026-11-23T12:01:00Z"}';
const account = '"aws:ResourceAccount":"123456789012"';
const allow = (action: string, resource: string, more = '') =>
  `{"Effect":"Allow","Action":["${action}"],"Resource":"arn:aws:s3:::${resource}","Condition":{${bound},"StringEquals":{${more}}}}`;
const whole = (...statements: string[]) => `{"Version":"2012-10-17","Statement":[${statements.join()}]}`;

test.each([
  ['read', 's3:GetObject'],
  ['write', 's3:PutObject'],
  ['delete', 's3:DeleteObject'],
])('s3.object %s is one statement on one key', (verb, permission) => {
  expect(compile({ actions: [verb] })).toEqual({
    text: whole(allow(permission, 'invoices/2026q3/a.pdf', account)),
    permissions: [permission],
  });
});

test('s3.object create must not overwrite', () => {
  expect(compile({ actions: ['create'] }).text).toBe(
    whole(allow('s3:PutObject', 'invoices/2026q3/a.pdf', `${account},"s3:if-none-match":"*"`)),
  );
});

test('create beside write is a write, and beside read a statement of its own', () => {
  expect(compile({ actions: ['create', 'write'] }).text).not.toContain('if-none-match');
  expect(compile({ actions: ['read', 'create'] })).toEqual({
    text: whole(
      allow('s3:GetObject', 'invoices/2026q3/a.pdf', account),
      allow('s3:PutObject', 'invoices/2026q3/a.pdf', `${account},"s3:if-none-match":"*"`),
    ),
    permissions: ['s3:GetObject', 's3:PutObject'],
  });
});

test('s3.prefix read and list: the objects beneath it, and the bucket under the condition that names it', () => {
  const compiled = compile({
    access: 's3.prefix',
    identifier: 'arn:aws:s3:::invoices/2026q3/',
    actions: ['read', 'list'],
  });
  expect(compiled).toEqual({
    text: whole(
      allow('s3:GetObject', 'invoices/2026q3/*', account),
      allow('s3:ListBucket', 'invoices', `${account},"s3:prefix":"2026q3/"`),
    ),
    permissions: ['s3:GetObject', 's3:ListBucket'],
  });
});

test('s3.prefix list alone opens no object', () => {
  const { permissions } = compile({
    access: 's3.prefix',
    identifier: 'arn:aws:s3:::b-1/p/',
    actions: ['list'],
  });
  expect(permissions).toEqual(['s3:ListBucket']);
});

const everything = ['read', 'list', 'create', 'write', 'delete', 'send', 'receive', 'invoke', 'decrypt'];
const subsets = Array.from({ length: 2 ** everything.length }, (_, bits) =>
  everything.filter((_verb, index) => (bits >> index) & 1),
);

test('every combination of verbs: absolute end and account in every statement, and nothing negated', () => {
  let compiled = 0;
  for (const actions of subsets)
    for (const [access, identifier] of [
      ['s3.object', input.identifier],
      ['s3.prefix', 'arn:aws:s3:::invoices/2026q3/'],
    ] as const) {
      const said = refusal({ access, identifier, actions });
      if (said !== 'accepted') {
        expect(said).toBe('action_outside_grant: no permission for these actions');
        continue;
      }
      compiled += 1;
      const { text } = compile({ access, identifier, actions });
      const statements: unknown[] = JSON.parse(text).Statement;
      expect(text.split(bound)).toHaveLength(statements.length + 1);
      expect(text.split(account)).toHaveLength(statements.length + 1);
      expect(text.split('"Effect":"Allow"')).toHaveLength(statements.length + 1);
      expect(text).not.toMatch(/Not|\$\{|IfExists|ForAllValues|"\*"]|s3:\*|"Resource":"\*"|iam:|sts:/);
    }
  expect(compiled).toBeGreaterThan(100);
});

test.each(['list', 'send', 'receive', 'invoke', 'decrypt', 'constructor', '__proto__', ''])(
  's3.object knows no verb %s',
  (verb) => {
    expect(refusal({ actions: [verb] })).toBe('action_outside_grant: no permission for these actions');
  },
);

test('no action is no policy', () => {
  expect(refusal({ actions: [] })).toBe('action_outside_grant: no permission for these actions');
});

test.each(['s3.bucket', 's3.*', '', 'S3.OBJECT', 'constructor', '__proto__', 'toString'])(
  'an access that has no row is refused: %j',
  (access) => {
    expect(refusal({ access })).toBe(`tool_not_granted: no access row ${access}`);
  },
);

const unsafe = 'identifier_malformed: the key holds what a policy would read as more than one';

test.each([
  ['a star', 'a*'],
  ['a star alone', '*'],
  ['a question mark', 'a?'],
  ['a variable', 'a${aws:username}'],
  ['an escaped star', 'a${*}'],
  ['an open variable', 'a${'],
  ['a backslash', 'a\\b'],
  ['a quote', 'a"b'],
  ['a comma', 'a,b'],
  ['a dot segment', './a'],
  ['a parent segment', '../a'],
  ['a parent segment within', 'a/../b'],
  ['a parent segment at the end', 'a/..'],
  ['a dot segment at the end', 'a/.'],
  ['dots alone', '..'],
  ['a first slash', '/a'],
  ['a double slash', 'a//b'],
  ['NUL', 'a\u0000'],
  ['a line end', 'a\nb'],
  ['a tab', 'a\tb'],
  ['DEL', 'a\u007f'],
  ['a C1 control', 'a\u0085b'],
  ['a letter beyond U+00FF', 'a\u0100'],
  ['a look-alike slash', 'a\u2215b'],
  ['an emoji', 'a😀'],
  ['a right-to-left override', 'a\u202eb'],
  ['a byte order mark', '\ufeffa'],
  ['a lone surrogate', 'a\ud800'],
  ['1025 characters', 'x'.repeat(1025)],
])('refuses a key with %s', (_, key) => {
  expect(object(key)).toBe(unsafe);
  expect(prefix(`${key}/`)).toBe(unsafe);
});

test.each([
  'a',
  'a b',
  'a+b',
  'a%2e%2e',
  'é',
  'a.b',
  '.a',
  '..a',
  'a..',
  'a...b',
  "a'b",
  '(a)',
  'a$b',
  'a{b}',
  'a:b',
  'a=b&c',
  '~',
  '\u00ff',
])('takes the key %j as it stands', (key) => {
  expect(object(key)).toBe('accepted');
  expect(compile({ identifier: `arn:aws:s3:::invoices/${key}` }).text).toContain(
    JSON.stringify(`arn:aws:s3:::invoices/${key}`),
  );
});

test.each([
  'arn:aws:s3:::invoices',
  'arn:aws:s3:::invoices/',
  'arn:aws:s3:::/a',
  'arn:aws:s3:::*/a',
  'arn:aws:s3:::in*/a',
  'arn:aws:s3:::Invoices/a',
  'arn:aws:s3:::in_voices/a',
  'arn:aws:s3:::-invoices/a',
  'arn:aws:s3:::ab/a',
  `arn:aws:s3:::${'a'.repeat(64)}/a`,
  'arn:aws:s3:eu-west-1:123456789012:accesspoint/ap/object/a',
  'arn:aws:s3:::invoices:a/b',
  'arn:aws:sqs:::invoices/a',
  'arn:AWS:s3:::invoices/a',
  'arn:evil:s3:::invoices/a',
  'ARN:aws:s3:::invoices/a',
  ' arn:aws:s3:::invoices/a',
  'https://invoices.s3.amazonaws.com/a',
  's3://invoices/a',
  '',
])('refuses what is no S3 ARN with a key: %j', (identifier) => {
  expect(refusal({ identifier })).toBe('identifier_malformed: not an S3 ARN with a key');
});

test.each(['aws', 'aws-cn', 'aws-us-gov'])('keeps the partition %s', (partition) => {
  const { text } = compile({ identifier: `arn:${partition}:s3:::invoices/a` });
  expect(text).toContain(`"Resource":"arn:${partition}:s3:::invoices/a"`);
});

test('an object is no prefix and a prefix is no object', () => {
  expect(object('2026q3/')).toBe('identifier_malformed: s3.object opens one key, not a prefix');
  expect(prefix('2026q3')).toBe('identifier_malformed: s3.prefix opens one prefix ending in /');
});

test('a policy above 1,800 characters is refused', () => {
  const actions = ['read', 'create', 'delete', 'list'];
  const key = (length: number) => `${'x'.repeat(length - 1)}/`;
  const said = (length: number) =>
    refusal({ access: 's3.prefix', identifier: `arn:aws:s3:::invoices/${key(length)}`, actions });
  expect(said(1024)).toBe('identifier_malformed: the session policy would be too long');
  let longest = 1;
  while (said(longest + 1) === 'accepted') longest += 1;
  const identifier = `arn:aws:s3:::invoices/${key(longest)}`;
  expect(compile({ access: 's3.prefix', identifier, actions }).text.length).toBeLessThanOrEqual(1800);
  expect(compile({ access: 's3.prefix', identifier, actions }).text.length).toBeGreaterThan(1796);
});
