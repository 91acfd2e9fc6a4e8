import { createHash } from 'node:crypto';
import { type Enforcement, type MintPlan, type MintRequest, Refusal, type Revocability } from '@mayfly/core';
import { bareId, tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { compilePolicy } from './policy.ts';
import { type AwsProvider, iamEndpoint, parseAwsProvider, splitRole, stsEndpoint } from './provider.ts';

/** GetScopedCredentials below this is untried; a task with less left gets nothing (cloud-aws.md 0.7). */
export const lifeSecondsMin = 30;
/** STS floor of AssumeRole and AssumeRoleWithWebIdentity. */
export const baseSeconds = 900;
/** Between our denial being read back and it being felt; measured by others, never promised. */
const typicalDenySeconds = 5;

/** Exactly what will be sent; stored before the cloud is called. */
export const awsBody = z.strictObject({
  /** Where it is asked for and where it is denied: the same names mean something else elsewhere. */
  sts: z.string(),
  iam: z.string(),
  role: z.string(),
  sessionName: z.string(),
  sourceIdentity: z.string(),
  policy: z.string().nullable(),
  durationSeconds: z.number().int(),
  description: z.string(),
});
export type AwsBody = z.output<typeof awsBody>;

const mintBlock = z.looseObject({ role: z.string().optional(), kmsKey: z.string().optional() });

/** Pure: the narrowest session for one tool on one resource, cut from the grant's base session. */
export function planAws(request: MintRequest): MintPlan {
  const provider = parseAwsProvider(request.provider);
  const role = chooseRole(provider, request.mint);
  const { account } = splitRole(role);
  const lifeSeconds =
    Math.floor(request.notAfter.getTime() / 1000) - Math.floor(request.now.getTime() / 1000);
  if (lifeSeconds < lifeSecondsMin) throw new Refusal('too_little_time_left', { detail: `${lifeSeconds} s` });
  const { access, identifier, actions, notAfter } = request;
  const kmsKey = chooseKey(provider, request.mint);
  const policy = compilePolicy({ access, identifier, actions, account, kmsKey, notAfter });
  const identity = sourceIdentity(request.grantId, request.generation);
  const byName = provider.denyBy === 'sessionName';
  const name = byName ? grantSessionName(request) : sessionName(request.issuanceId);
  const body: AwsBody = {
    sts: stsEndpoint(provider),
    iam: iamEndpoint(provider),
    role,
    sessionName: name,
    sourceIdentity: identity,
    policy: policy.text,
    durationSeconds: lifeSeconds,
    description: bareId(request.issuanceId),
  };
  return {
    kind: 'aws',
    purpose: 'agent',
    issuanceId: request.issuanceId,
    taskId: request.taskId,
    grantId: request.grantId,
    generation: request.generation,
    provider: provider.name,
    access,
    identifier,
    actions,
    nativePermissions: policy.permissions,
    notAfter: notAfter.toISOString(),
    reach: byName ? name : identity,
    ends: revocability(provider),
    enforcement: enforcementOf(body),
    issuedTokenType: tokenType.awsCredentials,
    tokenType: 'N_A',
    body,
  };
}

/** The session that agent credentials of one (grant, generation) are cut from; its secret stays in this process. */
export function planBase(plan: MintPlan, context: { issuanceId: string; now: Date }): MintPlan {
  const cut = awsBody.parse(plan.body);
  const body: AwsBody = {
    ...cut,
    // What is denied by its session name shares it with all that is cut from it.
    sessionName: plan.reach === cut.sessionName ? cut.sessionName : sessionName(context.issuanceId),
    policy: null,
    durationSeconds: baseSeconds,
    description: bareId(context.issuanceId),
  };
  return {
    ...plan,
    purpose: 'base',
    issuanceId: context.issuanceId,
    actions: [],
    nativePermissions: [],
    notAfter: new Date((Math.floor(context.now.getTime() / 1000) + baseSeconds) * 1000).toISOString(),
    enforcement: enforcementOf(body),
    body,
  };
}

/** Told from what is sent: a session without a policy of its own is narrowed by the broker alone. */
function enforcementOf({ policy }: AwsBody): Enforcement {
  const by = policy === null ? 'broker' : 'provider';
  return { resource: by, actions: by, ttl: 'provider' };
}

/** Names grant and generation, and is never reused after a denial (contract.md section 5). */
export function sourceIdentity(grantId: string, generation: number): string {
  return `mf-${bareId(grantId)}-${generation}`;
}

// A bucket policy may name a session ARN, which a session policy does not narrow: the name must not be guessable.
// UUIDv7 ids carry 74 random bits; the hash keeps the id itself out of the ARN.
function sessionName(...ids: readonly string[]): string {
  return `mf-${createHash('sha256')
    .update(['session', ...ids].join('\n'))
    .digest('hex')
    .slice(0, 40)}`;
}

/** Where a session can only be denied by its name: one name per grant and generation, as the SourceIdentity elsewhere. */
function grantSessionName({ grantId, generation }: MintRequest): string {
  return sessionName(grantId, String(generation));
}

function chooseRole({ roles, name }: AwsProvider, mint: Readonly<Record<string, unknown>>): string {
  const { role = roles[0] } = mintBlock.parse(mint);
  if (role === undefined || !roles.includes(role))
    throw new Refusal('tool_not_granted', { detail: `role is not a ceiling of provider ${name}` });
  return role;
}

/** The key that the grant names, if it is a ceiling of its provider. */
function chooseKey(
  { kmsKeys, name }: AwsProvider,
  mint: Readonly<Record<string, unknown>>,
): string | undefined {
  const { kmsKey } = mintBlock.parse(mint);
  if (kmsKey !== undefined && !kmsKeys?.includes(kmsKey))
    throw new Refusal('tool_not_granted', { detail: `kmsKey is not a ceiling of provider ${name}` });
  return kmsKey;
}

function revocability(provider: AwsProvider): Revocability {
  if (provider.revoke === 'none') return { by: 'expired' };
  return { by: 'denied', typicalSeconds: typicalDenySeconds };
}
