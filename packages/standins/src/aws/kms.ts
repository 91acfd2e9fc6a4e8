import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { authorize, type Caller } from './authorize.ts';
import { AwsError } from './errors.ts';
import { type JsonCall, type JsonService, text } from './json-service.ts';

/** Ciphertexts that open only with the key and the encryption context that they were made with. */
export const kms: JsonService = {
  service: 'kms',
  operations: {
    Encrypt: (call) => {
      const key = text(call, 'KeyId');
      const context = contextOf(call);
      useKey(call, { key, action: 'kms:Encrypt', context });
      const sealed = seal(call, key, Buffer.from(text(call, 'Plaintext'), 'base64'));
      return { CiphertextBlob: sealed, KeyId: key };
    },
    GenerateDataKey: (call) => {
      const key = text(call, 'KeyId');
      useKey(call, { key, action: 'kms:GenerateDataKey', context: contextOf(call) });
      const plain = randomBytes(32);
      return {
        CiphertextBlob: seal(call, key, plain),
        Plaintext: plain.toString('base64'),
        KeyId: key,
      };
    },
    Decrypt: (call) => {
      const blob = Buffer.from(text(call, 'CiphertextBlob'), 'base64');
      const split = blob.indexOf(0);
      const key = blob.toString('utf8', 0, Math.max(split, 0));
      useKey(call, { key, action: 'kms:Decrypt', context: contextOf(call) });
      const plain = open(call, key, blob.subarray(split + 1));
      return { Plaintext: plain.toString('base64'), KeyId: key };
    },
  },
};

export interface KeyUse {
  readonly key: string;
  readonly action: 'kms:Encrypt' | 'kms:Decrypt' | 'kms:GenerateDataKey';
  readonly context: Readonly<Record<string, string>>;
  /** The service that asks for its caller. */
  readonly via?: 's3' | 'secretsmanager';
}

/** Decides about one use of a key, by its caller or by a service for it. */
export function useKey(caller: Caller, { key, action, context, via }: KeyUse): void {
  const { region, account, keys } = caller.state;
  const keysOf = Object.entries(context).map(([name, value]) => [`kms:EncryptionContext:${name}`, value]);
  const through = via === undefined ? {} : { 'kms:ViaService': `${via}.${region}.amazonaws.com` };
  authorize(caller, {
    action,
    resource: key,
    context: {
      ...Object.fromEntries(keysOf),
      ...through,
      'kms:CallerAccount': account,
      'kms:EncryptionContextKeys': Object.keys(context),
    },
  });
  if (!keys.has(key)) throw new AwsError('NotFoundException', 400, 'key does not exist');
}

function contextOf(call: JsonCall): Record<string, string> {
  const given = Object.entries(Object(call.input['EncryptionContext'] ?? {}));
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
}

function additional(call: JsonCall): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(contextOf(call)).sort()));
}

function material({ state }: JsonCall, key: string): Buffer {
  const found = state.keys.get(key);
  if (found === undefined) throw new AwsError('NotFoundException', 400, 'key does not exist');
  return found;
}

function seal(call: JsonCall, key: string, plain: Buffer): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', material(call, key), nonce).setAAD(additional(call));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([Buffer.from(`${key}\0`), nonce, cipher.getAuthTag(), body]).toString('base64');
}

function open(call: JsonCall, key: string, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', material(call, key), sealed.subarray(0, 12))
    .setAAD(additional(call))
    .setAuthTag(sealed.subarray(12, 28));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()]);
  } catch {
    throw new AwsError('InvalidCiphertextException', 400);
  }
}
