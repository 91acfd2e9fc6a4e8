import { importJWK, type JWK } from 'jose';
import { z } from 'zod';
import { type FetchLimits, fetchJson, unavailable } from './fetch-json.ts';

/** Enough for overlapping rotation of several signers; a set with more is refused. */
const keysMax = 32;
/** An unknown kid may ask for the keys again this often (standards.md F8). */
const refetchPauseMs = 30_000;
/** Bounds on what an issuer may say with max-age. */
const freshMsMin = 60_000;
const freshMsMax = 600_000;

export type VerificationKey = Awaited<ReturnType<typeof importJWK>>;

export interface KeySet {
  /** The key of this kid and algorithm, or undefined. Throws Fault `issuer_unavailable` when keys cannot be had. */
  find(wanted: { kid: string | undefined; alg: string }, now: Date): Promise<VerificationKey | undefined>;
}

export interface KeySource {
  readonly issuer: string;
  readonly jwksUri: string | null;
  /** Content of jwksFile, read again each time that keys are. */
  readonly readFile: (() => Promise<string>) | null;
  readonly limits: FetchLimits;
}

const discovery = z.object({ issuer: z.string(), jwks_uri: z.url() });
const jwks = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(keysMax) });

interface Loaded {
  readonly keys: readonly JWK[];
  readonly at: number;
  readonly freshMs: number;
}

/** Keys of one issuer, in memory: at most 10 minutes old, one fetch at a time, only from configured places. */
export function createKeySet(source: KeySource): KeySet {
  let loaded: Loaded | undefined;
  let lastTry = Number.NEGATIVE_INFINITY;
  let flight: Promise<Loaded> | undefined;
  const load = (now: number) => {
    flight ??= loadKeys(source, now)
      .then((fresh) => {
        loaded = fresh;
        return fresh;
      })
      .finally(() => {
        flight = undefined;
      });
    lastTry = now;
    return flight;
  };
  return {
    find: async (wanted, date) => {
      const now = date.getTime();
      const current = loaded !== undefined && now - loaded.at < loaded.freshMs ? loaded : await load(now);
      const known = pick(current.keys, wanted);
      if (known !== undefined || now - lastTry < refetchPauseMs) return known && importJWK(known, wanted.alg);
      const again = pick((await load(now)).keys, wanted);
      return again && importJWK(again, wanted.alg);
    },
  };
}

async function loadKeys(source: KeySource, now: number): Promise<Loaded> {
  if (source.readFile !== null) {
    const text = await source
      .readFile()
      .catch((cause: unknown) => Promise.reject(unavailable('jwksFile unreadable', cause)));
    return { keys: checkKeys(parseJson(text)), at: now, freshMs: freshMsMin };
  }
  const uri = source.jwksUri ?? (await discover(source));
  const { body, maxAgeSeconds } = await fetchJson(uri, source.limits);
  const freshMs = Math.min(freshMsMax, Math.max(freshMsMin, (maxAgeSeconds ?? freshMsMax / 1000) * 1000));
  return { keys: checkKeys(body), at: now, freshMs };
}

async function discover({ issuer, limits }: KeySource): Promise<string> {
  const { body } = await fetchJson(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, limits);
  const parsed = discovery.safeParse(body);
  if (!parsed.success) throw unavailable('discovery document malformed');
  // OpenID Connect Discovery section 4.3: the issuer must be byte-equal, or another one speaks in its name.
  if (parsed.data.issuer !== issuer) throw unavailable('discovery names another issuer');
  return parsed.data.jwks_uri;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unavailable('jwksFile is not JSON', cause);
  }
}

/** Public signature keys only; two keys of one kid make the whole set ambiguous and refuse it. */
function checkKeys(body: unknown): readonly JWK[] {
  const parsed = jwks.safeParse(body);
  if (!parsed.success) throw unavailable('key set malformed or too large');
  const keys = (parsed.data.keys as JWK[]).filter(isVerificationKey);
  const kids = keys.map(({ kid }) => kid).filter((kid) => kid !== undefined);
  if (new Set(kids).size !== kids.length) throw unavailable('two keys of one kid');
  return keys;
}

function isVerificationKey({ kty, use, d, k, key_ops: operations }: JWK): boolean {
  if (kty === 'oct' || d !== undefined || k !== undefined) return false;
  return (use === undefined || use === 'sig') && (operations === undefined || operations.includes('verify'));
}

const keyTypes: Readonly<Record<string, string>> = { RS: 'RSA', PS: 'RSA', ES: 'EC', Ed: 'OKP' };

function pick(keys: readonly JWK[], { kid, alg }: { kid: string | undefined; alg: string }): JWK | undefined {
  const fitting = keys.filter(
    (key) => key.kty === keyTypes[alg.slice(0, 2)] && (key.alg === undefined || key.alg === alg),
  );
  if (kid !== undefined) return fitting.find((key) => key.kid === kid);
  return fitting.length === 1 ? fitting[0] : undefined;
}
