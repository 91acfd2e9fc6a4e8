import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { Presented } from '@mayfly/core';
import { calculateJwkThumbprint, exportJWK, type JWK, SignJWT } from 'jose';
import { verifyDpop } from './dpop.ts';
import { createNonces, nonceWindowMs } from './nonce.ts';

const now = new Date('2026-11-24T12:00:00Z');
const seconds = Math.floor(now.getTime() / 1000);
const url = 'https://mayfly.example/token';
const presented: Pick<Presented, 'method' | 'url' | 'accessToken'> = {
  method: 'POST',
  url,
  accessToken: null,
};
const nonces = createNonces(() => Buffer.alloc(32, 7));
const options = { windowMs: 60_000, nonceRequired: false, nonceUntil: nonces.until, now };

interface Key {
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly jwk: JWK;
}

async function keyOf(alg: string): Promise<Key> {
  const { privateKey, publicKey } =
    alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : alg.startsWith('ES')
        ? generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { alg, privateKey, jwk: await exportJWK(publicKey) };
}

const key = await keyOf('ES256');
const otherJwk = (await keyOf('ES256')).jwk;
const privateJwk = await exportJWK(key.privateKey);

interface Wishes {
  readonly key?: Key;
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
}

function proof({ key: by = key, header = {}, claims = {} }: Wishes = {}): Promise<string> {
  const payload = { jti: 'one', htm: 'POST', htu: url, iat: seconds, ...claims };
  return new SignJWT(payload)
    .setProtectedHeader({ typ: 'dpop+jwt', alg: by.alg, jwk: by.jwk, ...header })
    .sign(by.privateKey);
}

const verify = async (made: Promise<string>, more: Partial<typeof options & typeof presented> = {}) =>
  verifyDpop(await made, { ...presented, ...more }, { ...options, ...more });

describe('a proof', () => {
  test.each(['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'])(
    'by %s gives the thumbprint of its key',
    async (alg) => {
      const own = await keyOf(alg);
      const { jkt } = await verify(proof({ key: own }));
      expect(jkt).toBe(await calculateJwkThumbprint(own.jwk));
    },
  );

  test('is one use per key, target and jti, whatever the rest', async () => {
    const useOf = async (wishes: Wishes, more = {}) => (await verify(proof(wishes), more)).use.digest;
    const first = await useOf({});
    expect(await useOf({ claims: { iat: seconds - 5, extra: 1 } })).toBe(first);
    const others = [
      await useOf({ claims: { jti: 'two' } }),
      await useOf({ key: await keyOf('ES256') }),
      await useOf({ claims: { htu: `${url}2` } }, { url: `${url}2` }),
    ];
    expect(new Set([first, ...others]).size).toBe(4);
  });

  test('is remembered until its iat is out of the window', async () => {
    const { use } = await verify(proof({ claims: { iat: seconds - 10 } }));
    expect(use.expiresAt).toEqual(new Date((seconds - 10 + 60) * 1000));
    expect(use.replayed).toBe('dpop_replayed');
  });

  test.each([
    ['query and fragment', `${url}?a=1#b`],
    ['the default port', 'https://mayfly.example:443/token'],
    ['the host in capitals', 'https://MAYFLY.example/token'],
  ])('may name its target with %s', async (_, htu) => {
    await expect(verify(proof({ claims: { htu } }))).resolves.toBeDefined();
  });

  test('with the token of the Authorization header names its digest', async () => {
    const ath = createHash('sha256').update('the-token').digest('base64url');
    const accessToken = 'the-token';
    await expect(verify(proof({ claims: { ath } }), { accessToken })).resolves.toBeDefined();
    await expect(verify(proof(), { accessToken })).rejects.toMatchObject({ detail: 'DPoP: ath' });
    const other = proof({ claims: { ath: createHash('sha256').update('x').digest('base64url') } });
    await expect(verify(other, { accessToken })).rejects.toMatchObject({ reason: 'dpop_invalid' });
  });
});

