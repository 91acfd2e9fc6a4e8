import { createHash } from 'node:crypto';
import {
  CreateOpenIDConnectProviderCommand,
  CreateRoleCommand,
  DeleteOpenIDConnectProviderCommand,
  GetRoleCommand,
  IAMClient,
  PutRolePolicyCommand,
  UpdateAssumeRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { CreateBucketCommand, HeadBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { z } from 'zod';

/** The sample account in a system that is not ours: any with the APIs of STS, IAM and S3, such as Ceph's gateway. */
export interface ForeignAccount {
  readonly endpoint: string;
  /** False: roles name no account, so there is neither SourceIdentity nor aws:ResourceAccount. */
  readonly hasAccounts: boolean;
  /** A document of examples/, with the roles and abilities of this system. */
  edit(text: string): string;
  /** Lets the broker's federation issuer, which answers by now, into the roles. */
  trustFederation(issuer: string): Promise<void>;
}

const audience = 'sts.amazonaws.com';
const sample = { bucket: 'invoices', keys: ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf'] };
const sampleRole = (name: string) => `arn:aws:iam::123456789012:role/mayfly/${name}`;
const nobody = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Principal: { AWS: ['*'] }, Action: ['sts:AssumeRole'] }],
};

/**
 * Bucket, objects and roles as docs/clouds/aws.md sets them up, by the owner's keys of the SDK's default chain. May be
 * repeated. What a system can do is seen in its answers, not asked of people.
 */
export async function prepareAccount(endpoint: string): Promise<ForeignAccount> {
  // Elsewhere than in us-east-1 the SDK would send the region along as the bucket's place.
  const options = { endpoint, region: 'us-east-1', maxAttempts: 1 };
  const iam = new IAMClient(options);
  await putObjects(
    new S3Client({ ...options, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' }),
  );
  const task = await ensureRole(iam, 'finance', [
    allow(['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], `arn:aws:s3:::${sample.bucket}/*`),
    allow(['s3:ListBucket'], `arn:aws:s3:::${sample.bucket}`),
  ]);
  const prefix = task.slice(0, -'finance'.length);
  const inline = ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy'];
  const reaper = await ensureRole(iam, 'reaper', [allow(inline, `${prefix}*`)]);
  const account = task.split(':')[4] ?? '';
  const hasAccounts = /^[0-9]{12}$/.test(account);
  return {
    endpoint,
    hasAccounts,
    edit: (text) => {
      const moved = text.replaceAll(sampleRole('finance'), task).replaceAll(sampleRole('reaper'), reaper);
      return hasAccounts ? moved : moved.replace(/^( +)revoke: deny-policy$/m, '$&\n$1denyBy: sessionName');
    },
    trustFederation: async (issuer) => {
      const provider = await ensureProvider(iam, issuer, account);
      for (const [name, purpose] of [
        ['finance', 'mint'],
        ['reaper', 'revoke'],
      ] as const) {
        const document = trust({ provider, issuer, purpose, hasAccounts });
        const PolicyDocument = JSON.stringify(document);
        await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: name, PolicyDocument }));
      }
    },
  };
}

function allow(Action: readonly string[], Resource: string) {
  return { Effect: 'Allow', Action, Resource };
}

async function putObjects(s3: S3Client): Promise<void> {
  const Bucket = sample.bucket;
  const there = await s3.send(new HeadBucketCommand({ Bucket })).then(
    () => true,
    () => false,
  );
  if (!there) await s3.send(new CreateBucketCommand({ Bucket }));
  for (const Key of sample.keys)
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from(`invoice ${Key}\n`) }));
}

/** Its ARN. Until the federation issuer is trusted, nobody may assume it. */
async function ensureRole(iam: IAMClient, RoleName: string, statements: readonly object[]): Promise<string> {
  const AssumeRolePolicyDocument = JSON.stringify(nobody);
  const found = await iam.send(new GetRoleCommand({ RoleName })).catch(() => undefined);
  const { Role } =
    found ??
    (await iam.send(new CreateRoleCommand({ RoleName, Path: '/mayfly/', AssumeRolePolicyDocument })));
  const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'base', PolicyDocument }));
  return z.string().parse(Role?.Arn);
}

/** The ARN of the issuer as OIDC provider, with the certificates that it publishes now: those of an older start are gone. */
async function ensureProvider(iam: IAMClient, issuer: string, account: string): Promise<string> {
  const OpenIDConnectProviderArn = `arn:aws:iam::${account}:oidc-provider/${withoutScheme(issuer)}`;
  await iam.send(new DeleteOpenIDConnectProviderCommand({ OpenIDConnectProviderArn })).catch(() => undefined);
  const made = await iam.send(
    new CreateOpenIDConnectProviderCommand({
      Url: issuer,
      ClientIDList: [audience],
      ThumbprintList: await thumbprints(issuer),
    }),
  );
  return z.string().parse(made.OpenIDConnectProviderArn);
}

const keySet = z.object({ keys: z.array(z.object({ x5c: z.array(z.string()).min(1) })).min(1) });

async function thumbprints(issuer: string): Promise<string[]> {
  const { keys } = keySet.parse(await (await fetch(`${issuer}/jwks`)).json());
  return keys.map(({ x5c: [certificate = ''] }) =>
    createHash('sha1').update(Buffer.from(certificate, 'base64')).digest('hex').toUpperCase(),
  );
}

interface Trusting {
  readonly provider: string;
  readonly issuer: string;
  readonly purpose: 'mint' | 'revoke';
  readonly hasAccounts: boolean;
}

function trust({ provider, issuer, purpose, hasAccounts }: Trusting) {
  const key = withoutScheme(issuer);
  const tied = hasAccounts && purpose === 'mint';
  const StringEquals = {
    [`${key}:sub`]: `mayfly:local-aws:${purpose}`,
    // Ceph's word for the audience.
    [`${key}:${hasAccounts ? 'aud' : 'app_id'}`]: audience,
  };
  const StringLike = { 'sts:SourceIdentity': 'mf-*' };
  const statement = {
    Effect: 'Allow',
    Principal: { Federated: [provider] },
    Action: ['sts:AssumeRoleWithWebIdentity', ...(tied ? ['sts:SetSourceIdentity'] : [])],
    Condition: { StringEquals, ...(tied ? { StringLike } : {}) },
  };
  return { Version: '2012-10-17', Statement: [statement] };
}

function withoutScheme(issuer: string): string {
  return issuer.replace(/^https?:\/\//, '');
}
