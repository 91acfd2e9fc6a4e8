import { z } from 'zod';

// Written apart from rows.ts and policy.ts, the other way round: there a verb becomes statements, here each permission
// that stands in the policy must be one that the verbs need, on exactly this resource, under exactly these conditions.
const statement = z.strictObject({
  Effect: z.literal('Allow'),
  Action: z.array(z.string()).min(1),
  Resource: z.string(),
  Condition: z.record(
    z.string(),
    z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1).max(2)])),
  ),
});
type Statement = z.output<typeof statement>;

const document = z.strictObject({
  Version: z.literal('2012-10-17'),
  Statement: z.array(statement).min(1).max(4),
});

export interface PolicyAllowed {
  readonly access: string;
  readonly identifier: string;
  readonly verbs: readonly string[];
  /** Of the role. */
  readonly account: string;
  readonly key: string | null;
  /** The end of the plan, and the latest that the decision allows. Milliseconds. */
  readonly end: number;
  readonly endMax: number;
  /** As the log is told. */
  readonly permissions: readonly string[];
}

/** Proves what would be sent against what was allowed. Returns the first thing that is wrong, or null. */
export function checkPolicy(text: string, allowed: PolicyAllowed): string | null {
  const value = parseJson(text);
  const parsed = document.safeParse(value);
  if (!parsed.success) return 'policy: holds more than narrow Allow statements';
  // Two parsers differ about duplicate keys; written again there are none.
  if (JSON.stringify(value) !== text) return 'policy: not in its one spelling';
  for (const one of parsed.data.Statement) {
    const problem = checkStatement(one, allowed);
    if (problem !== null) return problem;
  }
  const permissions = parsed.data.Statement.flatMap(({ Action }) => Action);
  return JSON.stringify(permissions) === JSON.stringify(allowed.permissions)
    ? null
    : 'permissions are not those of the plan';
}

/** What a permission needs to stand in a policy. */
interface Demand {
  /** One of these verbs. */
  readonly verbs: readonly string[];
  readonly resource: string;
  /** `Operator key` and its value as JSON, beside the end and the account. */
  readonly conditions: Readonly<Record<string, string>>;
  /** Where it is not the role's. */
  readonly account?: string;
}

/** One spelling, so that no two readers of it see two times. */
const endForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

function checkStatement(one: Statement, allowed: PolicyAllowed): string | null {
  const held = new Map(
    Object.entries(one.Condition).flatMap(([operator, keys]) =>
      Object.entries(keys).map(([key, value]) => [`${operator} ${key}`, JSON.stringify(value)] as const),
    ),
  );
  if (Object.values(one.Condition).some((keys) => Object.keys(keys).length === 0))
    return 'an operator without a key';
  const end = one.Condition['DateLessThan']?.['aws:CurrentTime'];
  if (typeof end !== 'string') return 'policy: a statement without an end';
  if (!endForm.test(end)) return 'time bound is not the end of the plan';
  // Written so that what is no time is later than everything.
  if (!(Date.parse(end) <= allowed.endMax)) return 'time bound is later than allowed';
  if (end !== new Date(allowed.end).toISOString().replace('.000Z', 'Z'))
    return 'time bound is not the end of the plan';
  for (const permission of one.Action) {
    const problem = checkPermission(permission, { one, held, allowed });
    if (problem !== null) return problem;
  }
  return null;
}

interface Held {
  readonly one: Statement;
  readonly held: ReadonlyMap<string, string>;
  readonly allowed: PolicyAllowed;
}

function checkPermission(permission: string, { one, held, allowed }: Held): string | null {
  const rules = demandsOf(allowed);
  if (!Object.hasOwn(rules, permission)) return `permission ${permission} is not known`;
  const demand = rules[permission];
  if (demand === undefined || !demand.verbs.some((verb) => allowed.verbs.includes(verb)))
    return `permission ${permission} exceeds the actions`;
  if (one.Resource !== demand.resource) return 'Resource is not the one thing asked for';
  const account = demand.account ?? allowed.account;
  // Only AWS has accounts, of twelve digits; a role of Ceph has a tenant or nothing in that place.
  const owned = /^[0-9]{12}$/.test(account);
  if (held.get('StringEquals aws:ResourceAccount') !== (owned ? JSON.stringify(account) : undefined))
    return `resource account is not that of the ${demand.account === undefined ? 'role' : 'key'}`;
  const wanted = Object.entries(demand.conditions);
  const missing = wanted.find(([name, value]) => held.get(name) !== value);
  if (missing !== undefined) return `${permission}: without ${missing[0]} ${missing[1]}`;
  return held.size === wanted.length + (owned ? 2 : 1)
    ? null
    : `${permission}: a condition that nobody knows`;
}

