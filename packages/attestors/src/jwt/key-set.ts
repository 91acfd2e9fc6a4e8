import { importJWK, type JWK } from 'jose';
import { z } from 'zod';
import { type Fetched, unavailable } from './fetch-json.ts';

export interface KeyLimits {
  /** Enough for overlapping rotation of several signers; a set with more is refused. */
  readonly keysMax: number;
  /** An unknown kid may ask for the keys again this often (standards.md F8). */
  readonly refetchPauseMs: number;
  /** The longest that keys are used, whatever the issuer says with max-age. */
  readonly freshMsMax: number;
}

/** The least that keys are used, whatever the issuer says with max-age: no caller makes us ask more often. */
const freshMsMin = 60_000;

/** An issuer that fails is asked once in this time, however many tokens of its name come. */
const failurePauseMs = 1_000;

export type VerificationKey = Awaited<ReturnType<typeof importJWK>>;

export interface KeySet {
  /** The key of this kid and algorithm, or undefined. Throws Fault `issuer_unavailable` when keys cannot be had. */
  find(wanted: { kid: string | undefined; alg: string }, now: Date): Promise<VerificationKey | undefined>;
}

export interface KeySource {
  /** A JWK set as published. */
  load(): Promise<Fetched>;
  /** Which `use` makes a key one of this set. */
  isUsed(use: string | undefined): boolean;
  readonly limits: KeyLimits;
}

const published = z.looseObject({
  kty: z.string(),
  kid: z.string().optional(),
  alg: z.string().optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  crv: z.string().optional(),
});
type Published = z.output<typeof published>;
const jwks = z.object({ keys: z.array(published) });

interface Loaded {
  readonly keys: readonly Published[];
  readonly at: number;
  readonly freshMs: number;
}

/** Keys of one issuer, in memory: at most `freshMsMax` old, one load at a time. */
export function createKeySet(source: KeySource): KeySet {
  let loaded: Loaded | undefined;
  let lastTry = Number.NEGATIVE_INFINITY;
  let flight: Promise<Loaded> | undefined;
  let failed: { readonly error: unknown; readonly at: number } | undefined;
  const fetchKeys = async (now: number) => {
    try {
      loaded = await loadKeys(source, now);
      failed = undefined;
      return loaded;
    } catch (error) {
      failed = { error, at: now };
      throw error;
    } finally {
      flight = undefined;
    }
  };
  const load = async (now: number) => {
    if (failed !== undefined && since(failed.at, now) < failurePauseMs) throw failed.error;
    flight ??= fetchKeys(now);
    lastTry = now;
    return flight;
  };
  return {
    find: async (wanted, date) => {
      const now = date.getTime();
      const current =
        loaded !== undefined && since(loaded.at, now) < loaded.freshMs ? loaded : await load(now);
      const known = pick(current.keys, wanted);
      if (known !== undefined || since(lastTry, now) < source.limits.refetchPauseMs)
        return known && toKey(known, wanted.alg);
      const again = pick((await load(now)).keys, wanted);
      return again && toKey(again, wanted.alg);
    },
  };
}

/** Also of a clock that was set back: it must not keep old keys alive. */
function since(then: number, now: number): number {
  return Math.abs(now - then);
}

/** Of the public members alone; one that cannot be imported is the issuer's fault, not the caller's. */
async function toKey(key: Published, alg: string): Promise<VerificationKey> {
  const material = Object.fromEntries(Object.entries(key).filter(([name]) => publicMembers.has(name)));
  try {
    return await importJWK(material as JWK, alg); // jose checks the form.
  } catch (cause) {
    throw unavailable('a key of its set cannot be used', cause);
  }
}

const publicMembers = new Set(['kty', 'crv', 'n', 'e', 'x', 'y']);

async function loadKeys(source: KeySource, now: number): Promise<Loaded> {
  const { body, maxAgeSeconds } = await source.load();
  const { freshMsMax } = source.limits;
  const saidMs = maxAgeSeconds === undefined ? freshMsMax : maxAgeSeconds * 1000;
  const freshMs = Math.min(freshMsMax, Math.max(freshMsMin, saidMs));
  return { keys: checkKeys(body, source), at: now, freshMs };
}

/** Public signature keys only; two keys of one kid make the whole set ambiguous and refuse it. */
function checkKeys(body: unknown, { isUsed, limits }: KeySource): readonly Published[] {
  const parsed = jwks.safeParse(body);
  if (!parsed.success || parsed.data.keys.length > limits.keysMax)
    throw unavailable('key set malformed or too large');
  const keys = parsed.data.keys.filter((key) => isUsed(key.use) && mayVerify(key));
  const kids = keys.map(({ kid }) => kid).filter((kid) => kid !== undefined);
  // Counted before private keys are dropped: one whose secret stands beside it in the set proves nobody.
  if (new Set(kids).size !== kids.length) throw unavailable('two keys of one kid');
  return keys.filter(isPublic);
}

function mayVerify({ key_ops: operations }: Published): boolean {
  return operations === undefined || operations.includes('verify');
}

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

function isPublic(key: Published): boolean {
  return key.kty !== 'oct' && !privateMembers.some((member) => Object.hasOwn(key, member));
}

/** Key type and, where the algorithm fixes it, curve: an algorithm of another key is no key (RFC 8725 section 3.1). */
function formOf(alg: string): { readonly kty: string; readonly crv?: string } | undefined {
  if (alg === 'ES256') return { kty: 'EC', crv: 'P-256' };
  if (alg === 'ES384') return { kty: 'EC', crv: 'P-384' };
  if (alg === 'ES512') return { kty: 'EC', crv: 'P-521' };
  if (alg === 'EdDSA') return { kty: 'OKP', crv: 'Ed25519' };
  return /^[RP]S(256|384|512)$/.test(alg) ? { kty: 'RSA' } : undefined;
}

function pick(
  keys: readonly Published[],
  { kid, alg }: { kid: string | undefined; alg: string },
): Published | undefined {
  const form = formOf(alg);
  const fitting = keys.filter(
    (key) =>
      form !== undefined &&
      key.kty === form.kty &&
      (form.crv === undefined || key.crv === form.crv) &&
      (key.alg === undefined || key.alg === alg),
  );
  if (kid !== undefined) return fitting.find((key) => key.kid === kid);
  return fitting.length === 1 ? fitting[0] : undefined;
}
