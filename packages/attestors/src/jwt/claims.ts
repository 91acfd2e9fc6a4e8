import type { TrustedIssuer } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import { type Compact, invalid } from './compact.ts';

/** Subjects and jti are stored and compared; no platform writes longer ones. */
const charactersMax = 1024;

export interface CheckedClaims {
  readonly subject: string;
  readonly expiresAt: Date;
  readonly jti: string | undefined;
}

export interface ClaimRules {
  readonly now: Date;
  readonly skewSeconds: number;
  readonly needsIssAndIat: boolean;
}

/** Of this issuer, for us alone, in force now, and about a subject that the issuer may speak for. */
export function checkClaims(
  payload: Compact['payload'],
  issuer: TrustedIssuer,
  rules: ClaimRules,
): CheckedClaims {
  const { iss, aud, sub, jti } = payload;
  if ((iss !== undefined || rules.needsIssAndIat) && !isIssuer(iss, issuer, rules)) throw invalid('iss');
  // The sole audience, as text or as a list of one (RFC 7523bis): a token for two parties is refused.
  const [first, ...others] = Array.isArray(aud) ? aud : [aud];
  if (first !== issuer.audience || others.length > 0) throw invalid('aud');
  const expiresAt = checkTimes(payload, issuer, rules);
  if (typeof sub !== 'string' || sub === '' || sub.length > charactersMax || !isStorableText(sub))
    throw invalid('sub');
  if (!issuer.subjects.some((pattern) => pattern.matches(sub)))
    throw invalid('subject outside the namespaces of its issuer');
  if (jti !== undefined && (typeof jti !== 'string' || jti === '' || jti.length > charactersMax))
    throw invalid('jti');
  return { subject: sub, expiresAt, jti };
}

// A SPIFFE trust domain is named by `sub`; its `iss` is some URL that nobody promises (JWT-SVID section 3).
function isIssuer(iss: unknown, { issuer }: TrustedIssuer, { needsIssAndIat }: ClaimRules): boolean {
  return needsIssAndIat ? iss === issuer : typeof iss === 'string';
}

function checkTimes(
  { exp, iat, nbf }: Compact['payload'],
  { maxLifetimeSeconds }: TrustedIssuer,
  { now, skewSeconds, needsIssAndIat }: ClaimRules,
): Date {
  const nowSeconds = now.getTime() / 1000;
  if (!isSeconds(exp) || !(isSeconds(iat) || (iat === undefined && !needsIssAndIat)))
    throw invalid(needsIssAndIat ? 'exp and iat are required' : 'exp is required, iat a time');
  if (nbf !== undefined && !isSeconds(nbf)) throw invalid('nbf');
  // Where nobody says when it was made, what is left of its life must fit.
  if (exp - (iat ?? nowSeconds) > maxLifetimeSeconds || exp <= (iat ?? 0)) throw invalid('lifetime');
  if (exp <= nowSeconds - skewSeconds) throw invalid('expired');
  if (Math.max(iat ?? 0, nbf ?? 0) > nowSeconds + skewSeconds) throw invalid('not yet valid');
  return new Date(exp * 1000);
}

// Safe integers: `1e400` is Infinity to JSON.parse, and a fraction is not NumericDate as we read it.
function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 1e11;
}
