import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import { createProofKey } from './proof.ts';
import { Secret } from './secret.ts';
import { ToolToken } from './tool-token.ts';

const now = new Date('2026-11-24T12:00:00Z');
const url = new URL('https://mayfly.example/v1/tasks?limit=1#x');
const read = (proof: string) =>
  jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'], currentDate: now });

test('a proof is for one method and URL, without query and fragment, and never the same twice', async () => {
  const key = createProofKey();
  const [one, two] = [1, 2].map(() => key.prove({ url, method: 'POST' }, now));
  const { payload } = await read(one ?? '');
  const iat = now.getTime() / 1000;
  expect(payload).toEqual({
    htm: 'POST',
    htu: 'https://mayfly.example/v1/tasks',
    iat,
    jti: expect.any(String),
  });
  expect((await read(two ?? '')).payload.jti).not.toBe(payload.jti);
});

test('it holds the public key alone, the digest of the token and the nonce', async () => {
  const proof = createProofKey().prove({ url, method: 'GET', accessToken: 'abc', nonce: 'n' }, now);
  const { payload, protectedHeader } = await read(proof);
  expect(payload['ath']).toBe(createHash('sha256').update('abc').digest('base64url'));
  expect(payload['nonce']).toBe('n');
  expect(Object.keys(protectedHeader.jwk ?? {}).sort()).toEqual(['crv', 'kty', 'x', 'y']);
});

test('each key is another', async () => {
  const thumbprintOf = async () => {
    const { protectedHeader } = await read(createProofKey().prove({ url, method: 'GET' }, now));
    return calculateJwkThumbprint(protectedHeader.jwk ?? {});
  };
  expect(await thumbprintOf()).not.toBe(await thumbprintOf());
});

test('a tool token that is bound goes out as DPoP with a proof, any other as Bearer alone', async () => {
  const facts = {
    accessToken: new Secret('abc'),
    expiresAt: now,
    issuanceId: 'isn_1',
    proofKey: createProofKey(),
  };
  const bound = new ToolToken({ ...facts, tokenType: 'DPoP' }).headers('https://tool.example/a', {
    method: 'POST',
  });
  expect(bound['authorization']).toBe('DPoP abc');
  const { payload } = await jwtVerify(bound['dpop'] ?? '', EmbeddedJWK, { algorithms: ['ES256'] });
  expect(payload).toMatchObject({ htm: 'POST', htu: 'https://tool.example/a' });
  expect(new ToolToken({ ...facts, tokenType: 'Bearer' }).headers('https://tool.example/a')).toEqual({
    authorization: 'Bearer abc',
  });
});
