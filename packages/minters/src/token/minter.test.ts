import { expect, test } from '@jest/globals';
import { type MintRequest, Refusal } from '@mayfly/core';
import { grantId, issuanceId, notAfter, now, server, taskId, tokenRequest } from '../../test/plans.ts';
import { createTokenMinter } from './minter.ts';

const issuer = 'https://mayfly.test';
const signed: { claims: unknown; typ: string; alg: string }[] = [];
const minter = createTokenMinter({
  issuer,
  sign: async (claims, header) => {
    signed.push({ claims, ...header });
    return 'header.payload.signature';
  },
});
const context = { now, signal: new AbortController().signal };
const task = 'tsk_01M844DZQTE81840G2081040G2';
const issuance = 'isn_01M844DZQTE40R2081040G2081';
const workload = 'prod-k8s/system:serviceaccount:finance:reconciler';
const refusal = (more: Partial<MintRequest>) => {
  try {
    minter.plan(tokenRequest(more));
    return 'accepted';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
};

test('golden plan of a tool token', () => {
  expect(minter.plan(tokenRequest())).toEqual({
    kind: 'token',
    purpose: 'agent',
    issuanceId,
    taskId,
    grantId,
    generation: 1,
    provider: 'token',
    access: 'token',
    identifier: 'https://reports.example/2026q3',
    actions: ['write'],
    nativePermissions: ['write'],
    notAfter: '2026-11-23T12:01:00.000Z',
    reach: issuance,
    ends: { by: 'denied', guaranteedSeconds: 5, typicalSeconds: 5 },
    enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' },
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    tokenType: 'Bearer',
    body: {
      alg: 'ES256',
      claims: {
        iss: issuer,
        aud: 'https://reports.example/mcp',
        sub: workload,
        client_id: workload,
        iat: 1795435200,
        exp: 1795435260,
        jti: issuance,
        txn: task,
        authorization_details: [
          {
            type: 'mayfly_tool_call',
            task,
            tool: 'report.post',
            identifier: 'https://reports.example/2026q3',
            actions: ['write'],
          },
        ],
      },
    },
  });
});

test('the digest of the arguments is bound into the token', () => {
  const argsDigest = 'a'.repeat(64);
  const plan = minter.plan(tokenRequest({ argsDigest }));
  expect(JSON.stringify(plan.body)).toContain(`"args_digest":"${argsDigest}"`);
});

test('signs exactly the claims of the plan, as an access token, and answers its end', async () => {
  const plan = minter.plan(tokenRequest());
  signed.length = 0;
  const minted = await minter.mint(plan, context);
  expect(signed).toEqual([{ claims: plan.body['claims'], typ: 'at+jwt', alg: 'ES256' }]);
  expect(minted.credential.reveal()).toBe('header.payload.signature');
  expect([minted.expiresAt, minted.keyHash]).toEqual([notAfter, null]);
  expect(JSON.stringify(minted)).not.toContain('payload');
});

test('a plan without claims is a fault before anything is signed', async () => {
  const plan = { ...minter.plan(tokenRequest()), body: {} };
  signed.length = 0;
  await expect(minter.mint(plan, context)).rejects.toMatchObject({ reason: 'internal', effect: 'none' });
  expect(signed).toEqual([]);
});

test('a server that introspects ends a token at once, an offline one waits for its expiry', async () => {
  const online = minter.plan(tokenRequest());
  const offline = minter.plan(tokenRequest({ server: { ...server, verification: 'offline' } }));
  expect(offline.ends).toEqual({ by: 'expired' });
  expect(await minter.revoke(online, context)).toBe('gone');
  expect(await minter.revoke(offline, context)).toBe('wait-for-expiry');
});

test('without an active server there is no token', () => {
  expect(refusal({ server: null })).toBe('tool_not_granted: the resource server is not active');
});

test.each([
  'https://reports.example',
  'https://reports.example/',
  'https://reports.example/2026q3',
  'https://reports.example:8443/a',
  'https://reports.example/a.b/..c/d..',
  'https://reports.example/a;v=1',
  'https://xn--bcher-kva.example/a',
  'https://[2001:db8::1]/a',
])('takes %s', (identifier) => {
  expect(refusal({ identifier })).toBe('accepted');
});

test.each([
  ['http', 'http://reports.example/a'],
  ['another scheme', 'ftp://reports.example/a'],
  ['a scheme in upper case', 'HTTPS://reports.example/a'],
  ['script', 'javascript:alert(1)'],
  ['no scheme', 'reports.example/a'],
  ['no host', 'https:///a'],
  ['one slash', 'https:/reports.example/a'],
  ['a user', 'https://user@reports.example/a'],
  ['a user and a password', 'https://user:pw@reports.example/a'],
  ['an empty user', 'https://@reports.example/a'],
  ['a query', 'https://reports.example/a?b=c'],
  ['an empty query', 'https://reports.example/a?'],
  ['a fragment', 'https://reports.example/a#b'],
  ['an empty fragment', 'https://reports.example/a#'],
  ['a percent', 'https://reports.example/a%2fb'],
  ['dots by percent', 'https://reports.example/%2e%2e/a'],
  ['a percent in the host', 'https://reports%2eexample/a'],
  ['a backslash', 'https://reports.example\\a'],
  ['a backslash in the path', 'https://reports.example/a\\..\\b'],
  ['an upper-case host', 'https://Reports.example/a'],
  ['the default port', 'https://reports.example:443/a'],
  ['an empty port', 'https://reports.example:/a'],
  ['a parent segment', 'https://reports.example/a/../b'],
  ['a parent segment at the end', 'https://reports.example/a/..'],
  ['a dot segment', 'https://reports.example/./a'],
  ['a parent segment with a parameter', 'https://reports.example/a/..;/b'],
  ['a parent segment with a parameter at the end', 'https://reports.example/a/..;x'],
  ['a double slash', 'https://reports.example//a'],
  ['a double slash within', 'https://reports.example/a//b'],
  ['white space before', ' https://reports.example/a'],
  ['a space within', 'https://reports.example/a b'],
  ['a tab', 'https://reports.example/a\tb'],
  ['a line end', 'https://reports.example/a\n'],
  ['NUL', 'https://reports.example/a\u0000'],
  ['letters beyond ASCII', 'https://reports.example/é'],
  ['a host beyond ASCII', 'https://bücher.example/a'],
  ['a full-width dot', 'https://reports．example/a'],
  ['a number as host', 'https://2130706433/a'],
  ['nothing', ''],
])('refuses an identifier with %s', (_, identifier) => {
  expect(refusal({ identifier })).toBe('identifier_malformed: not a plain https URI');
});
