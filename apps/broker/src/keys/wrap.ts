import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const ivBytes = 12;
const tagBytes = 16;

/** Bound to a key's id and purpose: a wrapped key moved to another row does not open. */
export interface WrapContext {
  readonly id: string;
  readonly purpose: string;
}

/** AES-256-GCM: iv, tag, ciphertext. */
export function wrapKey(kek: Buffer, plain: Uint8Array, context: WrapContext): Buffer {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', kek, iv).setAAD(bindingOf(context));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]);
}

/** Throws when the key-encryption key, the id or the purpose is another. */
export function unwrapKey(kek: Buffer, wrapped: Uint8Array, context: WrapContext): Buffer {
  const bytes = Buffer.from(wrapped);
  const decipher = createDecipheriv('aes-256-gcm', kek, bytes.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(bindingOf(context)).setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
  return Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]);
}

function bindingOf({ id, purpose }: WrapContext): Buffer {
  return Buffer.from(JSON.stringify(['mayfly-key', id, purpose]));
}
