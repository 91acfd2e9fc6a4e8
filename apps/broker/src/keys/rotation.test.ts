import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { Keys } from '@mayfly/store';
import { type Random, TestClock, withSeed } from '@mayfly/testkit';
import { jwtVerify, SignJWT } from 'jose';
import { firstActiveFrom, Keyring, makeSigningKey, type StoredKey } from './keyring.ts';
import { keyState, leadMsMin, nextRotations, rotateDueKeys } from './rotation.ts';

const kek = randomBytes(32);
const day = 86_400_000;

/** Rows under the rule of `rotate_key`. */
class MemoryKeys implements Pick<Keys, 'list' | 'rotate'> {
  rows: StoredKey[] = [];
  readonly events: string[] = [];
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  async list() {
    return [...this.rows];
  }

  async rotate(key: StoredKey, rule: Parameters<Keys['rotate']>[1]): Promise<boolean> {
    const starts = key.activeFrom.getTime();
    const same = (one: StoredKey) => one.purpose === key.purpose && one.alg === key.alg;
    if (starts < this.#now().getTime() + rule.leadMs) return false;
    if (this.rows.some((one) => same(one) && one.activeFrom.getTime() + rule.everyMs > starts)) return false;
    const retire = (one: StoredKey) =>
      same(one) && one.retiredAt === null ? { ...one, retiredAt: rule.retireOthersAt } : one;
    this.rows = [...this.rows.map(retire), key];
    this.events.push(rule.audit.type);
    return true;
  }
}

async function scene({ everyMs = 30 * day, overlapMs = day } = {}) {
  const clock = new TestClock();
  const keys = new MemoryKeys(() => clock.now());
  const now = clock.now();
  for (const alg of ['ES256', 'RS256'] as const)
    keys.rows.push(await makeSigningKey('token', { kek, now, activeFrom: firstActiveFrom(now), alg }));
  const options = { keys, kek, everyMs, overlapMs, databaseNow: async () => clock.now() };
  return { clock, keys, options, rotate: () => rotateDueKeys(options) };
}

const ofAlg = (rows: readonly StoredKey[], alg: string) => rows.filter((key) => key.alg === alg);

describe('the next key', () => {
  test('is published before it signs, one of each algorithm, and only when the time has come', async () => {
    const { clock, keys, options, rotate } = await scene();
    const [first] = nextRotations(keys.rows, options.everyMs);
    clock.advance(((first?.publishAt.getTime() ?? 0) - clock.now().getTime() - 1) / 1000);
    expect(await rotate()).toEqual([]);
    clock.advance(0.001);
    expect((await rotate()).map(({ alg }) => alg)).toEqual(['ES256', 'RS256']);
    expect(await rotate()).toEqual([]);
    const states = () => keys.rows.map((key) => keyState(key, keys.rows, clock.now()));
    expect(states()).toEqual(['current', 'current', 'next', 'next']);
    clock.advance(330);
    expect(states()).toEqual(['retiring', 'retiring', 'current', 'current']);
    clock.advance(day / 1000 + 900);
    expect(states()).toEqual(['retired', 'retired', 'current', 'current']);
    expect(keys.events).toEqual(['key.rotated', 'key.rotated']);
  });

  test('is made once, by however many replicas at once', async () => {
    const { clock, keys, rotate } = await scene();
    clock.advance((30 * day) / 1000);
    const made = await Promise.all([rotate(), rotate(), rotate()]);
    expect(made.flat()).toHaveLength(2);
    expect(ofAlg(keys.rows, 'ES256')).toHaveLength(2);
  });

  test('is given up by a replica that paused until caches could miss it, and made by the next look', async () => {
    const { clock, keys, options } = await scene();
    clock.advance((31 * day) / 1000);
    const pausing: typeof makeSigningKey = async (purpose, rest) => {
      const key = await makeSigningKey(purpose, rest);
      clock.advance(60);
      return key;
    };
    expect(await rotateDueKeys({ ...options, make: pausing })).toEqual([]);
    expect(keys.rows).toHaveLength(2);
    expect(await rotateDueKeys(options)).toHaveLength(2);
  });

  test('leaves verifiers more than they may cache', () => {
    expect(leadMsMin).toBeGreaterThan(300_000);
  });
});

/** A resource server that keeps the key set for as long as it may, and asks one replica or another. */
class CachingVerifier {
  #set: { readonly kids: ReadonlySet<string>; readonly readAt: number } = { kids: new Set(), readAt: -1e15 };