describe('is refused', () => {
  test.each<readonly [string, Wishes]>([
    ['another typ', { header: { typ: 'JWT' } }],
    ['no jwk', { header: { jwk: undefined } }],
    ['another key in its header', { header: { jwk: otherJwk } }],
    ['a private key in its header', { header: { jwk: privateJwk } }],
    ['an oversized key', { header: { jwk: { kty: 'RSA', n: 'A'.repeat(701), e: 'AQAB' }, alg: 'RS256' } }],
    ['an unknown critical header', { header: { crit: ['x'], x: 1 } }],
    ['another method', { claims: { htm: 'GET' } }],
    ['the method in small letters', { claims: { htm: 'post' } }],
    ['another host', { claims: { htu: 'https://evil.example/token' } }],
    ['another path', { claims: { htu: `${url}/` } }],
    ['another scheme', { claims: { htu: url.replace('https', 'http') } }],
    ['no URL', { claims: { htu: '/token' } }],
    ['no jti', { claims: { jti: undefined } }],
    ['a long jti', { claims: { jti: 'x'.repeat(257) } }],
    ['no iat', { claims: { iat: undefined } }],
    ['an old iat', { claims: { iat: seconds - 61 } }],
    ['an iat ahead', { claims: { iat: seconds + 61 } }],
    ['a fraction as iat', { claims: { iat: seconds + 0.5 } }],
    ['an expiry that has passed', { claims: { exp: seconds - 61 } }],
  ])('with %s', async (_, wishes) => {
    const made =
      wishes.header?.['alg'] === 'RS256' || 'crit' in (wishes.header ?? {}) ? foreign(wishes) : proof(wishes);
    await expect(verify(made)).rejects.toMatchObject({ name: 'Refusal', reason: 'dpop_invalid' });
  });

  test.each([
    ['two joined by a comma', async () => `${await proof()}, ${await proof()}`],
    ['a JWE of five parts', async () => 'a.b.c.d.e'],
    ['an unsigned one', async () => `${part({ typ: 'dpop+jwt', alg: 'none', jwk: key.jwk })}.${part({})}.`],
    ['an HMAC by its own public key', async () => hmac()],
    ['one too long', async () => proof({ claims: { pad: 'x'.repeat(8_192) } })],
    ['nothing', async () => ''],
  ])('%s', async (_, make) => {
    await expect(verify(make())).rejects.toMatchObject({ reason: 'dpop_invalid' });
  });
});

describe('a nonce', () => {
  test('of ours stands in for the clock of the client', async () => {
    const nonce = nonces.issue(now);
    const { use } = await verify(proof({ claims: { nonce, iat: 5 } }), { nonceRequired: true });
    // Remembered for as long as the nonce would be taken again.
    expect(use.expiresAt.getTime()).toBeGreaterThanOrEqual(now.getTime() + nonceWindowMs);
    expect(nonces.until(nonce, new Date(use.expiresAt.getTime()))).toBeUndefined();
  });

  test('is asked for where it is required, and where it is none of ours', async () => {
    const asked = { name: 'Refusal', reason: 'dpop_nonce_needed' };
    await expect(verify(proof(), { nonceRequired: true })).rejects.toMatchObject(asked);
    await expect(verify(proof({ claims: { nonce: 'mine' } }))).rejects.toMatchObject(asked);
  });

  test('is the same for all that share the secret, lives two windows, and is no other secret’s', () => {
    const nonce = nonces.issue(now);
    const replica = createNonces(() => Buffer.alloc(32, 7));
    expect(replica.until(nonce, new Date(now.getTime() + nonceWindowMs))).toBeDefined();
    expect(replica.until(nonce, new Date(now.getTime() + 2 * nonceWindowMs))).toBeUndefined();
    expect(createNonces(() => Buffer.alloc(32, 8)).until(nonce, now)).toBeUndefined();
    for (const broken of ['', 'x', nonce.slice(1), `${nonce}A`])
      expect(nonces.until(broken, now)).toBeUndefined();
  });
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function hmac(): Promise<string> {
  const secret = createHash('sha256').update(JSON.stringify(key.jwk)).digest();
  return new SignJWT({ jti: 'one', htm: 'POST', htu: url, iat: seconds })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk: key.jwk })
    .sign(secret);
}

/** With a header that its signature does not fit: what is wrong with the key must be seen before. */
async function foreign({ header }: Wishes): Promise<string> {
  const [, payload, signature] = (await proof()).split('.');
  return `${part({ typ: 'dpop+jwt', ...header })}.${payload}.${signature}`;
}
