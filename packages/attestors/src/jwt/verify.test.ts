import { createHmac } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { compact, makeKey, part, type TestKey } from '@mayfly/testkit';
import { attestorOptions, outcome, trusted } from '../../test/issuer.ts';
import { createAttestor } from '../create-attestor.ts';

const now = new Date('2026-11-23T12:00:00Z');
const seconds = now.getTime() / 1000;
const ec = makeKey('ES256', 'ec');
const rsa = makeKey('RS256', 'rsa');
const subject = 'system:serviceaccount:finance:reconciler';
const claims = {
  iss: 'https://issuer.test',
  aud: 'https://mayfly.test',
  sub: subject,
  iat: seconds - 10,
  exp: seconds + 290,
};
const context = { now, signal: new AbortController().signal };

function attestor(keys: readonly unknown[], more: Partial<TrustedIssuer> = {}) {
  return createAttestor(trusted(more), attestorOptions({ readFile: async () => JSON.stringify({ keys }) }));
}

const header = (key: TestKey, more: object = {}) => ({ alg: key.alg, kid: key.kid, typ: 'JWT', ...more });
const token = (key: TestKey, more: object = {}, payload: object = {}) =>
  compact(header(key, more), { ...claims, ...payload }, key);
const attest = (text: string, keys: readonly unknown[] = [ec.jwk], more: Partial<TrustedIssuer> = {}) =>
  attestor(keys, more).attest(text, context);
const refusal = (text: string, keys?: readonly unknown[], more?: Partial<TrustedIssuer>) =>
  outcome(() => attest(text, keys, more));

test('an assertion of the issuer for us says who its workload is', async () => {
  expect(await attest(token(ec), [ec.jwk], { people: true })).toEqual({
    issuer: 'https://issuer.test',
    issuerName: 'prod-k8s',
    subject,
    claims: { sub: subject },
    assertionId: expect.stringMatching(/^[0-9a-f]{64}$/),
    assertionExpiresAt: new Date('2026-11-23T12:04:50Z'),
    assertionIssuedAt: new Date('2026-11-23T11:59:50Z'),
    replay: 'reuse',
    people: true,
  });
});

test.each(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'EdDSA'])('verifies %s', async (alg) => {
  const key = alg.startsWith('RS') ? { ...rsa, alg, jwk: { ...rsa.jwk, alg } } : makeKey(alg, 'k');
  expect(await refusal(token(key), [key.jwk], { algorithms: [alg] })).toBe('accepted');
});

test.each([
  'at+jwt',
  'dpop+jwt',
  'mayfly-task+jwt',
  'secevent+jwt',
  'logout+jwt',
  'txntoken+jwt',
  '',
  7,
  null,
])('refuses a token of another type: %j', async (typ) => {
  expect(await refusal(token(ec, { typ }))).toBe('assertion_invalid: typ');
});

test.each(['JWT', 'jwt', undefined])('takes typ %s', async (typ) => {
  expect(await refusal(token(ec, { typ }))).toBe('accepted');
});

test.each([
  'none',
  'None',
  'NONE',
  'nOnE',
  '',
  'HS256',
  'HS384',
  'HS512',
  'ES256K',
  'RS1',
  'es256',
  'A128KW',
  'dir',
  7,
  null,
  undefined,
  ['ES256'],
])('refuses the algorithm %j even where the issuer lists it', async (alg) => {
  const listed = { algorithms: ['ES256', String(alg)] };
  expect(await refusal(token(ec, { alg }), [ec.jwk], listed)).toBe('assertion_invalid: algorithm');
});

test('refuses an algorithm that is good but not listed for the issuer', async () => {
  expect(await refusal(token(rsa), [rsa.jwk, ec.jwk])).toBe('assertion_invalid: algorithm');
  expect(await refusal(token(rsa), [rsa.jwk, ec.jwk], { algorithms: ['RS256'] })).toBe('accepted');
});

test('refuses HS256 with the public key as the secret, in each of its spellings', async () => {
  const signed = `${part(header(rsa, { alg: 'HS256' }))}.${part(claims)}`;
  const modulus = String(rsa.jwk['n']);
  for (const secret of [JSON.stringify(rsa.jwk), modulus, Buffer.from(modulus, 'base64url'), '']) {
    const forged = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
    expect(await refusal(forged, [rsa.jwk], { algorithms: ['RS256', 'HS256'] })).toBe(
      'assertion_invalid: algorithm',
    );
  }
});

const noKey = 'assertion_invalid: no key of this kid and algorithm';

test.each([
  ['an EC algorithm on an RSA key', 'ES256', rsa],
  ['an RSA algorithm on an EC key', 'RS256', ec],
  ['EdDSA on an EC key', 'EdDSA', ec],
  ['another curve', 'ES384', ec],
  ['PS256 on a key that says RS256', 'PS256', rsa],
])('refuses an algorithm of another key: %s', async (_, alg, key) => {
  const algorithms = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'];
  expect(await refusal(token(key, { alg }), [ec.jwk, rsa.jwk], { algorithms })).toBe(noKey);
});

test('an algorithm of another curve is refused though the key names no algorithm', async () => {
  const { alg: _, ...silent } = ec.jwk;
  expect(await refusal(token(ec, { alg: 'ES384' }), [silent], { algorithms: ['ES256', 'ES384'] })).toBe(
    noKey,
  );
});

