import type { MintPlan, MintRequest } from '@mayfly/core';
import type { Action } from '@mayfly/protocol';
import { allows, type PolicyContext, parsePolicy } from '@mayfly/standins';
import type { Random } from '@mayfly/testkit';
import type { Scope, Wanted } from '@mayfly/testkit/contracts';
import { awsProvider, kmsKey } from './plans.ts';

/** For tests only: one call as AWS decides about it. */
export interface NativeCall {
  readonly action: string;
  readonly resource: string;
  readonly context?: PolicyContext;
}

const account = '123456789012';
const everything = parsePolicy(
  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
);

/** Whether the policy that this plan sends lets a call through, in a role that may everything. */
export function lets(plan: MintPlan, { action, resource, context = {} }: NativeCall, at?: string): boolean {
  const session = plan.body['policy'] === null ? everything : parsePolicy(String(plan.body['policy']));
  const time = at ?? new Date(Date.parse(plan.notAfter) - 1000).toISOString();
  const whole = { 'aws:CurrentTime': time, 'aws:ResourceAccount': account, ...context };
  const layers = { identity: [everything], boundary: undefined, sessions: [session] };
  return allows(layers, { action, resource, context: whole });
}

/** The calls that a verb on a thing stands for. */
export function callsFor(access: string, { action, identifier }: Wanted): readonly NativeCall[] {
  const [head = '', key = ''] = cut(identifier, access === 'dynamodb.items' ? '/items/' : '/');
  switch (access) {
    case 's3.object':
    case 's3.prefix': {
      const resource = access === 's3.prefix' ? `${identifier}~z` : identifier;
      const prefix = key === '' ? {} : { 's3:prefix': key };
      return s3Calls({ bucket: head, resource, prefix })[action] ?? [];
    }
    case 'secretsmanager.secret': {
      const context = { 'secretsmanager:SecretId': identifier };
      const write = ['PutSecretValue', 'DeleteSecret', 'UpdateSecret'];
      const names = action === 'read' ? ['GetSecretValue'] : action === 'write' ? write : [];
      return names.map((name) => ({ action: `secretsmanager:${name}`, resource: identifier, context }));
    }
    case 'dynamodb.items': {
      const context = key === '' ? {} : { 'dynamodb:LeadingKeys': [key] };
      const names: Partial<Record<Action, readonly string[]>> = {
        read: ['GetItem', 'Query'],
        list: ['Scan'],
        write: ['PutItem', 'UpdateItem'],
        delete: ['DeleteItem'],
      };
      return (names[action] ?? []).map((name) => ({ action: `dynamodb:${name}`, resource: head, context }));
    }
    case 'sqs.queue': {
      const names: Partial<Record<Action, readonly string[]>> = {
        send: ['SendMessage'],
        receive: ['ReceiveMessage', 'DeleteMessage'],
        delete: ['PurgeQueue', 'DeleteQueue'],
      };
      return (names[action] ?? []).map((name) => ({ action: `sqs:${name}`, resource: identifier }));
    }
    default:
      return action === 'invoke' ? [{ action: 'lambda:InvokeFunction', resource: identifier }] : [];
  }
}

function s3Calls({ bucket, resource, prefix }: { bucket: string; resource: string; prefix: PolicyContext }) {
  const put = 's3:PutObject';
  const calls: Partial<Record<Action, readonly NativeCall[]>> = {
    read: [{ action: 's3:GetObject', resource }],
    write: [{ action: put, resource }],
    create: [{ action: put, resource, context: { 's3:if-none-match': '*' } }],
    delete: [{ action: 's3:DeleteObject', resource }],
    list: [{ action: 's3:ListBucket', resource: bucket, context: prefix }],
  };
  return calls;
}

