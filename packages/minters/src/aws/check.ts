import { createHash } from 'node:crypto';
import type { BaseCheck, MintPlan, PlanCheck } from '@mayfly/core';
import { parseId, uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from policy.ts and plan.ts: this reads what would be sent, knows nothing of how it was made, and
// shares no code with them.
const sent = z.strictObject({
  role: z.string(),
  sessionName: z.string(),
  sourceIdentity: z.string(),
  policy: z.string().max(2048),
  durationSeconds: z.number().int().min(1).max(900),
  description: z.string(),
});
type Sent = z.output<typeof sent>;

const statement = z.strictObject({
  Effect: z.literal('Allow'),
  Action: z.array(z.string()).min(1),
  Resource: z.string(),
  Condition: z.strictObject({
    DateLessThan: z.strictObject({ 'aws:CurrentTime': z.iso.datetime({ precision: 0 }) }),
    StringEquals: z
      .strictObject({
        'aws:ResourceAccount': z.string().optional(),
        's3:prefix': z.string().optional(),
        's3:if-none-match': z.literal('*').optional(),
      })
      .optional(),
  }),
});

const document = z.strictObject({
  Version: z.literal('2012-10-17'),
  Statement: z.array(statement).min(1).max(4),
});
type Statement = z.output<typeof statement>;

type Allowed = Parameters<PlanCheck>[1];

/** Which verb each permission needs; a permission that is not here is never sent. */
const verbsFor: ReadonlyMap<string, readonly string[]> = new Map([
  ['s3:GetObject', ['read']],
  ['s3:PutObject', ['write', 'create']],
  ['s3:DeleteObject', ['delete']],
  ['s3:ListBucket', ['list']],
]);

/** Rounding to seconds, and a clock that is set while the exchange runs. */
const lifeSlackMs = 2_000;

export const checkAwsPlan: PlanCheck = (plan, allowed) => {
  const body = sent.safeParse(plan.body);
  if (!body.success) return 'body: not the known form, or without a session policy';
  return (
    checkTarget(plan.access, allowed) ??
    checkSession(plan, body.data, allowed) ??
    checkClaims(plan, allowed) ??
    checkPolicy(plan, body.data, allowed)
  );
};

function checkTarget(access: string, { identifier, resource }: Allowed): string | null {
  if (!/^arn:aws[a-z-]*:s3:::[^/:]+\/[\s\S]+$/.test(identifier))
    return 'the identifier is no S3 ARN with a key';
  if (/[*?]|\$\{/.test(identifier)) return 'the identifier holds a wildcard';
  if (access !== 's3.object' && access !== 's3.prefix') return 'access is not known';
  if ((access === 's3.prefix') !== identifier.endsWith('/')) return 'the identifier has another size';
  return insidePattern(resource, identifier) ? null : 'the identifier lies outside the grant';
}

/** A session of at most fifteen minutes in the same role, under the same SourceIdentity, so that one denial ends both. */
export const checkAwsBase: BaseCheck = (base, plan) => {
  const parsed = sent.extend({ policy: z.null() }).safeParse(base.body);
  if (!parsed.success) return 'body: not the known form';
  const { role, sourceIdentity, sessionName, durationSeconds, description } = parsed.data;
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

function checkPolicy(plan: MintPlan, { policy, role }: Sent, allowed: Allowed): string | null {
  const value = parseJson(policy);
  const parsed = document.safeParse(value);
  if (!parsed.success) return 'policy: holds more than narrow Allow statements';
  // Two parsers differ about duplicate keys; written again there are none.
  if (JSON.stringify(value) !== policy) return 'policy: not in its one spelling';
  const account = role.split(':')[4] ?? '';
  for (const one of parsed.data.Statement) {
    const problem = checkStatement(one, { plan, allowed, account });
    if (problem !== null) return problem;
  }
  const permissions = parsed.data.Statement.flatMap(({ Action }) => Action);
  if (JSON.stringify(permissions) !== JSON.stringify(plan.nativePermissions))
    return 'permissions are not those of the plan';
  return null;
}

interface Context {
  readonly plan: MintPlan;
  readonly allowed: Allowed;
  readonly account: string;
}

function checkStatement(one: Statement, { plan, allowed, account }: Context): string | null {
  const { DateLessThan, StringEquals } = one.Condition;
  // Only AWS has accounts, of twelve digits; a role of Ceph has a tenant or nothing in that place.
  const owner = /^[0-9]{12}$/.test(account) ? account : undefined;
  const end = Date.parse(DateLessThan['aws:CurrentTime']);
  if (!(end <= allowed.notAfter.getTime())) return 'time bound is later than allowed';
  if (end !== Date.parse(plan.notAfter)) return 'time bound is not the end of the plan';
  if (StringEquals?.['aws:ResourceAccount'] !== owner) return 'resource account is not that of the role';
  for (const permission of one.Action) {
    const verbs = verbsFor.get(permission);
    if (verbs === undefined) return `permission ${permission} is not known`;
    if (!verbs.some((verb) => plan.actions.includes(verb)))
      return `permission ${permission} exceeds the actions`;
  }
  return one.Action.includes('s3:ListBucket') ? checkList(one, allowed) : checkObject(one, plan);
}

function checkObject({ Action, Resource, Condition }: Statement, plan: MintPlan): string | null {
  const { 's3:prefix': prefix, 's3:if-none-match': absent } = Condition.StringEquals ?? {};
  if (prefix !== undefined) return 'an object statement with a prefix condition';
  if (Action.includes('s3:PutObject') && absent === undefined && !plan.actions.includes('write'))
    return 'create without If-None-Match could overwrite';
  if (absent !== undefined && Action.join() !== 's3:PutObject') return 'If-None-Match is for PutObject alone';
  const expected = plan.access === 's3.prefix' ? `${plan.identifier}*` : plan.identifier;
  return Resource === expected ? null : 'Resource is not the one thing asked for';
}

function checkList({ Resource, Condition, Action }: Statement, { identifier }: Allowed): string | null {
  const slash = identifier.indexOf('/');
  const { 's3:prefix': prefix, 's3:if-none-match': absent } = Condition.StringEquals ?? {};
  if (Action.length !== 1 || absent !== undefined) return 'ListBucket must stand alone';
  if (Resource !== identifier.slice(0, slash)) return 'ListBucket on another bucket';
  if (prefix === undefined || !prefix.endsWith('/') || prefix !== identifier.slice(slash + 1))
    return 'ListBucket without its prefix';
  return null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
