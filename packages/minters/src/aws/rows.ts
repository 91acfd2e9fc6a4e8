import type { Action } from '@mayfly/protocol';

/** What one access compiles to, as data: a new row is an entry here, one in the check and one in the published table. */
export interface PolicyRow {
  /** The whole identifier; its named parts stand for `{name}` below. */
  readonly form: RegExp;
  /** What the form asks for, as the refusal says it. */
  readonly what: string;
  /** A prefix ends in `/`, everything else does not. */
  readonly size: 'one' | 'prefix';
  readonly statements: readonly StatementRow[];
}

/** One statement, sent when one of its verbs is asked for. `{name}` is a part of the identifier, of the key or of the role. */
export interface StatementRow {
  readonly permissions: Readonly<Partial<Record<Action, readonly string[]>>>;
  readonly resource: string;
  /** By operator and condition key, beside the absolute end and the account. Never a negated operator. */
  readonly conditions?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
  /** Account of the resource; that of the role where nothing is said. */
  readonly account?: '{keyAccount}';
  /** Only beside this verb, or only without it. */
  readonly beside?: Action;
  readonly without?: Action;
}

const arn = '^arn:(?<partition>aws[a-z-]*)';
/** Service, region and account of an ARN that names all three. */
const owned = (service: string) =>
  `${arn}:${service}:(?<region>[a-z]{2}(?:-[a-z]+)+-[0-9]):(?<account>[0-9]{12})`;

const s3Form = new RegExp(
  String.raw`${arn}:s3:::(?<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(?<key>[\s\S]+)$`,
);
const objectPermissions = { read: ['s3:GetObject'], write: ['s3:PutObject'], delete: ['s3:DeleteObject'] };
// A multipart upload reads back what it has encrypted, so that a write needs Decrypt as well.
const sealed = ['kms:GenerateDataKey', 'kms:Decrypt'];

/** Objects at `path`, and the key that they are encrypted under. */
function objectStatements(path: string): readonly StatementRow[] {
  const resource = `arn:{partition}:s3:::{bucket}/${path}`;
  return [
    { permissions: objectPermissions, resource },
    // `create` is a write that must not overwrite: the request has to carry If-None-Match: *.
    {
      permissions: { create: ['s3:PutObject'] },
      without: 'write',
      resource,
      conditions: { StringEquals: { 's3:if-none-match': '*' } },
    },
    // The context names the bucket where bucket keys are on, else the object.
    {
      permissions: { read: ['kms:Decrypt'], create: sealed, write: sealed },
      resource: '{kmsKey}',
      account: '{keyAccount}',
      conditions: {
        StringEquals: { 'kms:ViaService': 's3.{keyRegion}.amazonaws.com' },
        StringLike: { 'kms:EncryptionContext:aws:s3:arn': ['arn:{partition}:s3:::{bucket}', resource] },
      },
    },
  ];
}

// ForAllValues holds where the key is absent, as in a Scan: Null demands that it is there.
const oneLeadingKey = {
  'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['{key}'] },
  Null: { 'dynamodb:LeadingKeys': 'false' },
};
const itemChanges = {
  write: ['dynamodb:PutItem', 'dynamodb:UpdateItem'],
  delete: ['dynamodb:DeleteItem'],
} as const;
const table = 'arn:{partition}:dynamodb:{region}:{account}:table/{table}';

export const policyRows: Readonly<Record<string, PolicyRow>> = {
  's3.object': {
    form: s3Form,
    what: 'an S3 ARN with a key',
    size: 'one',
    statements: objectStatements('{key}'),
  },
  's3.prefix': {
    form: s3Form,
    what: 'an S3 ARN with a key',
    size: 'prefix',
    statements: [
      ...objectStatements('{key}*'),
      {
        permissions: { list: ['s3:ListBucket'] },
        resource: 'arn:{partition}:s3:::{bucket}',
        conditions: { StringEquals: { 's3:prefix': '{key}' } },
      },
    ],
  },
  'secretsmanager.secret': {
    // Six random characters end every ARN of a secret: without them it names nothing, with a wildcard also db-prod.
    form: new RegExp(`${owned('secretsmanager')}:secret:(?<key>[A-Za-z0-9/_+=.@-]{1,512}-[A-Za-z0-9]{6})$`),
    what: 'the full ARN of a secret, with its six last characters',
    size: 'one',
    statements: [
      {
        permissions: { read: ['secretsmanager:GetSecretValue'] },
        resource: '{identifier}',
        // A request that names no version means the current one.
        conditions: {
          StringEqualsIfExists: { 'secretsmanager:VersionStage': 'AWSCURRENT' },
          Null: { 'secretsmanager:VersionId': 'true' },
        },
      },
      {
        permissions: { read: ['kms:Decrypt'] },
        resource: '{kmsKey}',
        account: '{keyAccount}',
        conditions: {
          StringEquals: {
            'kms:ViaService': 'secretsmanager.{keyRegion}.amazonaws.com',
            'kms:EncryptionContext:SecretARN': '{identifier}',
          },
        },
      },
    ],
  },
  'dynamodb.items': {
    form: new RegExp(
      String.raw`${owned('dynamodb')}:table\/(?<table>[A-Za-z0-9_.-]{3,255})\/items\/(?<key>[\s\S]+)$`,
    ),
    what: 'an ARN of a table with /items/ and a partition key',
    size: 'one',
    statements: [
      {
        permissions: { read: ['dynamodb:GetItem', 'dynamodb:Query'] },
        resource: table,
        conditions: oneLeadingKey,
      },
      { permissions: itemChanges, beside: 'read', resource: table, conditions: oneLeadingKey },
      // A change may answer what was there before: without `read` that would be one.
      {
        permissions: itemChanges,
        without: 'read',
        resource: table,
        conditions: { ...oneLeadingKey, StringEqualsIfExists: { 'dynamodb:ReturnValues': 'NONE' } },
      },
    ],
  },
  'sqs.queue': {
    form: new RegExp(String.raw`${owned('sqs')}:(?<key>[A-Za-z0-9_-]{1,80}(?:\.fifo)?)$`),
    what: 'the ARN of a queue',
    size: 'one',
    // Who receives and cannot delete receives the same again and again.
    statements: [
      {
        permissions: { send: ['sqs:SendMessage'], receive: ['sqs:ReceiveMessage', 'sqs:DeleteMessage'] },
        resource: '{identifier}',
      },
    ],
  },
  'lambda.function': {
    // An unqualified ARN does not cover `f:prod`, and `f*` covers other functions.
    form: new RegExp(`${owned('lambda')}:function:[A-Za-z0-9_-]{1,64}:(?<key>[A-Za-z0-9_-]{1,128})$`),
    what: 'the ARN of a function with its alias or version',
    size: 'one',
    statements: [{ permissions: { invoke: ['lambda:InvokeFunction'] }, resource: '{identifier}' }],
  },
};
