import { createHash } from 'node:crypto';
import { type Attestor, type ClaimValue, Refusal, type TrustedIssuer, type Workload } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import { compactVerify, errors } from 'jose';
import type { Resolve } from './address.ts';
import { type Compact, invalid, parseCompact } from './compact.ts';
import { createKeySet, type KeySet } from './key-set.ts';

export interface OidcAttestorOptions {
  readonly allowLoopbackOrigins: readonly string[];
  readonly allowPrivateOrigins: readonly string[];
  readonly skewSeconds: number;
  readonly resolve: Resolve;
  readonly readFile: (path: string) => Promise<string>;
}

/** Asymmetric only: `none` and HS* are no proof of an issuer (RFC 8725 section 3.1). */
const algorithmsKnown = new Set([
  'ES256',
  'ES384',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
]);
const subjectCharactersMax = 1024;
const claimElementsMax = 128;
const claimCharactersMax = 1024;

/** Verifies assertions of one OIDC issuer by its published keys (standards.md B4, F2-F8). */
export function createOidcAttestor(issuer: TrustedIssuer, options: OidcAttestorOptions): Attestor {
  const { jwksFile } = issuer;
  const keys = createKeySet({
    issuer: issuer.issuer,
    jwksUri: issuer.jwksUri,
    readFile: jwksFile === null ? null : () => options.readFile(jwksFile),
    limits: options,
  });
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) => {
      const compact = parseCompact(assertion);
      checkHeader(compact, issuer);
      // Cheap claims first: a forged flood costs no signature check and no fetch.
      const claims = checkClaims(compact, issuer, { now, skewSeconds: options.skewSeconds });
      await verifySignature(assertion, compact, keys, now);
      return workloadOf(compact, claims, issuer);
    },
  };
}

/** Exact `iss` for routing, unverified; undefined for anything that is not a well-formed assertion. */
export function issuerOf(assertion: string): string | undefined {
  try {
    const { iss } = parseCompact(assertion).payload;
    return typeof iss === 'string' ? iss : undefined;
  } catch {
    return undefined;
  }
}

function checkHeader({ header }: Compact, issuer: TrustedIssuer): void {
  const { alg, typ, kid } = header;
  if (typeof alg !== 'string' || !algorithmsKnown.has(alg) || !issuer.algorithms.includes(alg))
    throw invalid('algorithm');
  // RFC 8725 section 3.11: at+jwt, dpop+jwt, secevent+jwt and our own task tokens are no assertions.
  if (typ !== undefined && (typeof typ !== 'string' || typ.toUpperCase() !== 'JWT')) throw invalid('typ');
  if (kid !== undefined && typeof kid !== 'string') throw invalid('kid');
}

interface CheckedClaims {
  readonly subject: string;
  readonly expiresAt: Date;
  readonly jti: string | undefined;
}

function checkClaims(
  { payload }: Compact,
  issuer: TrustedIssuer,
  { now, skewSeconds }: { now: Date; skewSeconds: number },
): CheckedClaims {
  const { iss, aud, sub, exp, iat, nbf, jti } = payload;
  const nowSeconds = now.getTime() / 1000;
  if (iss !== issuer.issuer) throw invalid('iss');
  // The sole audience, as text or as a list of one (RFC 7523bis): a token for two parties is refused.
  const [first, ...others] = Array.isArray(aud) ? aud : [aud];
  if (first !== issuer.audience || others.length > 0) throw invalid('aud');
  if (!isSeconds(exp) || !isSeconds(iat)) throw invalid('exp and iat are required');
  if (nbf !== undefined && !isSeconds(nbf)) throw invalid('nbf');
  if (exp <= iat || exp - iat > issuer.maxLifetimeSeconds) throw invalid('lifetime');
  if (exp <= nowSeconds - skewSeconds) throw invalid('expired');
  if (iat > nowSeconds + skewSeconds || (nbf ?? 0) > nowSeconds + skewSeconds) throw invalid('not yet valid');
  if (typeof sub !== 'string' || sub === '' || sub.length > subjectCharactersMax || !isStorableText(sub))
    throw invalid('sub');
  if (!issuer.subjects.some((pattern) => pattern.matches(sub)))
    throw invalid('subject outside the namespaces of its issuer');
  if (jti !== undefined && (typeof jti !== 'string' || jti === '' || jti.length > subjectCharactersMax))
    throw invalid('jti');
  return { subject: sub, expiresAt: new Date(exp * 1000), jti };
}

// Safe integers: `1e400` is Infinity to JSON.parse, and a fraction is not NumericDate as we read it.
function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 1e11;
}

async function verifySignature(
  assertion: string,
  { header }: Compact,
  keys: KeySet,
  now: Date,
): Promise<void> {
  const alg = String(header['alg']);
  const kid = typeof header['kid'] === 'string' ? header['kid'] : undefined;
  const key = await keys.find({ kid, alg }, now);
  if (key === undefined) throw invalid('no key of this kid and algorithm');
  try {
    await compactVerify(assertion, key, { algorithms: [alg] });
  } catch (cause) {
    throw invalid(cause instanceof errors.JOSEError ? cause.code : 'signature', cause);
  }
}

function workloadOf({ payload, signed }: Compact, checked: CheckedClaims, issuer: TrustedIssuer): Workload {
  const { subject, expiresAt, jti } = checked;
  if (issuer.replay === 'once' && jti === undefined)
    throw new Refusal('malformed_request', { detail: 'replay: once needs a jti' });
  const kept: [string, ClaimValue][] = [['sub', subject]];
  for (const name of issuer.claims) {
    const value = Object.hasOwn(payload, name) ? keepClaim(payload[name]) : undefined;
    if (value !== undefined && name !== 'sub') kept.push([name, value]);
  }
  return {
    issuer: issuer.issuer,
    issuerName: issuer.name,
    subject,
    claims: Object.fromEntries(kept),
    // (iss, jti), not the token's text: one token has many spellings (ECDSA s and n-s among them).
    assertionId: createHash('sha256')
      .update(JSON.stringify(jti === undefined ? ['bytes', signed] : [issuer.issuer, jti]))
      .digest('hex'),
    assertionExpiresAt: expiresAt,
    replay: issuer.replay,
    people: issuer.people,
  };
}

/** Text and lists of text; whole numbers and booleans become text, anything nested is dropped. */
function keepClaim(value: unknown): ClaimValue | undefined {
  if (Array.isArray(value)) {
    const texts = value.map(scalar);
    return texts.length <= claimElementsMax && texts.every((text) => text !== undefined) ? texts : undefined;
  }
  return scalar(value);
}

// Beyond 2^53 two ids that the issuer tells apart are one number here: such a claim is missing, and matches nothing.
function scalar(value: unknown): string | undefined {
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return typeof value === 'string' && value.length <= claimCharactersMax ? value : undefined;
}
