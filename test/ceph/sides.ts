import {
  CreateRoleCommand,
  GetRoleCommand,
  IAMClient,
  PutRolePolicyCommand,
  UpdateAssumeRolePolicyCommand,
} from '@aws-sdk/client-iam';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { bucket as Bucket } from './policies.ts';

/** One of the two systems that are asked the same. */
export interface Side {
  /** A session of the judged role under this policy; its status for every operation, by name. */
  decide(policy: string): Promise<ReadonlyMap<string, number>>;
}

interface Owner {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

type Operation = (s3: S3Client) => Promise<unknown>;

const get = (Key: string) => (s3: S3Client) => s3.send(new GetObjectCommand({ Bucket, Key }));
const head = (Key: string) => (s3: S3Client) => s3.send(new HeadObjectCommand({ Bucket, Key }));
const put = (Key: string) => (s3: S3Client) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from('put') }));
const create = (Key: string) => (s3: S3Client) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from('new'), IfNoneMatch: '*' }));
const remove = (Key: string) => (s3: S3Client) => s3.send(new DeleteObjectCommand({ Bucket, Key }));
const list = (more: { Prefix?: string; Delimiter?: string }) => (s3: S3Client) =>
  s3.send(new ListObjectsV2Command({ Bucket, ...more }));

// The last is named with the character that is wild in a policy.
const keys = ['t1/a', 't1/b', 't1/x y+z', 't2/a', 't1/*'];

export const operations: Readonly<Record<string, Operation>> = {
  ...Object.fromEntries([...keys, 't1/none'].map((key) => [`get ${key}`, get(key)])),
  'head t1/a': head('t1/a'),
  'head t2/a': head('t2/a'),
  'head t1/none': head('t1/none'),
  'put t1/a': put('t1/a'),
  'put t1/new': put('t1/new'),
  'put t2/new': put('t2/new'),
  'create t1/a': create('t1/a'),
  'create t1/created': create('t1/created'),
  'delete t1/gone': remove('t1/gone'),
  'delete t2/gone': remove('t2/gone'),
  'list all': list({}),
  'list t1/': list({ Prefix: 't1/' }),
  'list t1': list({ Prefix: 't1' }),
  'list t2/': list({ Prefix: 't2/' }),
  'list t1/ by /': list({ Prefix: 't1/', Delimiter: '/' }),
  'head bucket': (s3) => s3.send(new HeadBucketCommand({ Bucket })),
  'list buckets': (s3) => s3.send(new ListBucketsCommand({})),
};

interface Opening {
  readonly endpoint: string;
  readonly owner: Owner;
  /** The owner, as a trust policy names it. */
  readonly principal: string;
}

/** Makes bucket, objects and role by the owner's keys; may be repeated. */
export async function openSide({ endpoint, owner, principal }: Opening): Promise<Side> {
  const options = { endpoint, region: 'us-east-1', maxAttempts: 1 };
  const s3 = (credentials: Owner & { sessionToken?: string }) =>
    new S3Client({
      ...options,
      credentials,
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
    });
  const mine = s3(owner);
  await mine.send(new CreateBucketCommand({ Bucket }));
  for (const key of keys) await put(key)(mine);
  const role = await judgedRole(new IAMClient({ ...options, credentials: owner }), principal);
  const sts = new STSClient({ ...options, credentials: owner });
  const assume = (Policy: string) =>
    sts.send(
      new AssumeRoleCommand({
        RoleArn: role,
        RoleSessionName: 'judge',
        SourceIdentity: 'mf-judge',
        DurationSeconds: 900,
        Policy,
      }),
    );
  return {
    decide: async (policy) => {
      const { Credentials } = await assume(policy);
      const session = s3({
        accessKeyId: Credentials?.AccessKeyId ?? '',
        secretAccessKey: Credentials?.SecretAccessKey ?? '',
        sessionToken: Credentials?.SessionToken ?? '',
      });
      const decided = new Map<string, number>();
      for (const [operation, call] of Object.entries(operations)) {
        decided.set(operation, await statusOf(call(session)));
        // What one policy has put, another must not find.
        if (operation.startsWith('put') || operation.startsWith('create'))
          for (const key of ['t1/new', 't2/new', 't1/created']) await remove(key)(mine);
      }
      session.destroy();
      return decided;
    },
  };
}

async function judgedRole(iam: IAMClient, principal: string): Promise<string> {
  const RoleName = 'judged';
  const statement = {
    Effect: 'Allow',
    Principal: { AWS: [principal] },
    Action: principal.includes('root') ? ['sts:AssumeRole', 'sts:SetSourceIdentity'] : ['sts:AssumeRole'],
  };
  const trust = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  const found = await iam.send(new GetRoleCommand({ RoleName })).catch(() => undefined);
  const { Role } =
    found ?? (await iam.send(new CreateRoleCommand({ RoleName, AssumeRolePolicyDocument: trust })));
  await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName, PolicyDocument: trust }));
  const ceiling = { Effect: 'Allow', Action: ['s3:*'], Resource: ['*'] };
  const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement: [ceiling] });
  await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'ceiling', PolicyDocument }));
  return String(Role?.Arn);
}

async function statusOf(call: Promise<unknown>): Promise<number> {
  const code = (of: unknown) =>
    Number(Reflect.get(Object(Reflect.get(Object(of), '$metadata')), 'httpStatusCode') ?? 0);
  return call.then(code, code);
}
