import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';

/**
 * A self-signed certificate of an RSA key, DER in base64, as RFC 7517 section 4.7 wants it in `x5c`. It says nothing
 * that the JWK does not: verifiers such as Ceph pin its SHA-1 and read the key from it. The same key and time give the
 * same bytes (RSASSA-PKCS1-v1_5 draws nothing), so nothing is stored and all replicas publish one certificate.
 */
export function selfSigned(key: { kid: string; privateKey: KeyObject; notBefore: Date }): string {
  const { kid, privateKey, notBefore } = key;
  const name = sequence(set(sequence(commonName, utf8String(kid))));
  const algorithm = sequence(sha256WithRsa, asNull);
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const serial = createHash('sha256').update(kid).digest().subarray(0, 16);
  const validity = sequence(generalizedTime(notBefore), noExpiry);
  const signed = sequence(version3, integer(serial), algorithm, name, validity, name, spki);
  const signature = sign('sha256', signed, privateKey);
  // No bit of the last octet is unused.
  return sequence(signed, algorithm, tagged(0x03, Buffer.of(0), signature)).toString('base64');
}

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const octets = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, 0x80 | octets.length, ...octets), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tagged(0x30, ...parts);
}

function set(...parts: readonly Uint8Array[]): Buffer {
  return tagged(0x31, ...parts);
}

/** Positive, and without a leading zero octet that DER forbids. */
function integer(octets: Uint8Array): Buffer {
  const [first = 0, ...rest] = octets;
  return tagged(0x02, Buffer.of((first & 0x7f) | 0x40, ...rest));
}

function utf8String(text: string): Buffer {
  return tagged(0x0c, Buffer.from(text, 'utf8'));
}

/** RFC 5280 section 4.1.2.5.2: YYYYMMDDHHMMSSZ. */
function generalizedTime(time: Date): Buffer {
  return tagged(0x18, Buffer.from(`${time.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));
}

const version3 = tagged(0xa0, tagged(0x02, Buffer.of(2)));
const asNull = tagged(0x05);
/** 1.2.840.113549.1.1.11 */
const sha256WithRsa = tagged(0x06, Buffer.from('2a864886f70d01010b', 'hex'));
/** 2.5.4.3 */
const commonName = tagged(0x06, Buffer.from('550403', 'hex'));
/** RFC 5280 section 4.1.2.5: a certificate without an end; the key ends by leaving the key set. */
const noExpiry = generalizedTime(new Date('9999-12-31T23:59:59Z'));
