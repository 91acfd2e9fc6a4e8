import { type AuditEvent, auditEvent } from '@mayfly/core';
import type { Store, StoredKey as StoreKey } from '@mayfly/store';
import { ConfigError } from '../config.ts';
import { createIds } from '../ids.ts';
import {
  Keyring,
  makeSecret,
  makeSigningKey,
  type RowMac,
  rowMac,
  type StoredKey,
  secretPurposes,
  signingPurposes,
} from './keyring.ts';
import { unwrapKey } from './wrap.ts';

export interface LoadedKeys {
  readonly ring: Keyring;
  readonly mac: RowMac;
  /** From which sign-in makes its keys. */
  readonly signInSecret: Buffer;
}

/** The keys in the database, unwrapped; those missing at the first start are made. Two replicas make one each. */
export async function loadKeys(store: Pick<Store, 'keys'>, kek: Buffer): Promise<LoadedKeys> {
  const stored = await store.keys.list();
  const have = new Set(stored.map(({ purpose }) => purpose));
  const now = new Date();
  const missing: StoredKey[] = [];
  for (const purpose of secretPurposes)
    if (!have.has(purpose)) missing.push(makeSecret(purpose, { kek, now }));
  for (const purpose of signingPurposes)
    if (!have.has(purpose)) missing.push(await makeSigningKey(purpose, { kek, now, activeFrom: now }));
  for (const key of missing)
    await store.keys.insert(key, { onlyIfNone: true, audit: keyEvent('key.made', key) });
  const all = missing.length === 0 ? stored : await store.keys.list();
  // The first by age, should two replicas ever have made one each.
  const [macKey, secret] = secretPurposes.map((purpose) => all.find((key) => key.purpose === purpose));
  if (macKey === undefined || secret === undefined) throw new Error('a secret is missing');
  try {
    const ring = new Keyring(all.map(asStored), kek);
    return { ring, mac: rowMac(asStored(macKey), kek), signInSecret: unwrapKey(kek, secret.wrapped, secret) };
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
