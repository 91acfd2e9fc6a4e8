import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import {
  gcpProvider,
  object,
  objectRequest,
  otherAccount,
  prefix,
  prefixRequest,
  unscopedRequest,
} from '../../test/gcp-cloud.ts';
import { mutationsOf } from '../../test/mutations.ts';
import { type Allowed, allowedFor } from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { planGcp } from './plan.ts';

const requests: readonly (readonly [string, MintRequest])[] = [
  ['read of one object', objectRequest()],
  ['create of one object', objectRequest({ actions: ['create'] })],
  ['write of one object', objectRequest({ actions: ['write'] })],
  ['an object of odd characters', objectRequest({ identifier: 'gs://invoices/å b/(1)+~%2F=&.pdf' })],
  ['read and list of a prefix', prefixRequest()],
  ['everything of a prefix', prefixRequest({ actions: ['read', 'list', 'create'] })],
  ['an unscoped token', unscopedRequest()],
];

const check = (plan: unknown, request: MintRequest, more: Partial<Allowed> = {}) =>
  checkPlan(plan as MintPlan, allowedFor(request, more)); // Broken plans are the point of this suite.
const withBody = (plan: MintPlan, body: object) => ({ ...plan, body: { ...plan.body, ...body } });

test.each(requests)('passes what the planner makes: %s', (_, request) => {
  expect(check(planGcp(request), request)).toBeNull();
});

// What may be otherwise and still opens nothing more; each with its reason.
const harmless: readonly [RegExp, string][] = [
  [/^body\.lifetimeSeconds: one less$/, 'a shorter life'],
  [/^body\.lifetimeSeconds: one more$/, 'the second by which clocks round'],
];