/** What nobody may by any of our policies, whatever the scope: the rest of the services, other roles, the key by itself. */
export function escapes({ identifier, access }: MintPlan): readonly NativeCall[] {
  const [head = '', key = ''] = cut(identifier, access === 'dynamodb.items' ? '/items/' : '/');
  const on = (resource: string, ...actions: string[]) => actions.map((action) => ({ action, resource }));
  const leading = { 'dynamodb:LeadingKeys': [key, 'other'] };
  return [
    ...on(
      'arn:aws:iam::123456789012:role/mayfly/finance',
      'iam:PassRole',
      'iam:PutRolePolicy',
      'sts:AssumeRole',
    ),
    ...on('*', 'sts:GetScopedCredentials', 's3:ListAllMyBuckets', 'sqs:ListQueues', 'kms:ListKeys'),
    ...on('*', 'secretsmanager:BatchGetSecretValue', 'secretsmanager:ListSecrets', 'lambda:ListFunctions'),
    ...on(
      identifier,
      's3:GetObjectVersion',
      's3:PutObjectAcl',
      's3:RestoreObject',
      'lambda:InvokeFunctionUrl',
    ),
    ...on(identifier, 'lambda:UpdateFunctionCode', 'sqs:SetQueueAttributes', 'sqs:ChangeMessageVisibility'),
    ...on(head, 's3:ListBucketVersions', 's3:DeleteBucket', 's3:PutBucketPolicy', 's3:ListBucket'),
    ...on(
      head,
      'dynamodb:Scan',
      'dynamodb:GetItem',
      'dynamodb:Query',
      'dynamodb:PutItem',
      'dynamodb:DeleteItem',
    ),
    ...on(head, 'dynamodb:PartiQLSelect', 'dynamodb:BatchGetItem', 'dynamodb:DeleteTable'),
    ...on(`${head}/index/by-date`, 'dynamodb:Query'),
    { action: 'dynamodb:GetItem', resource: head, context: leading },
    { action: 'dynamodb:Query', resource: head, context: leading },
    {
      action: 'secretsmanager:GetSecretValue',
      resource: identifier,
      context: { 'secretsmanager:VersionStage': 'AWSPREVIOUS' },
    },
    {
      action: 'secretsmanager:GetSecretValue',
      resource: identifier,
      context: { 'secretsmanager:VersionId': 'x' },
    },
    // The key by itself, for another service, for other data; and every other key.
    ...on(
      kmsKey,
      'kms:Decrypt',
      'kms:GenerateDataKey',
      'kms:Encrypt',
      'kms:CreateGrant',
      'kms:ReEncryptFrom',
    ),
    ...['sqs', 'dynamodb', 'lambda'].map((one) =>
      through(one, { 'kms:EncryptionContext:aws:s3:arn': identifier }),
    ),
    through('s3', {}),
    through('s3', { 'kms:EncryptionContext:aws:s3:arn': `${head}-other` }),
    through('s3', { 'kms:EncryptionContext:aws:s3:arn': `${head}/other` }),
    through('secretsmanager', { 'kms:EncryptionContext:SecretARN': `${identifier}x` }),
  ];
}

function through(service: string, context: PolicyContext): NativeCall {
  const via = { 'kms:ViaService': `${service}.eu-west-1.amazonaws.com` };
  return { action: 'kms:Decrypt', resource: kmsKey, context: { ...via, ...context } };
}

const verbs: Readonly<Record<string, readonly Action[]>> = {
  's3.object': ['read', 'create', 'write', 'delete'],
  's3.prefix': ['read', 'list', 'create', 'write', 'delete'],
  'secretsmanager.secret': ['read'],
  'dynamodb.items': ['read', 'write', 'delete'],
  'sqs.queue': ['send', 'receive'],
  'lambda.function': ['invoke'],
};
const all: readonly Action[] = ['read', 'list', 'create', 'write', 'delete', 'send', 'receive', 'invoke'];

