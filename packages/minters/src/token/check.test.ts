import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { mutationsOf } from '../../test/mutations.ts';
import { type Allowed, allowedFor, issuanceId, server, taskId, tokenRequest } from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { createTokenMinter } from './minter.ts';

const minter = createTokenMinter({ issuer: 'https://mayfly.test', sign: async () => '' });
const offline = { ...server, verification: 'offline' } as const;
const requests: readonly (readonly [string, MintRequest])[] = [
  ['one action', tokenRequest()],
  ['two actions and arguments', tokenRequest({ actions: ['write', 'read'], argsDigest: 'a'.repeat(64) })],
  ['an offline server', tokenRequest({ server: offline })],
  ['a server that takes RS256', tokenRequest({ server: { ...server, signingAlgorithm: 'RS256' } })],
];
const request = tokenRequest();
const plan = minter.plan(request);
const check = (broken: unknown, more: Partial<Allowed> = {}, of = request) =>
  checkPlan(broken as MintPlan, allowedFor(of, more)); // Broken plans are the point of this suite.

test.each(requests)('passes what the planner makes: %s', (_, one) => {
  expect(check(minter.plan(one), {}, one)).toBeNull();
});

// The check is not told who the broker is: `iss` is the same in every token, and set where the token is signed.
const unknown = /^body\.claims\.iss: /;
const harmless = /^body\.claims\.iat: one (more|less)$/;

test.each(requests)(
  'no single change of the claims passes, but for what the check cannot know: %s',
  (_, one) => {
    const good = minter.plan(one);
    const mutations = mutationsOf(good.body, ['body']);
    expect(mutations.length).toBeGreaterThan(80);
    const passed = mutations.filter(({ value }) => check({ ...good, body: value }, {}, one) === null);
    const unexplained = passed.filter(({ name }) => !unknown.test(name) && !harmless.test(name));
    expect(unexplained.map(({ name }) => name)).toEqual([]);
  },
);

test.each(requests)(
  'no single change of what the log is told passes, but for the generation: %s',
  (_, one) => {
    const good = minter.plan(one);
    const { body, ...told } = good;
    const passed = mutationsOf(told).filter(({ value }) => {
      try {
        return check({ ...Object(value), body }, {}, one) === null;
      } catch {
        return false; // A member is missing that the type demands.
      }
    });
    // A longer promise is a worse one.
    const named =
      /^(generation|: (without generation|one key more)|(ends|enforcement): one key more|ends: without (typical|guaranteed)Seconds|ends\.(guaranteed|typical)Seconds: (one more|much more|a fraction|text))/;
    expect(passed.filter(({ name }) => !named.test(name)).map(({ name }) => name)).toEqual([]);
  },
);

const { claims } = JSON.parse(JSON.stringify(plan.body));
const { alg } = JSON.parse(JSON.stringify(plan.body));
const [detail] = claims.authorization_details;
const withClaims = (more: object) => ({ ...plan, body: { alg, claims: { ...claims, ...more } } });
const withDetail = (more: object) => withClaims({ authorization_details: [{ ...detail, ...more }] });
const form = 'claims: not the known form';

