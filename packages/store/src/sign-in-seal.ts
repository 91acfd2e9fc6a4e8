import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';

const ivBytes = 12;
const tagBytes = 16;

/** Where a sealed payload belongs: moved to another row, or given another grant, it does not open. */
export interface SealContext {
  readonly model: string;
  readonly id: Uint8Array;
  readonly grantId: Uint8Array | null;
}

/** Digests and sealed bytes of sign-in rows, by keys that are made from one secret, which is not in the database. */
export interface Seal {
  /** Of ids, which are random: SHA-256. */
  idOf(value: string): Uint8Array<ArrayBuffer>;
  /** Of what is short or told apart by us: keyed, because a user code is found from a plain digest in minutes. */
  indexOf(kind: 'uid' | 'user_code', value: string): Uint8Array<ArrayBuffer>;
  seal(payload: object, context: SealContext): Uint8Array<ArrayBuffer>;
  /** Throws when the key or the row is another, or a byte was changed. */
  open(sealed: Uint8Array, context: SealContext): Readonly<Record<string, unknown>>;
}

/** `secret` is asked for at each use, as it lies wrapped in the database. */
export function createSeal(secret: () => Buffer): Seal {
  return {
    idOf: (value) => new Uint8Array(createHash('sha256').update(value).digest()),
    indexOf: (kind, value) => {
      const key = subkey(secret(), 'index');
      return new Uint8Array(
        createHmac('sha256', key)
          .update(JSON.stringify([kind, value]))
          .digest(),
      );
    },
    seal: (payload, context) => {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', subkey(secret(), 'seal'), iv).setAAD(bindingOf(context));
      const body = Buffer.concat([cipher.update(JSON.stringify(payload), 'utf8'), cipher.final()]);
      return new Uint8Array(Buffer.concat([iv, cipher.getAuthTag(), body]));
    },
    open: (sealed, context) => {
      const bytes = Buffer.from(sealed);
      const key = subkey(secret(), 'seal');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(bindingOf(context)).setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
      const plain = Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]);
      return { ...Object(JSON.parse(plain.toString('utf8'))) };
    },
  };
}

/** One secret, a key for each use (RFC 5869). */
export function subkey(secret: Uint8Array, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, new Uint8Array(0), `mayfly-sign-in-${use}`, 32));
}

function bindingOf({ model, id, grantId }: SealContext): Buffer {
  const hex = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString('hex'));
  return Buffer.from(JSON.stringify(['mayfly-sign-in', model, hex(id), hex(grantId)]));
}