/** What every permission of this access must carry, for exactly these verbs. */
function demandsOf(allowed: PolicyAllowed): Readonly<Record<string, Demand>> {
  const { access, identifier } = allowed;
  if (access.startsWith('s3.')) return s3Demands(allowed);
  if (access === 'secretsmanager.secret') return secretDemands(allowed);
  if (access === 'dynamodb.items') return itemDemands(allowed);
  const on = (verb: string): Demand => ({ verbs: [verb], resource: identifier, conditions: {} });
  if (access === 'sqs.queue')
    return {
      'sqs:SendMessage': on('send'),
      'sqs:ReceiveMessage': on('receive'),
      'sqs:DeleteMessage': on('receive'),
    };
  return access === 'lambda.function' ? { 'lambda:InvokeFunction': on('invoke') } : {};
}

function s3Demands({ access, identifier, verbs, key }: PolicyAllowed): Record<string, Demand> {
  const cut = identifier.indexOf('/');
  const bucket = identifier.slice(0, cut);
  const under = identifier.slice(cut + 1);
  const resource = access === 's3.prefix' ? `${identifier}*` : identifier;
  const overwrites = verbs.includes('write');
  const onlyNew = { 'StringEquals s3:if-none-match': '"*"' };
  const objects: Record<string, Demand> = {
    's3:GetObject': { verbs: ['read'], resource, conditions: {} },
    's3:PutObject': { verbs: ['write', 'create'], resource, conditions: overwrites ? {} : onlyNew },
    's3:DeleteObject': { verbs: ['delete'], resource, conditions: {} },
    's3:ListBucket': {
      verbs: access === 's3.prefix' ? ['list'] : [],
      resource: bucket,
      conditions: { 'StringEquals s3:prefix': JSON.stringify(under) },
    },
  };
  if (key === null) return objects;
  const context = { 'StringLike kms:EncryptionContext:aws:s3:arn': JSON.stringify([bucket, resource]) };
  const sealed = keyDemand(key, 's3', context);
  return {
    ...objects,
    'kms:Decrypt': { ...sealed, verbs: ['read', 'write', 'create'] },
    'kms:GenerateDataKey': { ...sealed, verbs: ['write', 'create'] },
  };
}

function secretDemands({ identifier, key }: PolicyAllowed): Record<string, Demand> {
  const current = {
    'StringEqualsIfExists secretsmanager:VersionStage': '"AWSCURRENT"',
    'Null secretsmanager:VersionId': '"true"',
  };
  const value = { verbs: ['read'], resource: identifier, conditions: current };
  const context = { 'StringEquals kms:EncryptionContext:SecretARN': JSON.stringify(identifier) };
  return {
    'secretsmanager:GetSecretValue': value,
    ...(key === null
      ? {}
      : { 'kms:Decrypt': { ...keyDemand(key, 'secretsmanager', context), verbs: ['read'] } }),
  };
}

function itemDemands({ identifier, verbs }: PolicyAllowed): Record<string, Demand> {
  const cut = identifier.indexOf('/items/');
  const one = {
    'ForAllValues:StringEquals dynamodb:LeadingKeys': JSON.stringify([identifier.slice(cut + 7)]),
    'Null dynamodb:LeadingKeys': '"false"',
  };
  const blind = { ...one, 'StringEqualsIfExists dynamodb:ReturnValues': '"NONE"' };
  const resource = identifier.slice(0, cut);
  const change = { resource, conditions: verbs.includes('read') ? one : blind };
  return {
    'dynamodb:GetItem': { verbs: ['read'], resource, conditions: one },
    'dynamodb:Query': { verbs: ['read'], resource, conditions: one },
    'dynamodb:PutItem': { verbs: ['write'], ...change },
    'dynamodb:UpdateItem': { verbs: ['write'], ...change },
    'dynamodb:DeleteItem': { verbs: ['delete'], ...change },
  };
}

/** One key, through one service of the key's own region, for this ciphertext alone. */
function keyDemand(key: string, service: string, context: Record<string, string>): Omit<Demand, 'verbs'> {
  const [, , , region, account = ''] = key.split(':');
  const via = { 'StringEquals kms:ViaService': JSON.stringify(`${service}.${region}.amazonaws.com`) };
  return { resource: key, account, conditions: { ...via, ...context } };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
