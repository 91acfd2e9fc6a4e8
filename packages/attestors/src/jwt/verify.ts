import type { TrustedIssuer } from '@mayfly/core';
import { compactVerify, errors } from 'jose';
import type { AttestorOptions } from '../options.ts';
import { type CheckedClaims, checkClaims } from './claims.ts';
import { type Compact, invalid, parseCompact } from './compact.ts';
import type { KeySet } from './key-set.ts';

/** How the tokens of one type of issuer differ from those of the others. */
export interface TokenRules {
  /** `typ` that are taken, in upper case; none at all always is. */
  readonly types: readonly string[];
  /** Asymmetric only: `none` and HS* are no proof of an issuer (RFC 8725 section 3.1). */
  readonly algorithms: ReadonlySet<string>;
  /** Both for everybody but SPIFFE (JWT-SVID section 3). */
  readonly needsIssAndIat: boolean;
}

export const jwtRules: TokenRules = {
  types: ['JWT'],
  algorithms: new Set([
    ...['ES256', 'ES384', 'ES512', 'EdDSA'],
    ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ]),
  needsIssAndIat: true,
};

export interface Verified extends CheckedClaims {
  readonly payload: Compact['payload'];
  /** The signed bytes. */
  readonly signed: string;
}

export interface Verifying {
  readonly issuer: TrustedIssuer;
  readonly keys: KeySet;
  readonly options: AttestorOptions;
  readonly now: Date;
  readonly rules?: TokenRules;
}

/** Form, header, registered claims, then the signature (standards.md B4, F2-F8): what stands in it, its issuer says. */
export async function verifyJwt(assertion: string, verifying: Verifying): Promise<Verified> {
  const { issuer, keys, options, now, rules = jwtRules } = verifying;
  const compact = parseCompact(assertion, options.token);
  checkHeader(compact, issuer, rules);
  // Cheap claims first: a forged flood costs no signature check and no fetch.
  const { skewSeconds } = options;
  const { needsIssAndIat } = rules;
  const claims = checkClaims(compact.payload, issuer, { now, skewSeconds, needsIssAndIat });
  await verifySignature(assertion, compact, { keys, now });
  return { ...claims, payload: compact.payload, signed: compact.signed };
}

function checkHeader({ header }: Compact, issuer: TrustedIssuer, { types, algorithms }: TokenRules): void {
  const { alg, typ, kid } = header;
  if (typeof alg !== 'string' || !algorithms.has(alg) || !issuer.algorithms.includes(alg))
    throw invalid('algorithm');
  // RFC 8725 section 3.11: at+jwt, dpop+jwt, secevent+jwt and our own task tokens are no assertions.
  if (typ !== undefined && (typeof typ !== 'string' || !types.includes(typ.toUpperCase())))
    throw invalid('typ');
  if (kid !== undefined && typeof kid !== 'string') throw invalid('kid');
}

async function verifySignature(
  assertion: string,
  { header }: Compact,
  { keys, now }: { keys: KeySet; now: Date },
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