/** One decision of any row, and what lies beside it. */
export function awsScope(random: Random): Scope {
  const access = random.pick([
    's3.object',
    's3.prefix',
    'secretsmanager.secret',
    'dynamodb.items',
    'sqs.queue',
    'lambda.function',
  ]);
  const known = verbs[access] ?? [];
  const some = known.filter(() => random.below(2) === 0);
  const [first] = known;
  const actions = some.length > 0 || first === undefined ? some : [first];
  const { identifier, beside } = thing(random, access);
  // `create` alone still lets nothing be written over; beside `write` it is one.
  const implied: readonly Action[] = actions.includes('write') ? ['create'] : [];
  const others = all.filter((one) => !actions.includes(one) && !implied.includes(one));
  const mint = { provider: 'prod-aws', access };
  const keyed = access.startsWith('s3.') || access.startsWith('secrets') ? random.below(2) === 0 : false;
  const request: Partial<MintRequest> = {
    access,
    identifier,
    actions,
    mint: keyed ? { ...mint, kmsKey } : mint,
    provider: awsProvider({ kmsKeys: [kmsKey] }),
  };
  return {
    request,
    resource: identifier,
    neighbours: [
      ...others.map((action) => ({ action, identifier })),
      ...beside.flatMap((one) => actions.map((action) => ({ action, identifier: one }))),
    ],
  };
}

function thing(random: Random, access: string): { identifier: string; beside: readonly string[] } {
  const name = () => random.pick(['a', 'b', 'prod', 'prod-db', 'x.y', '2026q3', 'p0', 'a b', 'é', '%2e%2e']);
  const path = Array.from({ length: 1 + random.below(3) }, name).join('/');
  const plain = random.pick(['a', 'prod', 'prod-db', 'p0']);
  const of = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:${account}:${rest}`;
  switch (access) {
    case 's3.object': {
      const identifier = `arn:aws:s3:::bucket-${plain}/${path}`;
      return {
        identifier,
        beside: [`${identifier}x`, `${identifier}/x`, identifier.slice(0, -1), ...buckets(identifier)],
      };
    }
    case 's3.prefix': {
      const identifier = `arn:aws:s3:::bucket-${plain}/${path}/`;
      const parent = identifier.replace(/[^/]+\/$/, '');
      return { identifier, beside: [`${identifier.slice(0, -1)}0/`, parent, ...buckets(identifier)] };
    }
    case 'secretsmanager.secret': {
      const identifier = of('secretsmanager', `secret:${path.replaceAll(/[^a-z0-9/.-]/g, 'z')}-Ab12Cd`);
      return {
        identifier,
        beside: [
          `${identifier.slice(0, -1)}e`,
          identifier.replace('-Ab12Cd', '-x-Ab12Cd'),
          ...elsewhere(identifier),
        ],
      };
    }
    case 'dynamodb.items': {
      const identifier = of('dynamodb', `table/orders-${plain}/items/${path}`);
      return {
        identifier,
        beside: [
          `${identifier}x`,
          identifier.slice(0, -1),
          identifier.replace('/items/', 'x/items/'),
          ...elsewhere(identifier),
        ],
      };
    }
    case 'sqs.queue': {
      const identifier = of('sqs', plain);
      return { identifier, beside: [`${identifier}x`, `${identifier}.fifo`, ...elsewhere(identifier)] };
    }
    default: {
      const identifier = of('lambda', `function:${plain}:live`);
      const bare = identifier.slice(0, -5);
      return {
        identifier,
        beside: [bare, `${bare}x:live`, `${identifier}x`, `${bare}:$LATEST`, ...elsewhere(identifier)],
      };
    }
  }
}

function buckets(identifier: string): string[] {
  return [identifier.replace('bucket-', 'bucket-x'), identifier.replace('arn:aws:', 'arn:aws-cn:')];
}

function elsewhere(identifier: string): string[] {
  return [identifier.replace(account, '999999999999'), identifier.replace('eu-west-1', 'eu-west-2')];
}

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + at.length)];
}
