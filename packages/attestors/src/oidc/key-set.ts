import { JsonError, parseJsonStrict } from '@mayfly/protocol';
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
const published = z.looseObject({
  kty: z.string(),
  kid: z.string().optional(),
  alg: z.string().optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  crv: z.string().optional(),
});
type Published = z.output<typeof published>;
const jwks = z.object({ keys: z.array(published).max(keysMax) });

interface Loaded {
  readonly keys: readonly Published[];
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
      const current =
        loaded !== undefined && since(loaded.at, now) < loaded.freshMs ? loaded : await load(now);
      const known = pick(current.keys, wanted);
      if (known !== undefined || since(lastTry, now) < refetchPauseMs)
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
    return parseJsonStrict(text, { maxDepth: 8 });
  } catch (cause) {
    throw unavailable(`jwksFile: ${cause instanceof JsonError ? cause.message : 'unreadable'}`, cause);
  }
}

/** Public signature keys only; two keys of one kid make the whole set ambiguous and refuse it. */
function checkKeys(body: unknown): readonly Published[] {
  const parsed = jwks.safeParse(body);
  if (!parsed.success) throw unavailable('key set malformed or too large');
  const keys = parsed.data.keys.filter(isForSignatures);
  const kids = keys.map(({ kid }) => kid).filter((kid) => kid !== undefined);
  // Counted before private keys are dropped: one whose secret stands beside it in the set proves nobody.
  if (new Set(kids).size !== kids.length) throw unavailable('two keys of one kid');
  return keys.filter(isPublic);
}

function isForSignatures({ use, key_ops: operations }: Published): boolean {
  return (use === undefined || use === 'sig') && (operations === undefined || operations.includes('verify'));
}

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

function isPublic(key: Published): boolean {
  return key.kty !== 'oct' && !privateMembers.some((member) => Object.hasOwn(key, member));
}

/** Key type and, where the algorithm fixes it, curve: an algorithm of another key is no key (RFC 8725 section 3.1). */
function formOf(alg: string): { readonly kty: string; readonly crv?: string } | undefined {
  if (alg === 'ES256') return { kty: 'EC', crv: 'P-256' };
  if (alg === 'ES384') return { kty: 'EC', crv: 'P-384' };
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
