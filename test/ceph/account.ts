import {
  CreateOpenIDConnectProviderCommand,
  CreateRoleCommand,
  DeleteOpenIDConnectProviderCommand,
  IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const audience = 'sts.amazonaws.com';

/** Roles, a bucket and an OIDC provider in Ceph, made by its owner's keys from the environment. */
export interface Account {
  readonly bucket: string;
  /** A task role that the federation issuer's `mint` and the owner may assume. */
  readonly task: string;
  /** The role of the reaper, for `revoke`. */
  readonly reaper: string;
  /** Registers the issuer anew, with these certificates. */
  pin(thumbprints: readonly string[], audiences?: readonly string[]): Promise<void>;
}

/** For a Provider of this name. */
export async function openAccount(endpoint: string, issuer: string, provider: string): Promise<Account> {
  const options = { endpoint, region: 'us-east-1', maxAttempts: 1 };
  const iam = new IAMClient(options);
  const s3 = new S3Client({ ...options, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
  const bucket = `account-${new URL(issuer).port}`;
  await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  for (const Key of ['t1/a', 't1/b', 't2/a'])
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: Buffer.from(Key) }));
  const key = issuer.replace('http://', '');
  const oidc = `arn:aws:iam:::oidc-provider/${key}`;
  const role = async (name: string, purpose: string, allowed: object) => {
    const StringEquals = { [`${key}:sub`]: `mayfly:${provider}:${purpose}`, [`${key}:app_id`]: audience };
    const web = { Principal: { Federated: [oidc] }, Action: ['sts:AssumeRoleWithWebIdentity'] };
    const owner = { Principal: { AWS: ['arn:aws:iam:::user/owner'] }, Action: ['sts:AssumeRole'] };
    const trust = document({ ...web, Condition: { StringEquals } }, owner);
    const RoleName = `${name}-${new URL(issuer).port}`;
    const { Role } = await iam.send(
      new CreateRoleCommand({ RoleName, Path: '/judged/', AssumeRolePolicyDocument: trust }),
    );
    const PolicyDocument = document(allowed);
    await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'base', PolicyDocument }));
    return String(Role?.Arn);
  };
  const objects = { Action: ['s3:*'], Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`] };
  const inline = ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy'];
  return {
    bucket,
    task: await role('task', 'mint', objects),
    reaper: await role('reaper', 'revoke', { Action: inline, Resource: ['arn:aws:iam:::role/judged/*'] }),
    pin: async (thumbprints, audiences = [audience]) => {
      await iam
        .send(new DeleteOpenIDConnectProviderCommand({ OpenIDConnectProviderArn: oidc }))
        .catch(() => undefined);
      const ThumbprintList = [...thumbprints];
      await iam.send(
        new CreateOpenIDConnectProviderCommand({ Url: issuer, ClientIDList: [...audiences], ThumbprintList }),
      );
    },
  };
}

function document(...statements: object[]): string {
  const Statement = statements.map((one) => ({ Effect: 'Allow', ...one }));
  return JSON.stringify({ Version: '2012-10-17', Statement });
}
