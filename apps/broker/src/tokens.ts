import { createPublicKey, type KeyObject } from 'node:crypto';
import { type Confirmation, Fault, Refusal, Secret, type Task, workloadName } from '@mayfly/core';
import { formatId, joseType, parseId } from '@mayfly/protocol';
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import type { Keyring, SigningAlgorithm, SigningPurpose } from './keys/keyring.ts';

/** A task token lives as long as the lease, at most this (contract.md section 5). */
const taskTokenSecondsMax = 300;
/** An assertion shown to a cloud never lives longer (cloud-aws.md 0.6). */
const federationSecondsMax = 60;
const federationBackSeconds = 30;

export interface TokenContext {
  readonly issuer: string;
  readonly federationIssuer: string;
  keyring(): Keyring;
  now(): Date;
  newId(): string;
}

export interface Tokens {
  sign(
    claims: Readonly<Record<string, unknown>>,
    options: { typ: string; alg?: SigningAlgorithm },
  ): Promise<string>;
  signTask(task: Task): Promise<Secret<string>>;
  verifyTask(token: string, now: Date): Promise<{ taskId: string; confirmation: Confirmation | null }>;
  /** A tool token that we signed, or undefined; says nothing about whether its task lives, or whose audience it is. */
  verifyTool(token: string): Promise<ToolClaims | undefined>;
  signFederation(input: FederationInput): Promise<string>;
}

export type ToolClaims = Readonly<Record<string, unknown>> & {
  readonly aud: string;
  readonly confirmation: Confirmation | null;
};

export interface FederationInput {
  readonly provider: string;
  readonly purpose: 'mint' | 'revoke';
  readonly audience: string;
  readonly sourceIdentity?: string | undefined;
  readonly expiresInSeconds?: number;
}

/** Everything that the broker signs; `iss` and keys of cloud assertions are apart from those of its own tokens. */
export function createTokens(context: TokenContext): Tokens {
  const signWith = (
    purpose: SigningPurpose,
    claims: Readonly<Record<string, unknown>>,
    { typ, alg: wanted }: { typ: string; alg?: SigningAlgorithm },
  ) => {
    const { kid, alg, privateKey } = context.keyring().signer(purpose, context.now(), wanted);
    return new SignJWT({ ...claims }).setProtectedHeader({ alg, kid, typ }).sign(privateKey);
  };
  return {
    sign: (claims, header) => signWith('token', claims, header),
    signTask: async (task) =>
      new Secret(await signWith('token', taskClaims(task, context), { typ: joseType.taskToken })),
    verifyTask: (token, now) => verifyTask(token, now, context),
    verifyTool: (token) => verifyTool(token, context),
    signFederation: (input) =>
      signWith('federation', federationClaims(input, context), { typ: joseType.federation }),
  };
}

function taskClaims(task: Task, { issuer, now, newId }: TokenContext): Record<string, unknown> {
  const iat = seconds(now());
  const [actor] = task.actors;
  const exp = Math.min(iat + Math.min(task.leaseSeconds, taskTokenSecondsMax), seconds(task.expiresAt));
  return {
    iss: issuer,
    aud: issuer,
    sub: workloadName(task.workload),
    client_id: workloadName(actor ?? task.workload),
    txn: formatId('tsk', task.id),
    iat,
    exp,
    jti: newId(),
    ...(task.confirmation === null ? {} : { cnf: cnfOf(task.confirmation) }),
  };
}

/** RFC 7800, with the members of RFC 9449 section 6.1 and RFC 8705 section 3.1. */
function cnfOf({ jkt, x5tS256 }: Confirmation): Record<string, string> {
  return {
    ...(jkt === undefined ? {} : { jkt }),
    ...(x5tS256 === undefined ? {} : { 'x5t#S256': x5tS256 }),
  };
}

/** Of a token that we signed: a member that we do not know would be a binding that nobody checks. */
const cnf = z
  .strictObject({ jkt: z.string().optional(), 'x5t#S256': z.string().optional() })
  .transform(
    ({ jkt, 'x5t#S256': x5tS256 }): Confirmation => ({
      ...(jkt === undefined ? {} : { jkt }),
      ...(x5tS256 === undefined ? {} : { x5tS256 }),
    }),
  )
  .nullable();

function federationClaims(
  input: FederationInput,
  { federationIssuer, now, newId }: TokenContext,
): Record<string, unknown> {
  const at = seconds(now());
  // A clock that is ahead, within what a broker may be off, must not have its tokens refused as not yet valid.
  const iat = at - federationBackSeconds;
  const life = Math.min(input.expiresInSeconds ?? federationSecondsMax, federationSecondsMax);
  const sub = `mayfly:${input.provider}:${input.purpose}`;
  const tied =
    input.sourceIdentity === undefined
      ? {}
      : { 'https://aws.amazon.com/source_identity': input.sourceIdentity };
  return {
    iss: federationIssuer,
    aud: input.audience,
    sub,
    iat,
    nbf: iat,
    exp: at + life,
    jti: newId(),
    ...tied,
  };
}

async function verifyTask(token: string, now: Date, context: TokenContext) {
  try {
    const { payload } = await jwtVerify(token, (header) => publicKey(header, context), {
      issuer: context.issuer,
      audience: context.issuer,
      typ: joseType.taskToken,
      algorithms: ['ES256', 'RS256'],
      requiredClaims: ['exp', 'iat', 'txn', 'jti'],
      clockTolerance: 0,
      currentDate: now,
    });
    const { txn } = payload;
    const taskId = typeof txn === 'string' ? parseId('tsk', txn) : undefined;
    if (taskId === undefined) throw new Refusal('assertion_invalid', { detail: 'task token without task' });
    return { taskId, confirmation: cnf.parse(payload['cnf'] ?? null) };
  } catch (cause) {
    if (cause instanceof Refusal || cause instanceof Fault) throw cause;
    const code = cause instanceof errors.JOSEError ? cause.code : 'unreadable';
    throw new Refusal('assertion_invalid', { detail: `task token: ${code}`, cause });
  }
}

async function verifyTool(token: string, context: TokenContext): Promise<ToolClaims | undefined> {
  try {
    const { payload } = await jwtVerify(token, (header) => publicKey(header, context), {
      issuer: context.issuer,
      typ: joseType.accessToken,
      algorithms: ['ES256', 'RS256'],
      requiredClaims: ['exp', 'iat', 'jti', 'sub', 'aud', 'txn'],
      clockTolerance: 0,
      currentDate: context.now(),
    });
    const { aud } = payload;
    return typeof aud === 'string'
      ? { ...payload, aud, confirmation: cnf.parse(payload['cnf'] ?? null) }
      : undefined;
  } catch {
    return undefined; // RFC 7662 section 2.2: whatever is wrong with it, it is only "not active".
  }
}

/** `typ` of an unverified token: which verifier it goes to. */
export function typOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).typ;
  } catch {
    return undefined;
  }
}

function publicKey({ kid }: { kid?: string }, { keyring, now }: TokenContext): KeyObject {
  const key = keyring()
    .verifiers('token', now())
    .find((one) => one.kid === kid);
  if (key === undefined) throw new errors.JWKSNoMatchingKey();
  return createPublicKey(key.privateKey);
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
