import { Refusal } from '@mayfly/core';

export interface PolicyInput {
  readonly access: string;
  readonly identifier: string;
  readonly actions: readonly string[];
  /** Account that owns the role and so the bucket: against bucket sniping. Without twelve digits there are no accounts. */
  readonly account: string;
  readonly notAfter: Date;
}

export interface CompiledPolicy {
  /** Compact JSON, exactly what is sent. */
  readonly text: string;
  readonly permissions: readonly string[];
}

/** The packed limit cannot be computed offline; the plain one is 2,048 characters (cloud-aws.md section 3). */
const policyCharactersMax = 1_800;

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

type Row = (input: PolicyInput, target: S3Target) => Statement[];

interface S3Target {
  readonly partition: string;
  readonly bucket: string;
  readonly key: string;
}

/** Native permissions per verb, one row per access. Never negated operators, NotAction, wildcard services or `${*}`. */
const objectPermissions: ReadonlyMap<string, readonly string[]> = new Map([
  ['read', ['s3:GetObject']],
  ['write', ['s3:PutObject']],
  ['delete', ['s3:DeleteObject']],
]);

const rows: Readonly<Record<string, Row>> = {
  's3.object': (input, { partition, bucket, key }) => {
    if (key.endsWith('/')) throw malformed('s3.object opens one key, not a prefix');
    return objectStatements(input, `arn:${partition}:s3:::${bucket}/${key}`);
  },
  's3.prefix': (input, { partition, bucket, key }) => {
    if (!key.endsWith('/')) throw malformed('s3.prefix opens one prefix ending in /');
    const objects = objectStatements(input, `arn:${partition}:s3:::${bucket}/${key}*`);
    if (!input.actions.includes('list')) return objects;
    const condition = conditions(input, { 's3:prefix': key });
    const list = ['s3:ListBucket'];
    return [
      ...objects,
      { Effect: 'Allow', Action: list, Resource: `arn:${partition}:s3:::${bucket}`, Condition: condition },
    ];
  },
};

/** The session policy of one tool on one resource, with its absolute end in every statement. Pure. */
export function compilePolicy(input: PolicyInput): CompiledPolicy {
  const row = Object.hasOwn(rows, input.access) ? rows[input.access] : undefined;
  if (row === undefined) throw new Refusal('tool_not_granted', { detail: `no access row ${input.access}` });
  const statements = row(input, parseS3(input.identifier));
  const text = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  if (statements.length === 0)
    throw new Refusal('action_outside_grant', { detail: 'no permission for these actions' });
  if (text.length > policyCharactersMax) throw malformed('the session policy would be too long');
  return { text, permissions: statements.flatMap(({ Action }) => Action) };
}

function objectStatements(input: PolicyInput, resource: string): Statement[] {
  const statements: Statement[] = [];
  const condition = conditions(input);
  const permissions = input.actions.flatMap((action) => objectPermissions.get(action) ?? []);
  if (permissions.length > 0)
    statements.push({ Effect: 'Allow', Action: permissions, Resource: resource, Condition: condition });
  // `create` is a write that must not overwrite: the request has to carry If-None-Match: *.
  if (input.actions.includes('create') && !input.actions.includes('write')) {
    const absent = conditions(input, { 's3:if-none-match': '*' });
    statements.push({ Effect: 'Allow', Action: ['s3:PutObject'], Resource: resource, Condition: absent });
  }
  return statements;
}

/** The absolute end, and whose the resource must be where there are accounts: a key that Ceph lacks would deny all. */
function conditions({ notAfter, account }: PolicyInput, more: Readonly<Record<string, string>> = {}) {
  const owner = /^[0-9]{12}$/.test(account) ? { 'aws:ResourceAccount': account } : {};
  const StringEquals: Readonly<Record<string, string>> = { ...owner, ...more };
  return {
    DateLessThan: { 'aws:CurrentTime': notAfter.toISOString().replace('.000Z', 'Z') },
    ...(Object.keys(StringEquals).length === 0 ? {} : { StringEquals }),
  };
}

const s3Arn = /^arn:(aws[a-z-]*):s3:::([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/([\s\S]+)$/;
// In a policy `*`, `?` and `${` are wild; the rest is refused because two parsers read it differently. AWS policies
// allow only U+0020..U+00FF beside tab and line ends.
const unsafeKey = /[*?\\,"]|\$\{|(?:^|\/)\.{1,2}(?:\/|$)|\/\/|^\/|[^\u0020-\u00ff]|[\u007f-\u009f]/u;

function parseS3(identifier: string): S3Target {
  const [, partition, bucket, key] = s3Arn.exec(identifier) ?? [];
  if (partition === undefined || bucket === undefined || key === undefined)
    throw malformed('not an S3 ARN with a key');
  if (key.length > 1024 || unsafeKey.test(key))
    throw malformed('the key holds what a policy would read as more than one');
  return { partition, bucket, key };
}

function malformed(detail: string): Refusal {
  return new Refusal('identifier_malformed', { detail });
}
