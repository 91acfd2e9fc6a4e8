import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  IAMClient,
  PutRolePermissionsBoundaryCommand,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AwsStandin, startAws } from './server.ts';

let aws: AwsStandin;
let boundary: string;
const roles = { task: '', unbounded: '', reaper: '' };
const allow = (Action: string | readonly string[], Resource: string, Condition?: object) => ({
  ...{ Effect: 'Allow', Action, Resource },
  ...(Condition === undefined ? {} : { Condition }),
});
const policy = (...Statement: object[]) => ({ Version: '2012-10-17', Statement });
const everything = JSON.stringify(policy(allow('*', '*')));

beforeAll(async () => {
  aws = await startAws();
  aws.putObject('b', 'k', 'x');
  boundary = aws.createPolicy('mayfly-boundary', policy(allow(['s3:GetObject'], '*')));
  const trust = policy({
    ...{ Effect: 'Allow', Action: 'sts:AssumeRole' },
    Principal: { AWS: `arn:aws:iam::${aws.account}:root` },
  });
  const common = { path: '/mayfly/', trust };
  const base = policy(allow(['s3:GetObject', 's3:PutObject'], 'arn:aws:s3:::b/*'));
  roles.task = aws.createRole({ ...common, name: 'task', policies: { base }, boundary });
  roles.unbounded = aws.createRole({ ...common, name: 'unbounded', policies: { base } });
  // As docs/clouds/aws.md sets it up.
  const on = `arn:aws:iam::${aws.account}:role/mayfly/*`;
  const bounded = { StringEquals: { 'iam:PermissionsBoundary': boundary } };
  const reap = policy(
    allow(['iam:PutRolePolicy', 'iam:DeleteRolePolicy'], on, bounded),
    allow('iam:GetRolePolicy', on),
  );
  roles.reaper = aws.createRole({ ...common, name: 'reaper', policies: { reap } });
});
afterAll(() => aws.close());

async function clientsOf(RoleArn: string) {
  const options = { endpoint: aws.url, region: 'eu-west-1', maxAttempts: 1 };
  const sts = new STSClient({ ...options, credentials: aws.root });
  const { Credentials } = await sts.send(new AssumeRoleCommand({ RoleArn, RoleSessionName: 'test' }));
  const credentials = {
    accessKeyId: String(Credentials?.AccessKeyId),
    secretAccessKey: String(Credentials?.SecretAccessKey),
    sessionToken: String(Credentials?.SessionToken),
  };
  return {
    s3: new S3Client({ ...options, credentials, forcePathStyle: true }),
    iam: new IAMClient({ ...options, credentials }),
  };
}

const said = (run: Promise<unknown>) =>
  run.then(
    () => 'ok',
    (error: unknown) => String(Reflect.get(Object(error), 'name')),
  );
const put = (RoleName: string) =>
  new PutRolePolicyCommand({ RoleName, PolicyName: 'mayfly-deny', PolicyDocument: everything });

test('a role gives what its policies and its boundary both allow', async () => {
  const { s3 } = await clientsOf(roles.task);
  expect(await said(s3.send(new GetObjectCommand({ Bucket: 'b', Key: 'k' })))).toBe('ok');
  const write = new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'y' });
  expect(await said(s3.send(write))).toBe('AccessDenied');
  expect(await said((await clientsOf(roles.unbounded)).s3.send(write))).toBe('ok');
});

test('the reaper writes on roles with the boundary alone, and cannot take it away', async () => {
  const { iam } = await clientsOf(roles.reaper);
  expect(await said(iam.send(put('task')))).toBe('ok');
  expect(await said(iam.send(put('unbounded')))).toBe('AccessDenied');
  expect(await said(iam.send(put('reaper')))).toBe('AccessDenied');
  const name = { RoleName: 'task', PolicyName: 'mayfly-deny' };
  expect(await said(iam.send(new GetRolePolicyCommand(name)))).toBe('ok');
  const other = new PutRolePermissionsBoundaryCommand({ RoleName: 'task', PermissionsBoundary: boundary });
  expect(await said(iam.send(other))).toBe('AccessDenied');
  expect(await said(iam.send(new DeleteRolePolicyCommand(name)))).toBe('ok');
});

test('whatever a stolen reaper writes on a task role, the role never exceeds its boundary', async () => {
  const { iam } = await clientsOf(roles.reaper);
  await iam.send(put('task'));
  const task = await clientsOf(roles.task);
  expect(await said(task.s3.send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'y' })))).toBe(
    'AccessDenied',
  );
  expect(await said(task.iam.send(put('unbounded')))).toBe('AccessDenied');
});
