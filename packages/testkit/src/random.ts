import { randomInt } from 'node:crypto';

/** Numbers that look random and are the same for the same seed. */
export interface Random {
  /** In [0, 1). */
  fraction(): number;
  /** In [0, below). */
  below(below: number): number;
  pick<T>(items: readonly [T, ...T[]]): T;
  bytes(length: number): Uint8Array;
}

/** mulberry32: 32 bits of state, good enough to choose cases; never for keys. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(fraction() * limit);
  return {
    fraction,
    below,
    pick: ([first, ...rest]) => rest[below(rest.length + 1) - 1] ?? first,
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
  };
}

/**
 * Runs a property with a fresh seed, or with that of MAYFLY_TEST_SEED, and names the seed when it fails:
 * what a failure was found with can be run again.
 */
export async function withSeed(run: (random: Random) => void | Promise<void>): Promise<void> {
  const given = process.env['MAYFLY_TEST_SEED'];
  const seed = given === undefined ? randomInt(2 ** 32) : Number.parseInt(given, 10);
  try {
    await run(seededRandom(seed));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`MAYFLY_TEST_SEED=${seed}: ${message}`, { cause });
  }
}
