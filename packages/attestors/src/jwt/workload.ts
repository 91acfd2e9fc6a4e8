import { createHash } from 'node:crypto';
import { type ClaimValue, type Confirmation, Refusal, type TrustedIssuer, type Workload } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import { z } from 'zod';
import { invalid } from './compact.ts';
import type { Verified } from './verify.ts';

const claimElementsMax = 128;
const claimCharactersMax = 1024;

/** SHA-256 in base64url without padding. */
const thumbprint = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
/** RFC 9449 section 6.1 and RFC 8705 section 3.1. A member that we could not check (`jwk`, `kid`) is refused. */
const confirmation = z
  .strictObject({ jkt: thumbprint.optional(), 'x5t#S256': thumbprint.optional() })
  .refine((cnf) => Object.keys(cnf).length > 0);
const party = z.string().min(1).max(claimCharactersMax).refine(isStorableText);
/** RFC 8693 section 4.4; a member that we do not compare could be the one that narrows. */
const mayActClaim = z.strictObject({ iss: party, sub: party });

/** The workload that a verified token speaks for, with those claims that its issuer's document keeps. */
export function workloadOf(verified: Verified, issuer: TrustedIssuer): Workload {
  const { subject, expiresAt, payload, jti } = verified;
  if (issuer.replay === 'once' && jti === undefined)
    throw new Refusal('malformed_request', { detail: 'replay: once needs a jti' });
  // Whoever shows it acts for the subject already (RFC 8693 section 4.1); without `act` it would be the subject itself.
  if (payload['act'] !== undefined) throw invalid('act');
  return {
    issuer: issuer.issuer,
    issuerName: issuer.name,
    subject,
    claims: keepClaims(verified, issuer),
    assertionId: assertionIdOf(verified, issuer),
    assertionExpiresAt: expiresAt,
    ...issuedAt(payload),
    replay: issuer.replay,
    people: issuer.people,
    ...confirmationOf(payload),
    ...mayActOf(payload),
  };
}

// (iss, jti), not the token's text: one token has many spellings (ECDSA s and n-s among them).
function assertionIdOf({ signed, jti }: Verified, { issuer }: TrustedIssuer): string {
  const named = jti === undefined ? ['bytes', signed] : [issuer, jti];
  return createHash('sha256').update(JSON.stringify(named)).digest('hex');
}

function issuedAt({ iat }: Verified['payload']): { assertionIssuedAt?: Date } {
  return typeof iat === 'number' ? { assertionIssuedAt: new Date(iat * 1000) } : {};
}

function confirmationOf({ cnf }: Verified['payload']): { confirmation?: Confirmation } {
  if (cnf === undefined) return {};
  const parsed = confirmation.safeParse(cnf);
  if (!parsed.success) throw invalid('cnf');
  const { jkt, 'x5t#S256': x5tS256 } = parsed.data;
  return {
    confirmation: { ...(jkt === undefined ? {} : { jkt }), ...(x5tS256 === undefined ? {} : { x5tS256 }) },
  };
}

function mayActOf({ may_act: mayAct }: Verified['payload']): Pick<Workload, 'mayAct'> {
  if (mayAct === undefined) return {};
  const parsed = mayActClaim.safeParse(mayAct);
  if (!parsed.success) throw invalid('may_act');
  return { mayAct: { issuer: parsed.data.iss, subject: parsed.data.sub } };
}

function keepClaims({ subject, payload }: Verified, issuer: TrustedIssuer): Workload['claims'] {
  const kept: [string, ClaimValue][] = [['sub', subject]];
  for (const name of issuer.claims) {
    const value = Object.hasOwn(payload, name) ? keepClaim(payload[name]) : undefined;
    if (value !== undefined && name !== 'sub') kept.push([name, value]);
  }
  return Object.fromEntries(kept);
}

/** Text and lists of text; whole numbers and booleans become text, anything nested is dropped. */
export function keepClaim(value: unknown): ClaimValue | undefined {
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
