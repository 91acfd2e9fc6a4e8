import { createHash } from 'node:crypto';
import { type Presented, Refusal, type Use } from '@mayfly/core';
import { calculateJwkThumbprint, EmbeddedJWK, errors, type JWK, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';

/** Asymmetric only, and what clients have (RFC 9449 section 4.2); listed in the metadata. */
export const dpopAlgorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'] as const;

export interface DpopOptions {
  /** How far `iat` of a proof without nonce may be off, in ms (RFC 9449 section 11.1). */
  readonly windowMs: number;
  /** Without a nonce of ours a proof is refused. */
  readonly nonceRequired: boolean;
  /** When a nonce of ours is accepted no longer; undefined for what is none, or too old. */
  nonceUntil(nonce: string, now: Date): Date | undefined;
}

export interface DpopProof {
  /** RFC 7638 thumbprint of the key. */
  readonly jkt: string;
  readonly use: Use;
}

/** A proof with an RSA key of 4096 bits stays below 2 kB. */
const proofCharactersMax = 8_192;
const jtiCharactersMax = 256;
/** 4096 bits in base64url; a larger key would be our work, not the caller's. */
const modulusCharactersMax = 700;
const compact = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

const claims = z.object({
  jti: z.string().min(1).max(jtiCharactersMax),
  htm: z.string(),
  htu: z.string(),
  iat: z.int().positive(),
  nonce: z.string().optional(),
  ath: z.string().optional(),
});

/**
 * Verifies one DPoP proof for exactly this request (RFC 9449 section 4.3). Refusals: dpop_invalid, dpop_nonce_needed.
 * Whether it was used before is not looked at here: its `use` is taken in the statement that grants something.
 */
export async function verifyDpop(
  proof: string,
  presented: Pick<Presented, 'method' | 'url' | 'accessToken'>,
  { now, ...options }: DpopOptions & { readonly now: Date },
): Promise<DpopProof> {
  if (proof.length > proofCharactersMax || !compact.test(proof)) throw invalid('not one compact JWS');
  const { payload, jwk } = await verifySignature(proof, now);
  const parsed = claims.safeParse(payload);
  if (!parsed.success) throw invalid(`claim ${parsed.error.issues[0]?.path.join('.') ?? ''}`);
  const { jti, htm, htu, iat, nonce, ath } = parsed.data;
  if (htm !== presented.method) throw invalid('htm');
  if (targetOf(htu) !== presented.url) throw invalid('htu');
  const { accessToken } = presented;
  if (accessToken !== null && ath !== digest(accessToken)) throw invalid('ath');
  const until = freshUntil({ iat, nonce }, { now, ...options });
  const jkt = await calculateJwkThumbprint(jwk);
  // RFC 9449 section 11.1: per key, target and jti, so that one client cannot use up the proofs of another.
  const key = createHash('sha256')
    .update(JSON.stringify(['dpop', jkt, presented.url, jti]))
    .digest('hex');
  return {
    jkt,
    use: { digest: key, expiresAt: until, issuedAt: new Date(iat * 1000), replayed: 'dpop_replayed' },
  };
}

async function verifySignature(proof: string, now: Date): Promise<{ payload: JWTPayload; jwk: JWK }> {
  try {
    const { payload, protectedHeader } = await jwtVerify(
      proof,
      (header, token) => {
        refuseOversized(header.jwk);
        return EmbeddedJWK(header, token);
      },
      { typ: 'dpop+jwt', algorithms: [...dpopAlgorithms], currentDate: now },
    );
    return { payload, jwk: protectedHeader.jwk ?? {} };
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw invalid(cause instanceof errors.JOSEError ? cause.code : 'unreadable', cause);
  }
}

// `d` in it would be a client that has just given its key away (RFC 9449 section 4.3, check 7).
function refuseOversized(jwk: JWK | undefined): void {
  if (jwk === undefined) throw invalid('no jwk');
  const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].some((member) => Object.hasOwn(jwk, member));
  if (secret) throw invalid('a private key in jwk');
  if ((jwk.n?.length ?? 0) > modulusCharactersMax || (jwk.e?.length ?? 0) > 6) throw invalid('key too large');
}

/** `htu` without query and fragment, as the URL parser writes it (RFC 9449 section 4.3, check 9). */
function targetOf(htu: string): string | undefined {
  if (!URL.canParse(htu)) return undefined;
  const url = new URL(htu);
  return `${url.origin}${url.pathname}`;
}

function freshUntil(
  { iat, nonce }: { iat: number; nonce: string | undefined },
  { now, windowMs, nonceRequired, nonceUntil }: DpopOptions & { readonly now: Date },
): Date {
  if (nonce !== undefined) {
    const until = nonceUntil(nonce, now);
    if (until === undefined) throw new Refusal('dpop_nonce_needed', { detail: 'nonce unknown or too old' });
    return until;
  }
  if (nonceRequired) throw new Refusal('dpop_nonce_needed', { detail: 'no nonce' });
  if (Math.abs(now.getTime() - iat * 1000) > windowMs) throw invalid('iat');
  return new Date(iat * 1000 + windowMs);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function invalid(detail: string, cause?: unknown): Refusal {
  return new Refusal('dpop_invalid', { detail: `DPoP: ${detail}`, cause });
}
