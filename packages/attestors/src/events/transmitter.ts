import { createHash } from 'node:crypto';
import { Refusal, type SecurityEvent, type TrustedIssuer } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import { compactVerify } from 'jose';
import { z } from 'zod';
import { type Compact, parseCompact, type TokenLimits } from '../jwt/compact.ts';
import { fetchJson, unavailable } from '../jwt/fetch-json.ts';
import { createKeySet, type KeySource } from '../jwt/key-set.ts';
import { accessTo, publishedKeys, readJson } from '../jwt/key-source.ts';
import type { AttestorOptions } from '../options.ts';
import { malformed, type Told, told } from './told.ts';

export interface Transmitter {
  /** What the event says, proven; or a Refusal of the `event_*` reasons. Fault `issuer_unavailable` without its keys. */
  verify(set: string, now: Date): Promise<SecurityEvent>;
}

/** A retry of days is one; beyond it nobody remembers whether the event came before. */
const ageSecondsMax = 7 * 86_400;
const jtiCharactersMax = 1024;

/** Unverified `iss` of a security event token, for routing only. */
export function transmitterOf(set: string, limits: TokenLimits): string | undefined {
  const iss = parsed(set, limits).payload['iss'];
  return typeof iss === 'string' ? iss : undefined;
}

/** Who may tell what became of the subjects of one TrustedIssuer. It fetches nothing before its first event. */
export function createTransmitter(issuer: TrustedIssuer, options: AttestorOptions): Transmitter {
  const { events } = issuer;
  if (events === null) throw new TypeError(`TrustedIssuer ${issuer.name} has no transmitter`);
  const keys = createKeySet(keysOf(issuer, events, options));
  return {
    verify: async (set, now) => {
      const compact = parsed(set, options.token);
      const alg = checkHeader(compact, events.algorithms);
      const { jti, issuedAt } = checkClaims(compact, events, { now, skewSeconds: options.skewSeconds });
      const says = told(compact.payload, { issuer, now, issuedAt, skewSeconds: options.skewSeconds });
      const kid = typeof compact.header['kid'] === 'string' ? compact.header['kid'] : undefined;
      const key = await keys.find({ kid, alg }, now);
      if (key === undefined) throw new Refusal('event_key_unknown');
      await compactVerify(set, key, { algorithms: [alg] }).catch((cause: unknown) => {
        throw new Refusal('event_not_authentic', { cause });
      });
      return eventOf(says, jti, events.transmitter);
    },
  };
}

function eventOf(says: Told, jti: string, iss: string): SecurityEvent {
  return {
    ...says,
    jti,
    id: createHash('sha256')
      .update(JSON.stringify([iss, jti]))
      .digest('hex'),
  };
}

function parsed(set: string, limits: TokenLimits): Compact {
  try {
    return parseCompact(set, limits);
  } catch (cause) {
    throw malformed(cause instanceof Refusal ? cause.detail : undefined, cause);
  }
}

// RFC 8417 section 2.3 and RFC 8725 section 3.11: an assertion is no event, and an event no assertion.
function checkHeader({ header }: Compact, algorithms: readonly string[]): string {
  const { typ, alg } = header;
  if (typeof typ !== 'string' || !/^(application\/)?secevent\+jwt$/i.test(typ)) throw malformed('typ');
  if (typeof alg !== 'string' || !algorithms.includes(alg)) throw new Refusal('event_key_unknown');
  return alg;
}

function checkClaims(
  { payload }: Compact,
  { audience, transmitter }: NonNullable<TrustedIssuer['events']>,
  { now, skewSeconds }: { now: Date; skewSeconds: number },
): { jti: string; issuedAt: Date } {
  const { iss, aud, iat, jti } = payload;
  if (iss !== transmitter) throw new Refusal('event_issuer_unknown');
  // A stream may have several receivers (RFC 8417 section 2.2).
  if (!(Array.isArray(aud) ? aud : [aud]).includes(audience)) throw new Refusal('event_audience_wrong');
  // SSF 1.0: neither `sub` nor `exp`, so that no event can be taken for a token of access.
  if (payload['sub'] !== undefined || payload['exp'] !== undefined) throw malformed('sub or exp');
  if (typeof jti !== 'string' || jti === '' || jti.length > jtiCharactersMax || !isStorableText(jti))
    throw malformed('jti');
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat) || iat <= 0 || iat > 1e11) throw malformed('iat');
  const age = now.getTime() / 1000 - iat;
  if (age > ageSecondsMax || age < -skewSeconds) throw malformed('iat is too old, or in the future');
  return { jti, issuedAt: new Date(iat * 1000) };
}

/** Of the issuer itself where no other transmitter is named, else as its SSF configuration says, or the document. */
function keysOf(
  issuer: TrustedIssuer,
  events: NonNullable<TrustedIssuer['events']>,
  options: AttestorOptions,
): KeySource {
  const { jwksUri, jwksFile, caFile, transmitter } = events;
  if (jwksUri === null && jwksFile === null && transmitter === issuer.issuer)
    return publishedKeys(issuer, options);
  return {
    load: async () => {
      if (jwksFile !== null) return readJson({ file: jwksFile, says: 'events.jwksFile' }, options);
      const access = { caFile, tokenFile: null };
      const uri = jwksUri ?? (await discover(transmitter, access, options));
      return fetchJson(uri, await accessTo(uri, access, options));
    },
    isUsed: (use) => use === undefined || use === 'sig',
    limits: options.keys,
  };
}

const configuration = z.object({ issuer: z.string(), jwks_uri: z.url() });

/** SSF 1.0 section 7: the well-known name stands before the path of the issuer. */
async function discover(
  transmitter: string,
  access: { readonly caFile: string | null; readonly tokenFile: null },
  options: AttestorOptions,
): Promise<string> {
  const { origin, pathname } = new URL(transmitter);
  const uri = `${origin}/.well-known/ssf-configuration${pathname.replace(/\/$/, '')}`;
  const { body } = await fetchJson(uri, await accessTo(uri, access, options));
  const answer = configuration.safeParse(body);
  if (!answer.success || answer.data.issuer !== transmitter)
    throw unavailable('SSF configuration malformed, or of another transmitter');
  return answer.data.jwks_uri;
}
