import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { selfSigned } from './certificate.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const notBefore = new Date('2026-11-24T12:00:00.750Z');
const kid = '3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const read = (more: object = {}) =>
  new X509Certificate(Buffer.from(selfSigned({ kid, privateKey, notBefore, ...more }), 'base64'));

test('a certificate of the key, signed by the key, that OpenSSL reads', () => {
  const certificate = read();
  expect(certificate.publicKey.equals(publicKey)).toBe(true);
  expect(certificate.verify(publicKey)).toBe(true);
  expect(certificate.checkIssued(certificate)).toBe(true);
  expect(certificate.subject).toBe(`CN=${kid}`);
  expect(certificate.validFrom).toBe('Nov 24 12:00:00 2026 GMT');
  expect(certificate.validTo).toBe('Dec 31 23:59:59 9999 GMT');
  expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
});

test('the same key gives the same bytes, another key others', () => {
  expect(read().fingerprint).toBe(read().fingerprint);
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  expect(read({ privateKey: other }).fingerprint).not.toBe(read().fingerprint);
  expect(read({ privateKey: other }).verify(publicKey)).toBe(false);
});

test('keys of every size that is in use', () => {
  for (const modulusLength of [3072, 4096]) {
    const pair = generateKeyPairSync('rsa', { modulusLength });
    expect(read({ privateKey: pair.privateKey }).verify(pair.publicKey)).toBe(true);
  }
});