test.each(requests)('no single change of what is sent passes: %s', (_, request) => {
  const plan = planGcp(request);
  const mutations = mutationsOf(plan.body, ['body']);
  expect(mutations.length).toBeGreaterThan(25);
  const passed = mutations.filter(({ value }) => check({ ...plan, body: value }, request) === null);
  const unexplained = passed.filter(({ name }) => !harmless.some(([pattern]) => pattern.test(name)));
  expect(unexplained.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of what the log is told passes: %s', (_, request) => {
  const plan = planGcp(request);
  const { body: _body, ...told } = plan;
  const harmlessHere = /^(generation|: without generation|enforcement: one key more|: one key more)/;
  const passed = mutationsOf(told).filter(({ value }) => {
    try {
      return check({ ...Object(value), body: plan.body }, request) === null;
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  expect(passed.filter(({ name }) => !harmlessHere.test(name)).map(({ name }) => name)).toEqual([]);
});

test('no single change of a boundary passes', () => {
  const request = prefixRequest({ actions: ['read', 'list', 'create'] });
  const plan = planGcp(request);
  const mutations = mutationsOf(JSON.parse(String(plan.body['options'])));
  expect(mutations.length).toBeGreaterThan(100);
  const passed = mutations.filter(
    ({ value }) => check(withBody(plan, { options: JSON.stringify(value) }), request) === null,
  );
  expect(passed.map(({ name }) => name)).toEqual([]);
});

test('no single change of a line of a signed request, and none more or less, passes', () => {
  const request = objectRequest({ actions: ['create'] });
  const plan = planGcp(request);
  const lines = String(plan.body['canonicalRequest']).split('\n');
  const mutations = [
    ...mutationsOf(lines).map(({ name, value }) => ({ name, value: [value].flat() })),
    ...lines.map((line, index) => ({ name: `${index} twice`, value: lines.toSpliced(index, 0, line) })),
  ].filter(({ value }) => value.join('\n') !== lines.join('\n'));
  expect(mutations.length).toBeGreaterThan(60);
  const passed = mutations.filter(
    ({ value }) => check(withBody(plan, { canonicalRequest: value.join('\n') }), request) === null,
  );
  expect(passed.map(({ name }) => name)).toEqual([]);
});

const read = objectRequest();
const url = planGcp(read);
const changed = (from: string | RegExp, to: string) =>
  withBody(url, { canonicalRequest: String(url.body['canonicalRequest']).replace(from, to) });
const path = 'path is not in its one spelling';

test.each([
  ['another method', changed('GET', 'DELETE'), 'method and headers are not those of the action'],
  ['a method of small letters', changed('GET', 'get'), 'method and headers are not those of the action'],
  ['the neighbour', changed('a.pdf', 'b.pdf'), 'path is not the one object asked for'],
  ['another bucket', changed('/invoices/', '/payroll/'), 'path is not the one object asked for'],
  [
    'the object under a bucket’s own host',
    changed('/invoices/', '/'),
    'path is not the one object asked for',
  ],
  ['a letter in percent', changed('a.pdf', '%61.pdf'), path],
  ['a slash in percent', changed('2026q3/a', '2026q3%2Fa'), path],
  ['small hex', changed('a.pdf', 'a%c3%a5.pdf'), path],
  ['a query in the path', changed('a.pdf', 'a.pdf?acl'), path],
  ['bytes that are no UTF-8', changed('a.pdf', '%FF'), 'path is not the one object asked for'],
  ['another algorithm', changed('RSA-SHA256', 'HMAC-SHA256'), 'algorithm is not known'],
  [
    'another account in the credential',
    changed('finance', 'other'),
    'credential is not the service account’s',
  ],
  [
    'another day in the credential',
    changed('%2F20261123', '%2F20261124'),
    'credential is not the service account’s',
  ],
  ['a day', changed('Expires=60', 'Expires=86400'), 'expiry is not in its one spelling'],
  ['a minute more', changed('Expires=60', 'Expires=120'), 'expiry is not the end of the plan'],
  [
    'an expiry with a zero before it',
    changed('Expires=60', 'Expires=060'),
    'expiry is not in its one spelling',
  ],
  ['a begin an hour later', changed('T120000Z', 'T130000Z'), 'begin is not the time of the exchange'],
  ['a begin that is no time', changed('T120000Z', 'T126000Z'), 'begin is not the time of the exchange'],
  [
    'an unsigned host',
    changed('SignedHeaders=host', 'SignedHeaders='),
    'signed headers are not those of the request',
  ],
  [
    'another host',
    changed('host:storage.googleapis.com', 'host:evil.example'),
    'headers are not those of the action',
  ],
  [
    'a copy source',
    changed('\n\nhost\n', '\nx-goog-copy-source:b/o\n\nhost;x-goog-copy-source\n'),
    'method and headers are not those of the action',
  ],
  [
    'another issuance',
    changed('x-mayfly-issuance=01', 'x-mayfly-issuance=02'),
    'the query does not name the issuance',
  ],
  ['a parameter more', changed('&X-Goog-Date', '&generation=1&X-Goog-Date'), 'query: not the known form'],
  ['a payload digest', changed('UNSIGNED-PAYLOAD', '0'.repeat(64)), 'request: not the known form'],
])('a signed request with %s', (_, plan, problem) => {
  expect(check(plan, read)).toBe(problem);
});

test('create without its precondition could overwrite', () => {
  const request = objectRequest({ actions: ['create'] });
  const overwriting = { ...planGcp(objectRequest({ actions: ['write'] })), actions: ['create'] };
  expect(check(overwriting, request)).toBe('method and headers are not those of the action');
  const loose = planGcp(request);
  const canonicalRequest = String(loose.body['canonicalRequest']).replace('match:0', 'match:1');
  expect(check(withBody(loose, { canonicalRequest }), request)).toBe('headers are not those of the action');
});

const listed = prefixRequest();
const token = planGcp(listed);
const options = (from: string, to: string) =>
  withBody(token, { options: String(token.body['options']).replaceAll(from, to) });

test.each([
  ['the bucket', options('2026q3/', ''), 'rule is for another prefix'],
  ['a parent', options('2026q3/', '2026'), 'rule is for another prefix'],
  ['another bucket', options('invoices', 'payroll'), 'rule is for another bucket'],
  [
    'a role that writes',
    options('objectViewer', 'objectCreator'),
    'storage.objects.create exceeds the actions',
  ],
  ['an admin’s role', options('objectViewer', 'objectAdmin'), 'rule: role or condition is not known'],
  ['an escaped quote', options("2026q3/')", "2026q3/\\\\')"), 'rule: role or condition is not known'],
  [
    'an or',
    options("2026q3/')", "2026q3/') || ('x').startsWith('x')"),
    'rule: role or condition is not known',
  ],
  ['a not', options('"resource.name', '"!resource.name'), 'rule: role or condition is not known'],
  [
    'a default that holds',
    options("Prefix', ''", "Prefix', '2026q3/'"),
    'rule: role or condition is not known',
  ],
  ['an end instead of a start', options('startsWith', 'endsWith'), 'rule: role or condition is not known'],
  ['a space', options('":', '": '), 'boundary: not in its one spelling'],
  ['another life', withBody(token, { lifetimeSeconds: 58 }), 'lifetime is longer than the plan'],
  ['no life', withBody(token, { lifetimeSeconds: 0 }), 'body: not the known form'],
  [
    'a scope that writes',
    withBody(token, { scopes: ['https://www.googleapis.com/auth/devstorage.read_write'] }),
    'scope is wider than the actions',
  ],
  [
    'two scopes',
    withBody(token, { scopes: [...[token.body['scopes']].flat(), 'openid'] }),
    'body: not the known form',
  ],
  [
    'another account',
    withBody(token, { serviceAccount: otherAccount }),
    'service account is not the one that the grant names',
  ],
])('a downscoped token with %s', (_, plan, problem) => {
  expect(check(plan, listed)).toBe(problem);
});

test('refuses what the decision did not allow', () => {
  expect(check(url, read, { resource: 'gs://invoices/2026q4/**' })).toBe(
    'the identifier lies outside the grant',
  );
  expect(check(url, read, { provider: gcpProvider({ serviceAccounts: [otherAccount] }) })).toBe(
    'service account is not a ceiling of the provider',
  );
  expect(check(token, listed, { mint: { serviceAccount: otherAccount } })).toBe(
    'service account is not the one that the grant names',
  );
  const elsewhere = gcpProvider({ endpoints: { storage: 'https://storage.example' } });
  expect(check(url, read, { provider: elsewhere })).toBe('headers are not those of the action');
  const unscoped = unscopedRequest();
  const plan = planGcp(unscoped);
  expect(check(plan, unscoped, { mint: { serviceAccount: otherAccount } })).toBe(
    'the grant does not accept a token that nothing narrows',
  );
  expect(check({ ...plan, access: 'gcs.prefix' }, unscoped, { access: 'gcs.prefix' })).toBe(
    'body is for another access',
  );
});

test('what is of another size is refused, whoever let it through', () => {
  expect(
    check({ ...url, identifier: prefix }, read, { identifier: prefix, resource: 'gs://invoices/**' }),
  ).toBe('the identifier has another size');
  expect(
    check({ ...token, identifier: object }, listed, { identifier: object, resource: 'gs://invoices/**' }),
  ).toBe('the identifier has another size');
});