  sees(kid: string, nowMs: number, read: () => Keyring): boolean {
    if (nowMs - this.#set.readAt >= 300_000) {
      const { keys } = read().jwks('token', new Date(nowMs));
      this.#set = { kids: new Set(keys.map((key) => String(key.kid))), readAt: nowMs };
    }
    return this.#set.kids.has(kid);
  }
}

test(
  'two replicas over twenty days: no token ever meets a key set without its key',
  () =>
    withSeed(async (random) => {
      const { clock, keys, rotate } = await scene({ everyMs: 2 * day });
      const verifiers = [new CachingVerifier(), new CachingVerifier(), new CachingVerifier()];
      // A replica that serves its key set reads the epoch first; one that only signs may be behind.
      const fresh = () => {
        const now = clock.now();
        return new Keyring(
          keys.rows.filter((key) => keyState(key, keys.rows, now) !== 'retired'),
          kek,
        );
      };
      const rings = [fresh(), fresh()];
      const tokens: { kid: string; expiresMs: number }[] = [];
      const end = clock.now().getTime() + 20 * day;
      while (clock.now().getTime() < end) {
        clock.advance(1 + random.below(1_200));
        if (random.fraction() < 0.7) await rotate();
        if (random.fraction() < 0.5) rings[random.below(2)] = fresh();
        for (const [index, ring] of rings.entries()) {
          // Each replica has a clock of its own, off by as much as lets it issue.
          const now = new Date(clock.now().getTime() + (index === 0 ? 15_000 : -15_000));
          tokens.push(signedNow(ring, now, { random, seconds: 300 }));
          // The commit of a tool token is conditional on the epoch, so it is signed by keys of now.
          tokens.push(signedNow(fresh(), now, { random, seconds: day / 1000 }));
        }
        verifyAll(verifiers, tokens, clock.now(), fresh);
      }
      expect(new Set(tokens.map(({ kid }) => kid)).size).toBeGreaterThan(7);
    }),
  60_000,
);

/** What signs is told by its kid. */
function signedNow(
  ring: Keyring,
  now: Date,
  { random, seconds }: { random: Random; seconds: number },
): { kid: string; expiresMs: number } {
  return { kid: ring.signer('token', now).kid, expiresMs: now.getTime() + random.below(seconds) * 1000 };
}

function verifyAll(
  verifiers: readonly CachingVerifier[],
  tokens: readonly { kid: string; expiresMs: number }[],
  now: Date,
  fresh: () => Keyring,
): void {
  const nowMs = now.getTime();
  const living = new Set(tokens.filter(({ expiresMs }) => expiresMs > nowMs).map(({ kid }) => kid));
  for (const verifier of verifiers)
    for (const kid of living)
      if (!verifier.sees(kid, nowMs, fresh))
        throw new Error(`${now.toISOString()}: no key ${kid} in the cached set`);
}

test('both algorithms sign and verify, and neither takes the other’s key', async () => {
  const { keys, clock } = await scene();
  const ring = new Keyring(keys.rows, kek);
  const published = ring.jwks('token', clock.now()).keys;
  for (const alg of ['ES256', 'RS256'] as const) {
    const { kid, privateKey } = ring.signer('token', clock.now(), alg);
    const token = await new SignJWT({}).setProtectedHeader({ alg, kid }).sign(privateKey);
    const key = published.find((one) => one.kid === kid);
    if (key === undefined) throw new Error('not published');
    expect((await jwtVerify(token, key, { algorithms: [alg] })).protectedHeader.alg).toBe(alg);
    const other = published.find((one) => one.alg !== alg);
    if (other === undefined) throw new Error('no other');
    await expect(jwtVerify(token, other)).rejects.toThrow();
  }
});