test('refuses an unknown kid, and the kid of another key', async () => {
  const other = makeKey('ES256', 'other');
  expect(await refusal(token(ec, { kid: 'unknown' }))).toBe(noKey);
  expect(await refusal(token(ec, { kid: '' }))).toBe(noKey);
  expect(await refusal(token(ec, { kid: 'other' }), [ec.jwk, other.jwk])).toBe(
    'assertion_invalid: ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  );
});

test.each([7, null, ['ec'], {}])('refuses a kid that is no text: %j', async (kid) => {
  expect(await refusal(token(ec, { kid }))).toBe('assertion_invalid: kid');
});

test('without a kid takes the only key that fits, and refuses where two do', async () => {
  expect(await refusal(token(ec, { kid: undefined }), [ec.jwk, rsa.jwk])).toBe('accepted');
  expect(await refusal(token(ec, { kid: undefined }), [ec.jwk, makeKey('ES256', 'b').jwk])).toBe(noKey);
});

test.each([
  ['for encryption', { use: 'enc' }],
  ['for another use', { use: 'jwt-svid' }],
  ['for signing only', { key_ops: ['sign'] }],
  ['for nothing', { key_ops: [] }],
  ['for another algorithm', { alg: 'ES384' }],
])('a key %s is no key', async (_, more) => {
  expect(await refusal(token(ec), [{ ...ec.jwk, ...more }])).toBe(noKey);
});

test('a key that may verify is used, whatever else stands in it', async () => {
  const more = {
    key_ops: ['sign', 'verify'],
    ext: false,
    x5c: ['MII'],
    x5u: 'https://evil.test',
    unknown: {},
  };
  expect(await refusal(token(ec), [{ ...ec.jwk, ...more }])).toBe('accepted');
});

test('a private key in the set is no key: everybody can sign with it', async () => {
  expect(await refusal(token(ec), [{ ...ec.jwk, ...ec.privateKey.export({ format: 'jwk' }) }])).toBe(noKey);
  const { p } = rsa.privateKey.export({ format: 'jwk' });
  expect(await refusal(token(rsa), [{ ...rsa.jwk, p }], { algorithms: ['RS256'] })).toBe(noKey);
});

test('a public key beside its private half makes the set ambiguous', async () => {
  const both = [ec.jwk, { ...ec.jwk, ...ec.privateKey.export({ format: 'jwk' }) }];
  expect(await refusal(token(ec), both)).toBe('issuer_unavailable (none): issuer: two keys of one kid');
});

test('an oct key is no key, also under the name of an asymmetric one', async () => {
  const k = part('secret');
  expect(await refusal(token(ec), [{ kty: 'oct', kid: 'ec', k }])).toBe(noKey);
  expect(await refusal(token(ec), [{ ...ec.jwk, k }])).toBe(noKey);
});

test('an RSA key of 1024 bits is refused', async () => {
  const weak = { ...rsa.jwk, n: part(Buffer.alloc(128, 0xc1)) };
  expect(await refusal(token(rsa), [weak], { algorithms: ['RS256'] })).toMatch(/^assertion_invalid: /);
});

test('a key that cannot be imported is a fault of the issuer, not an answer about the caller', async () => {
  const { x: _, ...incomplete } = ec.jwk;
  for (const broken of [incomplete, { ...ec.jwk, x: part(Buffer.alloc(32, 1)) }])
    expect(await refusal(token(ec), [broken])).toBe(
      'issuer_unavailable (none): issuer: a key of its set cannot be used',
    );
});

test.each([
  [
    'the payload',
    (text: string) => text.replace(/\.[^.]+\./, `.${part({ ...claims, sub: `${subject}2` })}.`),
  ],
  ['the header', (text: string) => text.replace(/^[^.]+/, part({ alg: 'ES256', kid: 'ec' }))],
  ['the signature', (text: string) => text.replace(/[^.]+$/, part(Buffer.alloc(64, 1)))],
  [
    'the signature, all zero (CVE-2022-21449)',
    (text: string) => text.replace(/[^.]+$/, part(Buffer.alloc(64))),
  ],
  ['the signature, short', (text: string) => text.replace(/[^.]+$/, part(Buffer.alloc(8, 1)))],
])('refuses a token with %s replaced', async (_, tamper) => {
  const text = token(ec);
  expect(tamper(text)).not.toBe(text);
  expect(await refusal(tamper(text))).toMatch(/^assertion_invalid: (ERR_JWS|signature)/);
});

test('refuses an ECDSA signature in DER', async () => {
  const text = token(ec);
  const raw = Buffer.from(text.split('.')[2] ?? '', 'base64url');
  const integer = (bytes: Buffer) => Buffer.concat([Buffer.from([2, 33, 0]), bytes]);
  const der = Buffer.concat([
    Buffer.from([0x30, 70]),
    integer(raw.subarray(0, 32)),
    integer(raw.subarray(32)),
  ]);
  expect(await refusal(text.replace(/[^.]+$/, part(der)))).toMatch(/^assertion_invalid: ERR_JWS/);
});

test('a forged flood costs no read of keys: claims are looked at first', async () => {
  let reads = 0;
  const readFile = async () => {
    reads += 1;
    return JSON.stringify({ keys: [ec.jwk] });
  };
  const counting = createAttestor(trusted(), attestorOptions({ readFile }));
  for (const payload of [{ iss: 'https://evil.test' }, { aud: 'x' }, { exp: 1 }, { sub: 'other' }])
    await outcome(() => counting.attest(token(ec, {}, payload), context));
  expect(reads).toBe(0);
  await counting.attest(token(ec), context);
  expect(reads).toBe(1);
});