test.each([
  [
    'another audience',
    withClaims({ aud: 'https://other.example' }),
    'aud is not the audience of the resource server',
  ],
  [
    'the other algorithm',
    { ...plan, body: { claims, alg: 'RS256' } },
    'alg is not that of the resource server',
  ],
  ['an unknown algorithm', { ...plan, body: { claims, alg: 'none' } }, form],
  ['two audiences', withClaims({ aud: [claims.aud] }), form],
  ['a later end', withClaims({ exp: claims.exp + 1 }), 'exp is later than the grant allows'],
  ['an earlier end', withClaims({ exp: claims.exp - 1 }), 'exp is not the end of the plan'],
  ['an end in milliseconds', withClaims({ exp: claims.exp * 1000 }), 'exp is later than the grant allows'],
  ['no end', withClaims({ exp: undefined }), form],
  ['an old time of issue', withClaims({ iat: claims.iat - 60 }), 'iat is not the time of the exchange'],
  ['a time of issue after its end', withClaims({ iat: claims.exp }), 'iat is not the time of the exchange'],
  [
    'another identifier',
    withDetail({ identifier: 'https://reports.example/2026q4' }),
    'identifier is not the one asked for',
  ],
  ['another action', withDetail({ actions: ['delete'] }), 'actions exceed the grant'],
  ['no action', withDetail({ actions: [] }), 'actions exceed the grant'],
  ['a wider list of actions', withDetail({ actions: ['write', 'delete'] }), 'actions exceed the grant'],
  ['an action twice', withDetail({ actions: ['write', 'write'] }), 'actions are not those of the plan'],
  ['another subject', withClaims({ sub: 'prod-k8s/other' }), 'sub is another workload'],
  ['another presenter', withClaims({ client_id: 'prod-k8s/other' }), 'client_id is not the presenter'],
  [
    'an actor that nobody attested',
    withClaims({ act: { iss: 'https://a.example', sub: 'x' } }),
    'act is not the chain of actors',
  ],
  ['a key that nobody proved', withClaims({ cnf: { jkt: 'x' } }), 'cnf is not the key that was proven'],
  ['an empty cnf', withClaims({ cnf: {} }), 'cnf is not the key that was proven'],
  ['a binding only in words', { ...plan, tokenType: 'DPoP' }, 'token type does not fit the binding'],
  ['a subject without its issuer', withClaims({ sub: 'admin', client_id: 'admin' }), form],
  ['another task', withClaims({ txn: 'tsk_00000000000000000000000000' }), 'claims disagree with each other'],
  [
    'another task in both places',
    {
      ...withDetail({ task: 'tsk_00000000000000000000000000' }),
      body: {
        alg,
        claims: {
          ...claims,
          txn: 'tsk_00000000000000000000000000',
          authorization_details: [{ ...detail, task: 'tsk_00000000000000000000000000' }],
        },
      },
    },
    'txn is another task',
  ],
  ['another issuance', withClaims({ jti: 'isn_00000000000000000000000000' }), 'jti is another issuance'],
  ['a jti that is a bare id', withClaims({ jti: claims.jti.slice(4) }), 'jti is another issuance'],
  [
    'a reach that is not its jti',
    { ...plan, reach: 'isn_00000000000000000000000000' },
    'jti is another issuance',
  ],
  ['a scope beside', withClaims({ scope: 'admin' }), form],
  ['an actor beside', withClaims({ act: { sub: 'x' } }), form],
  ['two details', withClaims({ authorization_details: [detail, detail] }), form],
  ['no detail', withClaims({ authorization_details: [] }), form],
  ['a field more in its detail', withDetail({ locations: ['*'] }), form],
  ['a digest of another form', withDetail({ args_digest: 'x' }), form],
  ['no claims', { ...plan, body: {} }, form],
  ['something beside the claims', { ...plan, body: { claims, header: { alg: 'none' } } }, form],
  ['a promise to delete', { ...plan, ends: { by: 'deleted' } }, 'ends is better than the server can hold'],
  ['a denial without its delay', { ...plan, ends: { by: 'denied' } }, null],
  [
    'a faster denial',
    { ...plan, ends: { by: 'denied', guaranteedSeconds: 4, typicalSeconds: 4 } },
    'ends is better than the server can hold',
  ],
  [
    'enforcement by the provider',
    { ...plan, enforcement: { resource: 'provider', actions: 'broker', ttl: 'provider' } },
    'enforcement is better than the server can hold',
  ],
  ['another token type', { ...plan, tokenType: 'N_A' }, 'token type does not fit the binding'],
  ['another issued type', { ...plan, issuedTokenType: 'urn:x' }, 'token type is not that of an access token'],
])('a plan with %s', (_, broken, problem) => {
  expect(check(broken)).toBe(problem);
});

test.each([
  'https://reports.example/*',
  'https://reports.example/a#b',
  'https://reports.example/a?b',
  'https://reports.example/%2e',
  'http://reports.example/a',
  'https://reports.example/a\\b',
])('refuses the identifier %s, whoever let it through', (identifier) => {
  const broken = { ...withDetail({ identifier }), identifier };
  expect(check(broken, { identifier, resource: 'https://reports.example/**' })).toBe(
    'identifier is no plain https URI',
  );
});

test('refuses what the decision did not allow', () => {
  expect(check(plan, { server: null })).toBe('aud is not the audience of the resource server');
  expect(check(plan, { resource: 'https://reports.example/2026q4' })).toBe(
    'identifier lies outside the grant',
  );
  expect(check(plan, { server: offline })).toBe('ends is better than the server can hold');
  expect(check(plan, { server: { ...server, cacheSeconds: 30 } })).toBe(
    'ends is better than the server can hold',
  );
  expect(check({ ...plan, issuanceId: taskId })).toBe('jti is another issuance');
  expect(check({ ...plan, taskId: issuanceId }, { taskId: issuanceId })).toBe('txn is another task');
});
