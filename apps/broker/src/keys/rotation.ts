import type { Keys } from '@mayfly/store';
import {
  algorithmsOf,
  makeSigningKey,
  publishLeadMs,
  type SigningAlgorithm,
  type SigningPurpose,
  type StoredKey,
} from './keyring.ts';
import { keyEvent } from './load.ts';

/**
 * Purposes whose keys change by themselves. Not `federation`: clouds keep its keys for as long as they like, and may
 * fetch them from files that only a person can replace (`mayfly keys rotate`).
 */
const rotatedPurposes: readonly SigningPurpose[] = ['token', 'sign-in'];

/** Least time left between publication and first use: the 300 s of caches, and 15 s for two clocks to differ by. */
export const leadMsMin = 315_000;

/**
 * Added to the overlap: clocks of replicas differ, and a quiet one may sign task tokens (five minutes) by keys that it
 * read before. Tool tokens cannot be late: their commit is conditional on the epoch that a rotation raises.
 */
const lateMs = 900_000;

export interface RotationOptions {
  readonly keys: Pick<Keys, 'list' | 'rotate'>;
  readonly kek: Buffer;
  databaseNow(): Promise<Date>;
  /** How long a key signs. */
  readonly everyMs: number;
  /** How long it stays published afterwards: at least the life of the longest token that it has signed. */
  readonly overlapMs: number;
  /** Injected by tests that rotate for years. */
  readonly make?: typeof makeSigningKey;
}

type KeyTimes = Pick<StoredKey, 'purpose' | 'alg' | 'activeFrom' | 'retiredAt'>;

/**
 * Publishes the next key of each purpose and algorithm whose time has come, and answers those made. Safe to call at any
 * time on any number of replicas: the statement behind `keys.rotate` lets one of them through. Dying in the middle
 * changes nothing.
 */
export async function rotateDueKeys(options: RotationOptions): Promise<readonly StoredKey[]> {
  const { keys, kek, everyMs, overlapMs, make = makeSigningKey } = options;
  const made: StoredKey[] = [];
  const now = await options.databaseNow();
  for (const { purpose, alg, publishAt } of nextRotations(await keys.list(), everyMs)) {
    if (publishAt > now) continue;
    const activeFrom = new Date(now.getTime() + publishLeadMs);
    const key = await make(purpose, { kek, now, activeFrom, alg });
    const retireOthersAt = new Date(activeFrom.getTime() + overlapMs + lateMs);
    const rule = { everyMs, leadMs: leadMsMin, retireOthersAt, audit: keyEvent('key.rotated', key) };
    if (await keys.rotate(key, rule)) made.push(key);
  }
  return made;
}

/** When the next key of each purpose and algorithm will be published. Pure. */
export function nextRotations(
  stored: readonly KeyTimes[],
  everyMs: number,
): readonly { purpose: SigningPurpose; alg: SigningAlgorithm; publishAt: Date }[] {
  return rotatedPurposes.flatMap((purpose) =>
    algorithmsOf[purpose].flatMap((alg) => {
      const starts = stored
        .filter((key) => key.purpose === purpose && key.alg === alg && !wasWithdrawn(key))
        .map(({ activeFrom }) => activeFrom.getTime());
      // The first key of all is made at start (load.ts).
      if (starts.length === 0) return [];
      return [{ purpose, alg, publishAt: new Date(Math.max(...starts) + everyMs - publishLeadMs) }];
    }),
  );
}

/** Taken back before it ever signed. */
function wasWithdrawn({ activeFrom, retiredAt }: KeyTimes): boolean {
  return retiredAt !== null && retiredAt <= activeFrom;
}

/** Where a key stands: published and waiting, signing, published for what it has signed, or gone. */
export function keyState(
  key: KeyTimes,
  all: readonly KeyTimes[],
  now: Date,
): 'next' | 'current' | 'retiring' | 'retired' {
  if (key.retiredAt !== null && key.retiredAt <= now) return 'retired';
  if (key.activeFrom > now) return 'next';
  const newer = all.some(
    (other) =>
      other.purpose === key.purpose &&
      other.alg === key.alg &&
      other.activeFrom > key.activeFrom &&
      other.activeFrom <= now &&
      !wasWithdrawn(other),
  );
  return newer ? 'retiring' : 'current';
}
