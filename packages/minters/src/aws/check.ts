import { createHash } from 'node:crypto';
import type { BaseCheck, MintPlan, PlanCheck } from '@mayfly/core';
import { parseId, uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';
import { checkPolicy } from './check-policy.ts';
import { checkSize } from './check-size.ts';

// Written apart from rows.ts, policy.ts and plan.ts: this reads what would be sent, knows nothing of how it was made, and
// shares no code with them.
const sent = z.strictObject({
  sts: z.url(),
  iam: z.url(),
  role: z.string(),
  sessionName: z.string(),
  sourceIdentity: z.string(),
  policy: z.string().max(2048),
  durationSeconds: z.number().int().min(1).max(900),
  description: z.string(),
});
type Sent = z.output<typeof sent>;

type Allowed = Parameters<PlanCheck>[1];

/** Rounding to seconds, and a clock that is set while the exchange runs. */
const lifeSlackMs = 2_000;

export const checkAwsPlan: PlanCheck = (plan, allowed) => {
  const body = sent.safeParse(plan.body);
  if (!body.success) return 'body: not the known form, or without a session policy';
  return (
    checkTarget(plan.access, allowed) ??
    checkPlace(body.data, allowed) ??
    checkSession(plan, body.data, allowed) ??
    checkClaims(plan, allowed) ??
    checkKey(plan, body.data, allowed)
  );
};

function checkTarget(access: string, { identifier, resource }: Allowed): string | null {
  if (/[*?]|\$\{/.test(identifier)) return 'the identifier holds a wildcard';
  return (
    checkSize(access, identifier) ??
    (insidePattern(resource, identifier) ? null : 'the identifier lies outside the grant')
  );
}

/** Another place would have our keys, and would be asked for the end of what lives here. */
function checkPlace({ sts, iam }: Sent, { provider }: Allowed): string | null {
  const { region, endpoints } = provider.spec;
  const configured = (name: string) => Reflect.get(Object(endpoints), name);
  if (sts !== (configured('sts') ?? `https://sts.${String(region)}.amazonaws.com`))
    return 'STS is not that of the provider';
  return iam === (configured('iam') ?? 'https://iam.amazonaws.com')
    ? null
    : 'IAM is not that of the provider';
}

/** A session of at most fifteen minutes in the same role, under the same SourceIdentity, so that one denial ends both. */
export const checkAwsBase: BaseCheck = (base, plan) => {
  const parsed = sent.extend({ policy: z.null() }).safeParse(base.body);
  if (!parsed.success) return 'body: not the known form';
  const { sts, iam, role, sourceIdentity, sessionName, durationSeconds, description } = parsed.data;
  if (sts !== plan.body['sts'] || iam !== plan.body['iam']) return 'it is elsewhere than the plan';
  if (role !== plan.body['role']) return 'role is not that of the plan';
  if (sourceIdentity !== plan.body['sourceIdentity']) return 'SourceIdentity is not that of the plan';
  // One denial must end both: what both have in common is what the denial names.
  const byName = plan.reach === plan.body['sessionName'];
  if (!byName && sourceIdentity !== plan.reach) return 'SourceIdentity is not the reach of the plan';
  if (sessionName !== (byName ? plan.reach : hashedName(base.issuanceId)))
    return 'session name is not that of the issuance';
  if (!/^[0-9A-Z]{26}$/.test(description) || parseId('isn', description) !== base.issuanceId)
    return 'description does not name the issuance';
  const lifeMs = Date.parse(base.notAfter) - uuidTime(base.issuanceId).getTime();
  return durationSeconds * 1000 <= lifeMs + lifeSlackMs ? null : 'duration is longer than the plan';
};

function checkSession(plan: MintPlan, body: Sent, { provider, mint }: Allowed): string | null {
  const { role, sourceIdentity, sessionName, durationSeconds, description } = body;
  const roles = provider.spec['roles'];
  if (!Array.isArray(roles) || !roles.includes(role)) return 'role is not a ceiling of the provider';
  if (role !== (mint['role'] ?? roles[0])) return 'role is not the one that the grant names';
  const [, grant = '', generation] = /^mf-([0-9A-Z]{26})-(0|[1-9][0-9]*)$/.exec(sourceIdentity) ?? [];
  if (parseId('grt', grant) !== plan.grantId || Number(generation) !== plan.generation)
    return 'SourceIdentity does not name grant and generation';
  if (provider.spec['denyBy'] === 'sessionName') {
    if (sessionName !== hashedName(`${plan.grantId}\n${plan.generation}`))
      return 'session name is not that of grant and generation';
    if (plan.reach !== sessionName) return 'session name is not the reach of the plan';
  } else {
    if (sourceIdentity !== plan.reach) return 'SourceIdentity is not the reach of the plan';
    if (sessionName !== hashedName(plan.issuanceId)) return 'session name is not that of the issuance';
  }
  if (!/^[0-9A-Z]{26}$/.test(description) || parseId('isn', description) !== plan.issuanceId)
    return 'description does not name the issuance';
  // The id was made when the exchange began, so its time stands for now.
  const lifeMs = Date.parse(plan.notAfter) - uuidTime(plan.issuanceId).getTime();
  return durationSeconds * 1000 <= lifeMs + lifeSlackMs ? null : 'duration is longer than the plan';
}

// A name that somebody could guess could be named in a bucket policy, which a session policy does not narrow.
function hashedName(id: string): string {
  return `mf-${createHash('sha256').update(`session\n${id}`).digest('hex').slice(0, 40)}`;
}

/** What the caller and the log are told must not be better than what is sent. */
function checkClaims({ ends, enforcement, tokenType, issuedTokenType }: MintPlan, allowed: Allowed) {
  const { revoke, denyBy } = allowed.provider.spec;
  if (ends.by !== 'expired') {
    const deniable = revoke === 'deny-policy' && (denyBy === 'sourceIdentity' || denyBy === 'sessionName');
    if (ends.by !== 'denied' || !deniable || ends.guaranteedSeconds !== undefined)
      return 'ends is better than the provider can hold';
  }
  const { resource, actions, ttl } = enforcement;
  if (resource !== 'provider' || actions !== 'provider' || ttl !== 'provider')
    return 'enforcement is not what is sent';
  if (tokenType !== 'N_A' || issuedTokenType !== 'urn:mayfly:token-type:aws-credentials')
    return 'token type is not that of AWS credentials';
  return null;
}

/** The grant's own key, and only one that the provider lists. */
function checkKey(plan: MintPlan, { policy, role }: Sent, allowed: Allowed): string | null {
  const { mint, provider } = allowed;
  const key: unknown = mint['kmsKey'];
  const ceiling = provider.spec['kmsKeys'];
  if (key !== undefined && !(Array.isArray(ceiling) && ceiling.includes(key)))
    return 'KMS key is not a ceiling of the provider';
  const account = role.split(':')[4] ?? '';
  const owner = allowed.identifier.split(':')[4] ?? '';
  if (owner !== '' && owner !== account) return 'the identifier is of another account than the role';
  return checkPolicy(policy, {
    access: plan.access,
    identifier: allowed.identifier,
    verbs: plan.actions,
    account,
    key: typeof key === 'string' ? key : null,
    end: Date.parse(plan.notAfter),
    endMax: allowed.notAfter.getTime(),
    permissions: plan.nativePermissions,
  });
}
