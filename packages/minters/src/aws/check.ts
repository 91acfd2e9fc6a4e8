import type { PlanCheck } from '@mayfly/core';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from policy.ts and plan.ts: this reads what would be sent, knows nothing of how it was made, and
// shares no code with them.
const sent = z.strictObject({
  role: z.string(),
  sessionName: z.string().regex(/^[\w+=,.@-]{32,64}$/),
  sourceIdentity: z.string(),
  policy: z.string().max(2048),
  durationSeconds: z.number().int().min(1).max(43_200),
  description: z.string().max(256),
});

const statement = z.strictObject({
  Effect: z.literal('Allow'),
  Action: z.array(z.string()).min(1),
  Resource: z.string(),
  Condition: z.strictObject({
    DateLessThan: z.strictObject({ 'aws:CurrentTime': z.iso.datetime() }),
    StringEquals: z.strictObject({
      'aws:ResourceAccount': z.string(),
      's3:prefix': z.string().optional(),
      's3:if-none-match': z.literal('*').optional(),
    }),
  }),
});

const document = z.strictObject({
  Version: z.literal('2012-10-17'),
  Statement: z.array(statement).min(1).max(4),
});
type Statement = z.output<typeof statement>;

type Allowed = Parameters<PlanCheck>[1];

/** Which verb of the grant each permission needs; a permission that is not here is never sent. */
const verbsFor: Readonly<Record<string, readonly string[]>> = {
  's3:GetObject': ['read'],
  's3:PutObject': ['write', 'create'],
  's3:DeleteObject': ['delete'],
  's3:ListBucket': ['list'],
};

export const checkAwsPlan: PlanCheck = (plan, allowed) => {
  const body = sent.safeParse(plan.body);
  if (!body.success) return 'body: not the known form, or without a session policy';
  const { role, sourceIdentity, policy, durationSeconds } = body.data;
  const policyDocument = document.safeParse(parseJson(policy));
  if (!policyDocument.success) return 'policy: holds more than narrow Allow statements';
  const roles = allowed.provider.spec['roles'];
  if (!Array.isArray(roles) || !roles.includes(role)) return 'role is not a ceiling of the provider';
  if (!sourceIdentity.startsWith('mf-') || !sourceIdentity.endsWith(`-${plan.generation}`))
    return 'SourceIdentity';
  if (sourceIdentity !== plan.reach) return 'SourceIdentity is not the reach of the plan';
  if (durationSeconds > 43_200) return 'duration';
  if (!insidePattern(allowed.resource, allowed.identifier)) return 'the identifier lies outside the grant';
  const account = role.split(':')[4] ?? '';
  for (const one of policyDocument.data.Statement) {
    const problem = checkStatement(one, { plan, allowed, account });
    if (problem !== null) return problem;
  }
  return null;
};

interface Context {
  readonly plan: Parameters<PlanCheck>[0];
  readonly allowed: Allowed;
  readonly account: string;
}

function checkStatement(one: Statement, { plan, allowed, account }: Context): string | null {
  const { DateLessThan, StringEquals } = one.Condition;
  if (Date.parse(DateLessThan['aws:CurrentTime']) > allowed.notAfter.getTime())
    return 'time bound is later than allowed';
  if (StringEquals['aws:ResourceAccount'] !== account) return 'resource account is not that of the role';
  for (const permission of one.Action) {
    const verbs = verbsFor[permission];
    if (verbs === undefined) return `permission ${permission} is not known`;
    if (!verbs.some((verb) => allowed.actions.includes(verb)))
      return `permission ${permission} exceeds the actions`;
  }
  const overwrites = one.Action.includes('s3:PutObject') && StringEquals['s3:if-none-match'] === undefined;
  if (overwrites && !allowed.actions.includes('write')) return 'create without If-None-Match could overwrite';
  return one.Action.includes('s3:ListBucket')
    ? checkList(one, allowed)
    : checkObject(one, plan.access, allowed);
}

function checkObject(
  { Resource, Condition }: Statement,
  access: string,
  { identifier }: Allowed,
): string | null {
  if (Condition.StringEquals['s3:prefix'] !== undefined) return 'an object statement with a prefix condition';
  const expected = access === 's3.prefix' && identifier.endsWith('/') ? `${identifier}*` : identifier;
  if (Resource !== expected) return 'Resource is not the one thing asked for';
  const stars = Resource.split('*').length - 1;
  if (stars > (access === 's3.prefix' ? 1 : 0) || /[?]|\$\{/.test(Resource))
    return 'Resource holds a wildcard';
  return null;
}

function checkList({ Resource, Condition, Action }: Statement, { identifier }: Allowed): string | null {
  const slash = identifier.indexOf('/');
  if (Action.length !== 1) return 'ListBucket must stand alone';
  if (Resource !== identifier.slice(0, slash)) return 'ListBucket on another bucket';
  const prefix = Condition.StringEquals['s3:prefix'];
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
