import type { AccessRow } from './row.ts';

// 30 s is the shortest scoped session tried; 300 s keeps what a leaked one is worth below five minutes.
const awsLife = { min: 30, max: 300 };
const awsEnds = 'denied (deny policy on the role, typically seconds, not guaranteed), else expired';
// A write that must not overwrite: the request has to carry `If-None-Match: *`.
const onlyIfAbsent = { 's3:if-none-match': '*' };
const awsWorst = 'a denial has no guaranteed delay, so the longest ttl counts';
const bucket = { what: 'bucket', form: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$' };
/** A policy is written in U+0020 to U+00FF. */
const keyRefused = '[^\\u0020-\\u00ff]|[\\u007f-\\u009f]';
const always = {
  mechanism: 'STS session with a session policy for it',
  enforcedBy: 'provider',
  lifeSeconds: awsLife,
  ends: awsEnds,
  worst: awsWorst,
} as const;
/** Region and account stand in the ARN and are written out. */
const owned = (service: string) => `^arn:aws[a-z-]*:${service}:[a-z]{2}(?:-[a-z]+)+-[0-9]:[0-9]{12}:`;
const sealed = ['kms:GenerateDataKey', 'kms:Decrypt'];
const objectKey = { read: ['kms:Decrypt'], create: sealed, write: sealed };
const oneKey = { 'dynamodb:LeadingKeys': 'KEY' };
// No condition key knows of it.
const failedCondition =
  'a failed condition answers the whole item (ReturnValuesOnConditionCheckFailure=ALL_OLD): it can be read';
// An answer with what was there before would be a read.
const oneKeyBlind = { ...oneKey, 'dynamodb:ReturnValues': 'NONE, unless read is granted too' };

export const awsAccess: readonly AccessRow[] = [
  {
    access: 's3.object',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/KEY',
    start: '^arn:aws[a-z-]*:s3:::',
    head: bucket,
    tail: 'key',
    keyRefused,
    size: 'one',
    permissions: {
      read: ['s3:GetObject'],
      create: ['s3:PutObject'],
      write: ['s3:PutObject'],
      delete: ['s3:DeleteObject'],
    },
    conditions: { create: onlyIfAbsent },
    keyPermissions: objectKey,
    ...always,
  },
  {
    access: 's3.prefix',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/PREFIX/',
    start: '^arn:aws[a-z-]*:s3:::',
    head: bucket,
    tail: 'key',
    keyRefused,
    size: 'prefix',
    permissions: {
      read: ['s3:GetObject'],
      list: ['s3:ListBucket'],
      create: ['s3:PutObject'],
      write: ['s3:PutObject'],
      delete: ['s3:DeleteObject'],
    },
    conditions: { list: { 's3:prefix': 'PREFIX/' }, create: onlyIfAbsent },
    keyPermissions: objectKey,
    ...always,
  },
  {
    access: 'secretsmanager.secret',
    provider: 'aws',
    resource: 'arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX',
    start: `${owned('secretsmanager')}secret:`,
    head: { what: 'secret', form: '^[A-Za-z0-9_+=.@-]{1,512}$' },
    tail: 'name',
    size: 'one',
    permissions: { read: ['secretsmanager:GetSecretValue'] },
    conditions: { read: { 'secretsmanager:VersionStage': 'AWSCURRENT, and no VersionId' } },
    keyPermissions: { read: ['kms:Decrypt'] },
    ...always,
  },
  {
    access: 'dynamodb.items',
    provider: 'aws',
    resource: 'arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/items/KEY',
    start: `${owned('dynamodb')}table/`,
    head: { what: 'table', form: '^[A-Za-z0-9_.-]{3,255}$' },
    tail: 'key',
    keyRefused,
    keyStart: 'items/',
    size: 'one',
    permissions: {
      read: ['dynamodb:GetItem', 'dynamodb:Query'],
      write: ['dynamodb:PutItem', 'dynamodb:UpdateItem'],
      delete: ['dynamodb:DeleteItem'],
    },
    conditions: { read: oneKey, write: oneKeyBlind, delete: oneKeyBlind },
    tells: { write: failedCondition, delete: failedCondition },
    ...always,
  },
  {
    access: 'sqs.queue',
    provider: 'aws',
    resource: 'arn:aws:sqs:REGION:ACCOUNT:QUEUE',
    start: owned('sqs'),
    head: { what: 'queue', form: '^[A-Za-z0-9_-]{1,80}(?:\\.fifo)?$' },
    tail: 'none',
    size: 'one',
    permissions: { send: ['sqs:SendMessage'], receive: ['sqs:ReceiveMessage', 'sqs:DeleteMessage'] },
    conditions: {},
    ...always,
  },
  {
    access: 'lambda.function',
    provider: 'aws',
    resource: 'arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS',
    start: `${owned('lambda')}function:`,
    head: { what: 'function', form: '^[A-Za-z0-9_-]{1,64}:[A-Za-z0-9_-]{1,128}$' },
    tail: 'none',
    size: 'one',
    permissions: { invoke: ['lambda:InvokeFunction'] },
    conditions: {},
    ...always,
  },
];
