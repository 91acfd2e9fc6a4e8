import { randomBytes, X509Certificate } from 'node:crypto';
import { expect, test } from '@jest/globals';
import {
  Keyring,
  makeSecret,
  makeSigningKey,
  openSecret,
  publishLeadMs,
  rowMac,
  signingPurposes,
} from './keyring.ts';
import { unwrapKey, wrapKey } from './wrap.ts';

const kek = randomBytes(32);
const now = new Date('2026-11-24T12:00:00Z');
const at = (ms: number) => new Date(now.getTime() + ms);

test('a wrapped key opens only under its key, its id and its purpose', () => {
  const context = { id: 'a', purpose: 'token' };
  const wrapped = wrapKey(kek, Buffer.from('plain'), context);
  expect(wrapped.includes('plain')).toBe(false);
  expect(unwrapKey(kek, wrapped, context).toString()).toBe('plain');
  expect(() => unwrapKey(randomBytes(32), wrapped, context)).toThrow();
  expect(() => unwrapKey(kek, wrapped, { ...context, id: 'b' })).toThrow();
  expect(() => unwrapKey(kek, wrapped, { ...context, purpose: 'federation' })).toThrow();
  for (let index = 0; index < wrapped.length; index += 1) {
    const edited = Buffer.from(wrapped);
    edited[index] = (edited[index] ?? 0) ^ 1;
    expect(() => unwrapKey(kek, edited, context)).toThrow();
  }
  // The same key is never wrapped to the same bytes.
  expect(wrapKey(kek, Buffer.from('plain'), context).equals(wrapped)).toBe(false);
});

test.each(signingPurposes)(
  '%s keys: the newest that is active signs, the next is published before',
  async (purpose) => {
    const first = await makeSigningKey(purpose, { kek, now, activeFrom: now });
    const next = await makeSigningKey(purpose, { kek, now, activeFrom: at(publishLeadMs) });
    const ring = new Keyring([first, next], kek);
    expect(ring.signer(purpose, now).kid).toBe(first.id);
    expect(ring.signer(purpose, at(publishLeadMs - 1)).kid).toBe(first.id);
    expect(ring.signer(purpose, at(publishLeadMs)).kid).toBe(next.id);
    const { keys } = ring.jwks(purpose, now);
    expect(keys.map(({ kid }) => kid)).toEqual([first.id, next.id]);
    // The one that signs is the first: some verifiers try no other.
    expect(ring.jwks(purpose, at(publishLeadMs)).keys.map(({ kid }) => kid)).toEqual([next.id, first.id]);
    for (const key of keys) {
      expect(Object.keys(key)).not.toEqual(expect.arrayContaining(['d']));
      expect([key.use, key.alg]).toEqual(['sig', purpose === 'token' ? 'ES256' : 'RS256']);
    }
    // Longer than the 300 s for which verifiers may keep the set.
    expect(publishLeadMs).toBeGreaterThan(300_000);
  },
);

test('keys shown to clouds carry their certificate, and no others do', async () => {
  for (const purpose of signingPurposes) {
    const key = await makeSigningKey(purpose, { kek, now, activeFrom: now });
    const [published] = new Keyring([key], kek).jwks(purpose, now).keys;
    const [again] = new Keyring([key], kek).jwks(purpose, now).keys;
    if (purpose !== 'federation') expect(published).not.toHaveProperty('x5c');
    else expect(certifiedModulus(published?.x5c)).toBe(published?.n);
    expect(again).toEqual(published);
  }
});

function certifiedModulus(x5c: readonly string[] | undefined): string | undefined {
  const certificate = new X509Certificate(Buffer.from(x5c?.[0] ?? '', 'base64'));
  return certificate.publicKey.export({ format: 'jwk' }).n;
}

test('a retired key neither signs nor is published from its time on', async () => {
  const first = await makeSigningKey('token', { kek, now, activeFrom: now });
  const second = await makeSigningKey('token', { kek, now, activeFrom: now });
  const ring = new Keyring([{ ...first, retiredAt: at(1_000) }, second], kek);
  expect(ring.verifiers('token', at(999))).toHaveLength(2);
  expect(ring.verifiers('token', at(1_000)).map(({ kid }) => kid)).toEqual([second.id]);
  expect(ring.signer('token', at(1_000)).kid).toBe(second.id);
  const alone = new Keyring([{ ...first, retiredAt: at(1_000) }], kek);
  expect(() => alone.signer('token', at(1_000))).toThrow('no active token key');
});

test('keys of one purpose sign nothing of another', async () => {
  const token = await makeSigningKey('token', { kek, now, activeFrom: now });
  const ring = new Keyring([token], kek);
  expect(() => ring.signer('federation', now)).toThrow('no active federation key');
  expect(ring.jwks('federation', now)).toEqual({ keys: [] });
});

test('the row MAC differs for other bytes and other keys', () => {
  const [one, other] = [makeSecret('row-mac', { kek, now }), makeSecret('row-mac', { kek, now })].map((key) =>
    rowMac(openSecret(key, kek)),
  );
  const bytes = Buffer.from('row');
  expect(one?.(bytes).equals(one(bytes))).toBe(true);
  expect(one?.(bytes).equals(one(Buffer.from('Row')))).toBe(false);
  expect(one?.(bytes).equals(other?.(bytes) ?? Buffer.alloc(0))).toBe(false);
});
