import {
  createHash,
  createHmac,
  createPrivateKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose';
import { selfSigned } from './certificate.ts';
import { unwrapKey, wrapKey } from './wrap.ts';

export const signingPurposes = ['token', 'federation', 'sign-in'] as const;
export type SigningPurpose = (typeof signingPurposes)[number];
/** Secrets that sign nothing for others: HMAC over rows that decide, DPoP nonces, and what sign-in seals and derives. */
export const secretPurposes = ['row-mac', 'nonce', 'sign-in-secret'] as const;
export type SecretPurpose = (typeof secretPurposes)[number];

/** A row of `signing_key`: the private part only wrapped. */
export interface StoredKey {
  readonly id: string;
  readonly purpose: string;
  readonly alg: string;
  readonly publicJwk: JWK | null;
  readonly wrapped: Uint8Array;
  readonly createdAt: Date;
  /** Published at once, signs from here on: longer than any JWKS cache (300 s). */
  readonly activeFrom: Date;
  readonly retiredAt: Date | null;
}

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicJwk: JWK;
  readonly activeFrom: Date;
  readonly retiredAt: Date | null;
}

/** Time between publication and first use of a rotated key, in ms: above the 300 s that JWKS may be cached. */
export const publishLeadMs = 330_000;

export type SigningAlgorithm = 'ES256' | 'RS256';

/**
 * One key of each is in use at a time; the first is the default. Tool tokens may be of either (RFC 9068 section 2.1 wants
 * RS256 to be there); clouds and OpenID clients all take RS256.
 */
export const algorithmsOf = {
  token: ['ES256', 'RS256'],
  federation: ['RS256'],
  'sign-in': ['RS256'],
} as const satisfies Readonly<Record<SigningPurpose, readonly [SigningAlgorithm, ...SigningAlgorithm[]]>>;

/** The unwrapped keys of one moment; replaced as a whole when keys change. */
export class Keyring {
  readonly #keys: ReadonlyMap<SigningPurpose, readonly SigningKey[]>;

  constructor(stored: readonly StoredKey[], kek: Buffer) {
    this.#keys = new Map(
      signingPurposes.map((purpose) => [
        purpose,
        stored.filter((key) => key.purpose === purpose).map((key) => openKey(key, kek)),
      ]),
    );
  }

  /** The newest key of this algorithm that is already published long enough. */
  signer(purpose: SigningPurpose, now: Date, alg: SigningAlgorithm = algorithmsOf[purpose][0]): SigningKey {
    const usable = (this.#keys.get(purpose) ?? [])
      .filter((key) => key.alg === alg)
      .filter((key) => key.activeFrom <= now && (key.retiredAt === null || key.retiredAt > now))
      .sort((left, right) => right.activeFrom.getTime() - left.activeFrom.getTime());
    const [newest] = usable;
    if (newest === undefined) throw new Error(`no active ${purpose} key`);
    return newest;
  }

  /**
   * What verifiers fetch: also the next key, and the last one until its tokens are dead. The one that signs stands first,
   * because Ceph tries no other.
   */
  jwks(purpose: SigningPurpose, now: Date): { keys: JWK[] } {
    const age = ({ activeFrom }: SigningKey) =>
      activeFrom <= now ? now.getTime() - activeFrom.getTime() : activeFrom.getTime();
    const live = this.verifiers(purpose, now).toSorted((left, right) => age(left) - age(right));
    return { keys: live.map(({ publicJwk, kid, alg }) => ({ ...publicJwk, kid, alg, use: 'sig' })) };
  }

  verifiers(purpose: SigningPurpose, now: Date): readonly SigningKey[] {
    return (this.#keys.get(purpose) ?? []).filter(({ retiredAt }) => retiredAt === null || retiredAt > now);
  }
}

/** More than two replicas may be apart and still issue. */
const firstKeyBackMs = 60_000;

/** No key was before it: a replica whose clock is behind the maker's must be able to sign with it at once. */
export function firstActiveFrom(now: Date): Date {
  return new Date(now.getTime() - firstKeyBackMs);
}

export async function makeSigningKey(
  purpose: SigningPurpose,
  options: { kek: Buffer; now: Date; activeFrom: Date; alg?: SigningAlgorithm },
): Promise<StoredKey> {
  const { alg = algorithmsOf[purpose][0] } = options;
  const { id, publicJwk, privateKey } = await makeKeyPair(alg);
  const plain = privateKey.export({ format: 'der', type: 'pkcs8' });
  const wrapped = wrapKey(options.kek, plain, { id, purpose });
  const { now: createdAt, activeFrom } = options;
  return { id, purpose, alg, publicJwk, wrapped, createdAt, activeFrom, retiredAt: null };
}

interface KeyPair {
  /** RFC 7638 thumbprint. */
  readonly id: string;
  readonly publicJwk: JWK;
  readonly privateKey: KeyObject;
}

// Off the event loop: an RSA key takes up to seconds, and this runs beside requests when keys are rotated.
const generate = promisify(generateKeyPair);

async function makeKeyPair(alg: SigningAlgorithm): Promise<KeyPair> {
  const { privateKey, publicKey } =
    alg === 'ES256'
      ? await generate('ec', { namedCurve: 'P-256' })
      : await generate('rsa', { modulusLength: 2048 });
  const publicJwk = await exportJWK(publicKey);
  const id = await calculateJwkThumbprint(publicJwk);
  // On a command line a leading dash would be an option: `mayfly keys retire ID`.
  return id.startsWith('-') ? makeKeyPair(alg) : { id, publicJwk, privateKey };
}

/** 32 random bytes, stored only wrapped: a writer in the database alone cannot forge what stands under one. */
export function makeSecret(purpose: SecretPurpose, options: { kek: Buffer; now: Date }): StoredKey {
  const secret = randomBytes(32);
  const id = createHash('sha256').update(purpose).update(secret).digest('base64url');
  const wrapped = wrapKey(options.kek, secret, { id, purpose });
  const { now } = options;
  return {
    id,
    purpose,
    alg: 'HS256',
    publicJwk: null,
    wrapped,
    createdAt: now,
    activeFrom: now,
    retiredAt: null,
  };
}

export type RowMac = (bytes: Uint8Array) => Buffer;

export function openSecret(stored: StoredKey, kek: Buffer): Buffer {
  return unwrapKey(kek, stored.wrapped, stored);
}

export function rowMac(secret: Buffer): RowMac {
  return (bytes) => createHmac('sha256', secret).update(bytes).digest();
}

function openKey(stored: StoredKey, kek: Buffer): SigningKey {
  const { id: kid, alg, activeFrom, retiredAt, publicJwk } = stored;
  if (publicJwk === null) throw new Error(`key ${kid} has no public part`);
  const der = unwrapKey(kek, stored.wrapped, stored);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const key = { kid, alg, privateKey, publicJwk, activeFrom, retiredAt };
  if (stored.purpose !== 'federation') return key;
  // Ceph verifies by certificate alone; AWS, Google and Microsoft read the key beside it.
  const x5c = [selfSigned({ kid, privateKey, notBefore: activeFrom })];
  return { ...key, publicJwk: { ...publicJwk, x5c } };
}
