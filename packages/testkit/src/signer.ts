import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** For tests only: a key that signs whatever it is told to. */
export interface TestKey {
  readonly alg: string;
  readonly kid: string;
  /** As a key set publishes it. */
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly privateKey: KeyObject;
}

export function makeKey(alg: string, kid: string): TestKey {
  const { publicKey, privateKey } = pairOf(alg);
  return { alg, kid, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, privateKey };
}

function pairOf(alg: string): { publicKey: KeyObject; privateKey: KeyObject } {
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  if (alg === 'ES384') return generateKeyPairSync('ec', { namedCurve: 'P-384' });
  if (alg === 'ES512') return generateKeyPairSync('ec', { namedCurve: 'P-521' });
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

/** Text, bytes or an object, as one part of a compact JWS. */
export function part(content: unknown): string {
  if (Buffer.isBuffer(content)) return content.toString('base64url');
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)).toString('base64url');
}

/** Signed with the algorithm of the key, whatever the header says. */
export function compact(header: unknown, payload: unknown, key: TestKey): string {
  const signed = `${part(header)}.${part(payload)}`;
  return `${signed}.${part(signatureOf(signed, key))}`;
}

function signatureOf(text: string, { alg, privateKey }: TestKey): Buffer {
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`;
  return sign(hash, Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' });
}
