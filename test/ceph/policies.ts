import { compilePolicy } from '../../packages/minters/src/aws/policy.ts';

/** Session policies on which our stand-in and Ceph are held against each other, in a bucket of `tree.ts`. */
export interface NamedPolicy {
  readonly name: string;
  readonly text: string;
}

export const bucket = 'judged';
const arn = (path: string) => `arn:aws:s3:::${bucket}${path}`;
const document = (...Statement: object[]) => JSON.stringify({ Version: '2012-10-17', Statement });
const allow = (Action: string | string[], Resource: string | string[], Condition?: object) => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...(Condition === undefined ? {} : { Condition }),
});
const deny = (Action: string | string[], Resource: string | string[], Condition?: object) => ({
  ...allow(Action, Resource, Condition),
  Effect: 'Deny',
});
const everything = allow('s3:*', [arn(''), arn('/*')]);
const listed = (Condition: object) => document(allow('s3:ListBucket', arn(''), Condition));
const [past, future] = ['2020-01-01T00:00:00Z', '2099-01-01T00:00:00Z'];

/** What the compiler sends: here nothing may differ but what is named for these too. */
export function compiled(): NamedPolicy[] {
  const common = { account: '', notAfter: new Date(future) };
  const of = (access: string, path: string, actions: readonly string[]) => ({
    name: `compiled ${access} ${actions.join(' ')}`,
    text: compilePolicy({ ...common, access, identifier: arn(`/${path}`), actions }).text,
  });
  const objects = [['read'], ['write'], ['create'], ['delete'], ['read', 'write', 'delete']];
  const prefixes = [['read'], ['list'], ['read', 'list'], ['read', 'list', 'write', 'delete']];
  return [
    ...objects.map((actions) => of('s3.object', 't1/a', actions)),
    ...prefixes.map((actions) => of('s3.prefix', 't1/', actions)),
  ];
}

/** What people write, and what the compiler must never send. */
export const written: readonly NamedPolicy[] = Object.entries({
  'everything in the bucket': document(everything),
  'everything of everything': document(allow('*', '*')),
  'another bucket': document(allow('s3:*', 'arn:aws:s3:::other/*')),
  'one object': document(allow('s3:GetObject', arn('/t1/a'))),
  'an action in small letters': document(allow('s3:getobject', arn('/t1/a'))),
  'reads by wildcard': document(allow('s3:Get*', arn('/t1/*'))),
  'a question mark': document(allow('s3:GetObject', arn('/t1/?'))),
  'a star without slash': document(allow('s3:GetObject', arn('/t1*'))),
  'a star in the middle': document(allow('s3:GetObject', arn('/*/a'))),
  'objects and the bucket in one statement': document(allow(['s3:GetObject', 's3:ListBucket'], arn('/*'))),
  'a key with a space and a plus': document(allow('s3:GetObject', arn('/t1/x y+z'))),
  'allow and deny of one': document(everything, deny('s3:GetObject', arn('/t1/a'))),
  'allow and deny of writes': document(everything, deny(['s3:PutObject', 's3:DeleteObject'], arn('/*'))),
  'two allows': document(allow('s3:GetObject', arn('/t1/a')), allow('s3:GetObject', arn('/t2/a'))),
  'not yet ended': document(
    allow('s3:GetObject', arn('/*'), { DateLessThan: { 'aws:CurrentTime': future } }),
  ),
  ended: document(allow('s3:GetObject', arn('/*'), { DateLessThan: { 'aws:CurrentTime': past } })),
  'begun and not ended': document(
    allow('s3:*', arn('/*'), {
      DateGreaterThan: { 'aws:CurrentTime': past },
      DateLessThan: { 'aws:CurrentTime': future },
    }),
  ),
  'denied from now on': document(
    everything,
    deny('s3:*', '*', { DateGreaterThan: { 'aws:CurrentTime': past } }),
  ),
  'the session by name': document(
    allow('s3:GetObject', arn('/*'), { StringLike: { 'aws:userid': '*:judge' } }),
  ),
  'another session by name': document(
    allow('s3:GetObject', arn('/*'), { StringLike: { 'aws:userid': '*:other' } }),
  ),
  'denied by session name': document(
    everything,
    deny('*', '*', { StringLike: { 'aws:userid': ['*:judge'] } }),
  ),
  'denied by another session name': document(
    everything,
    deny('*', '*', { StringLike: { 'aws:userid': ['*:other'] } }),
  ),
  'a list of its prefix': listed({ StringEquals: { 's3:prefix': 't1/' } }),
  'a list of prefixes like it': listed({ StringLike: { 's3:prefix': 't1*' } }),
  'a list with two prefixes': listed({ StringEquals: { 's3:prefix': ['t1/', 't2/'] } }),
  'a list by delimiter': listed({ StringEquals: { 's3:delimiter': '/' } }),
  'a list with and without prefix': listed({ StringLikeIfExists: { 's3:prefix': 't1/*' } }),
  'a list without prefix': listed({ Null: { 's3:prefix': 'true' } }),
  'a list with any prefix': listed({ Null: { 's3:prefix': 'false' } }),
  'a key that nobody knows': document(
    allow('s3:GetObject', arn('/*'), { StringEquals: { 'aws:nothing': 'x' } }),
  ),
  'a negated key that is absent': document(
    everything,
    deny('s3:ListBucket', arn(''), { StringNotEquals: { 's3:prefix': 't1/' } }),
  ),
  'a negated allow': listed({ StringNotEquals: { 's3:prefix': 't2/' } }),
  'an escaped star': document(allow('s3:GetObject', arn('/t1/${*}'))),
  'NotAction allow': document({ Effect: 'Allow', NotAction: 's3:PutObject', Resource: [arn(''), arn('/*')] }),
  'NotResource deny': document(everything, {
    Effect: 'Deny',
    Action: 's3:*',
    NotResource: [arn('/t1/*'), arn('')],
  }),
  'the account of the resource': document(
    allow('s3:GetObject', arn('/*'), { StringEquals: { 'aws:ResourceAccount': '123456789012' } }),
  ),
  'denied by SourceIdentity': document(
    everything,
    deny('*', '*', { StringEquals: { 'aws:SourceIdentity': ['mf-judge'] } }),
  ),
}).map(([name, text]) => ({ name, text }));

const actions = ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:ListBucket', 's3:Get*', 's3:*'];
const paths = ['/t1/a', '/t1/b', '/t1/*', '/t2/*', '/*', '/t?/a', '', '/t1/x y+z'];
const conditions = [
  undefined,
  { DateLessThan: { 'aws:CurrentTime': future } },
  { DateLessThan: { 'aws:CurrentTime': past } },
  { StringEquals: { 's3:prefix': 't1/' } },
  { StringLike: { 'aws:userid': ['*:judge', '*:other'] } },
  { StringLike: { 'aws:userid': '*:other' } },
];

/** Of 1 to 4 statements from what the compiler and the deny document use: positive operators alone. */
export function random(count: number, below: (limit: number) => number): NamedPolicy[] {
  const one = <T>(all: readonly T[]): T => all[below(all.length)] as T; // below() stays inside.
  const some = <T>(all: readonly T[]): T[] => Array.from({ length: 1 + below(2) }, () => one(all));
  return Array.from({ length: count }, (_, index) => {
    const statements = Array.from({ length: 1 + below(4) }, () => {
      const make = below(4) === 0 ? deny : allow;
      return make([...new Set(some(actions))], [...new Set(some(paths).map(arn))], one(conditions));
    });
    return { name: `random ${index}`, text: document(...statements) };
  });
}
