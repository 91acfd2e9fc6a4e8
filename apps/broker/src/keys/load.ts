import { type AuditEvent, auditEvent } from '@mayfly/core';
import type { Store, StoredKey as StoreKey } from '@mayfly/store';
import { ConfigError } from '../config.ts';
import { createIds } from '../ids.ts';
import {
  algorithmsOf,
  firstActiveFrom,
  Keyring,
  makeSecret,
  makeSigningKey,
  openSecret,
  type RowMac,
  rowMac,
  type SecretPurpose,
  type StoredKey,
  secretPurposes,
  signingPurposes,
} from './keyring.ts';

export interface LoadedKeys {
  readonly ring: Keyring;
  readonly mac: RowMac;
  /** Of DPoP nonces. */
  readonly nonceSecret: Buffer;
  /** From which sign-in makes its keys. */
  readonly signInSecret: Buffer;
}

/** The keys in the database, unwrapped; those missing at the first start are made. Two replicas make one each. */
export async function loadKeys(store: Pick<Store, 'keys'>, kek: Buffer): Promise<LoadedKeys> {
  const stored = await store.keys.list();
  const have = new Set(stored.map(({ purpose, alg }) => `${purpose} ${alg}`));
  const now = new Date();
  const missing: StoredKey[] = [];
  for (const purpose of secretPurposes)
    if (!stored.some((key) => key.purpose === purpose)) missing.push(makeSecret(purpose, { kek, now }));
  for (const purpose of signingPurposes)
    for (const alg of algorithmsOf[purpose])
      if (!have.has(`${purpose} ${alg}`))
        missing.push(await makeSigningKey(purpose, { kek, now, activeFrom: firstActiveFrom(now), alg }));
  for (const key of missing)
    await store.keys.insert(key, { onlyIfNone: true, audit: keyEvent('key.made', key) });
  const all = missing.length === 0 ? stored : await store.keys.list();
  // The first by age, should two replicas ever have made one each.
  const secretOf = (purpose: SecretPurpose) => {
    const key = all.find((one) => one.purpose === purpose);
    if (key === undefined) throw new Error(`no ${purpose} key`);
    return openSecret(asStored(key), kek);
  };
  try {
    const ring = new Keyring(all.map(asStored), kek);
    return {
      ring,
      mac: rowMac(secretOf('row-mac')),
      nonceSecret: secretOf('nonce'),
      signInSecret: secretOf('sign-in-secret'),
    };
  } catch (cause) {
    const problem = 'keyEncryptionKey: not the key under which the keys of this database are wrapped';
    throw new ConfigError([problem], { cause });
  }
}

/** For the log: which key, for what, from when; never a private part. */
export function keyEvent(
  type: 'key.made' | 'key.rotated' | 'key.retired',
  key: Omit<StoreKey, 'wrapped' | 'publicJwk'>,
): AuditEvent {
  const { id, purpose, alg, activeFrom, retiredAt } = key;
  const now = new Date();
  const times = { activeFrom: activeFrom.toISOString(), retiredAt: retiredAt?.toISOString() ?? null };
  const body = { key: id, purpose, alg, ...times };
  return auditEvent({ newId: createIds(() => now), now }, { type, actor: 'mayfly', body });
}

function asStored(key: StoreKey): StoredKey {
  return { ...key, publicJwk: key.publicJwk === null ? null : { ...key.publicJwk } };
}
