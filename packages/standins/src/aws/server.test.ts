import { GetRolePolicyCommand, IAMClient, PutRolePolicyCommand } from '@aws-sdk/client-iam';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  type Credentials,
  GetScopedCredentialsCommand,
  STSClient,
} from '@aws-sdk/client-sts';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type LocalIssuer, startIssuer } from '../issuer/issuer.ts';
import { type AwsStandin, startAws } from './server.ts';

let aws: AwsStandin;
let issuer: LocalIssuer;
let role: string;
let offsetMs = 0;
const region = 'eu-west-1';

beforeAll(async () => {
  issuer = await startIssuer();
  aws = await startAws({ now: () => new Date(Date.now() + offsetMs) });
  const provider = aws.createOidcProvider(issuer.issuer, ['sts.amazonaws.com']);
  const host = issuer.issuer.replace('http://', '');
  role = aws.createRole({
    name: 'reader',
    path: '/team/',
    trust: {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Federated: provider },
          Action: ['sts:AssumeRoleWithWebIdentity', 'sts:SetSourceIdentity'],
          Condition: {
            StringEquals: { [`${host}:sub`]: 'broker', [`${host}:aud`]: 'sts.amazonaws.com' },
            StringLike: { 'sts:SourceIdentity': 'mf-*' },
          },
        },
        {
          Effect: 'Allow',
          Principal: { AWS: `arn:aws:iam::123456789012:root` },
          Action: ['sts:AssumeRole', 'sts:SetSourceIdentity'],
        },
      ],
    },
    policies: {
      base: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: ['s3:GetObject', 's3:ListBucket', 's3:PutObject'],
            Resource: ['arn:aws:s3:::b', 'arn:aws:s3:::b/*'],
          },
        ],
      },
    },
  });
  for (const key of ['t1/a', 't1/b c+é.txt', 't2/a']) aws.putObject('b', key, `body of ${key}`);
});

afterAll(async () => {
  await aws.close();
  await issuer.close();
});

const options = (credentials?: Credentials) => ({
  endpoint: aws.url,
  region,
  maxAttempts: 1,
  credentials:
    credentials === undefined
      ? aws.root
      : {
          accessKeyId: String(credentials.AccessKeyId),
          secretAccessKey: String(credentials.SecretAccessKey),
          sessionToken: String(credentials.SessionToken),
        },
});
const sts = (credentials?: Credentials) => new STSClient(options(credentials));
const s3 = (credentials?: Credentials) => new S3Client({ ...options(credentials), forcePathStyle: true });
const policy = (...resources: string[]) =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: resources }],
  });

async function status(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.name : 'unknown';
  }
}

async function assumed(sourceIdentity: string, more: object = {}): Promise<Credentials> {
  const WebIdentityToken = await issuer.assertion({
    subject: 'broker',
    audience: 'sts.amazonaws.com',
    claims: { 'https://aws.amazon.com/source_identity': sourceIdentity },
  });
  const { Credentials } = await sts().send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: role,
      RoleSessionName: 'session-1',
      WebIdentityToken,
      DurationSeconds: 900,
      ...more,
    }),
  );
  if (Credentials === undefined) throw new TypeError('no credentials');
  return Credentials;
}

const get = (credentials: Credentials | undefined, Key: string) =>
  status(s3(credentials).send(new GetObjectCommand({ Bucket: 'b', Key })));

test('a session policy narrows: its object opens, its neighbour and other actions do not', async () => {
  const narrow = await assumed('mf-a', { Policy: policy('arn:aws:s3:::b/t1/a') });
  expect(await get(narrow, 't1/a')).toBe('ok');
  expect(await get(narrow, 't2/a')).toBe('AccessDenied');
  expect(await status(s3(narrow).send(new PutObjectCommand({ Bucket: 'b', Key: 't1/a', Body: 'x' })))).toBe(
    'AccessDenied',
  );
  expect(await status(s3(narrow).send(new ListObjectsV2Command({ Bucket: 'b', Prefix: 't1/' })))).toBe(
    'AccessDenied',
  );
});

test('keys with spaces, plus and letters beyond ASCII are the same key to signer and server', async () => {
  expect(await get(await assumed('mf-a'), 't1/b c+é.txt')).toBe('ok');
});

test('web identity: tampered, foreign audience, foreign subject and missing SourceIdentity are refused', async () => {
  const call = (WebIdentityToken: string) =>
    status(
      sts().send(
        new AssumeRoleWithWebIdentityCommand({
          RoleArn: role,
          RoleSessionName: 'session-1',
          WebIdentityToken,
        }),
      ),
    );
  const claims = { 'https://aws.amazon.com/source_identity': 'mf-a' };
  const good = await issuer.assertion({ subject: 'broker', audience: 'sts.amazonaws.com', claims });
  expect(await call(good)).toBe('ok');
  expect(await call(`${good.slice(0, -4)}AAAA`)).toMatch(/^InvalidIdentityToken/);
  expect(await call(await issuer.assertion({ subject: 'broker', audience: 'elsewhere', claims }))).toMatch(
    /^InvalidIdentityToken/,
  );
  expect(
    await call(await issuer.assertion({ subject: 'stranger', audience: 'sts.amazonaws.com', claims })),
  ).toBe('AccessDenied');
  expect(await call(await issuer.assertion({ subject: 'broker', audience: 'sts.amazonaws.com' }))).toBe(
    'AccessDenied',
  );
});

test('a scoped session is cut from its base, layer by layer, and dies before it', async () => {
  const base = await assumed('mf-a');
  const scope = async (from: Credentials, more: object) =>
    (await sts(from).send(new GetScopedCredentialsCommand({ DurationSeconds: 60, ...more }))).Credentials;
  const one = await scope(base, { Policy: policy('arn:aws:s3:::b/t1/*', 'arn:aws:s3:::b/t2/*') });
  const two = one && (await scope(one, { Policy: policy('arn:aws:s3:::b/t1/a'), DurationSeconds: 30 }));
  expect(await get(two, 't1/a')).toBe('ok');
  expect(await get(two, 't2/a')).toBe('AccessDenied');
  expect(await get(one, 't2/a')).toBe('ok');
  expect(await status(sts(base).send(new GetScopedCredentialsCommand({ DurationSeconds: 901 })))).toMatch(
    /^InsufficientSessionLifetime/,
  );
  expect(await status(sts().send(new GetScopedCredentialsCommand({ DurationSeconds: 60 })))).toMatch(
    /^InvalidSubjectCredentials/,
  );
  const three = two && (await scope(two, { Policy: policy('arn:aws:s3:::b/t1/a'), DurationSeconds: 20 }));
  expect(
    await status(
      sts(three).send(
        new GetScopedCredentialsCommand({ Policy: policy('arn:aws:s3:::b/t1/a'), DurationSeconds: 10 }),
      ),
    ),
  ).toBe('AccessDenied');
  offsetMs = 61_000;
  expect(await get(one, 't1/a')).toBe('ExpiredToken');
  expect(await get(base, 't1/a')).toBe('ok');
  offsetMs = 0;
});

test('a deny on aws:SourceIdentity hits base and scoped session and nobody else; its removal ends it', async () => {
  const base = await assumed('mf-killed');
  const other = await assumed('mf-other');
  const scoped = (await sts(base).send(new GetScopedCredentialsCommand({ DurationSeconds: 60 }))).Credentials;
  const iam = new IAMClient(options());
  const put = (names: string[]) =>
    iam.send(
      new PutRolePolicyCommand({
        RoleName: 'reader',
        PolicyName: 'deny',
        PolicyDocument: JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            {
              Sid: 'V1',
              Effect: 'Deny',
              Action: '*',
              Resource: '*',
              Condition: { StringEquals: { 'aws:SourceIdentity': names } },
            },
          ],
        }),
      }),
    );
  await put(['mf-killed']);
  expect([await get(base, 't1/a'), await get(scoped, 't1/a'), await get(other, 't1/a')]).toEqual([
    'AccessDenied',
    'AccessDenied',
    'ok',
  ]);
  await put(['mf-nobody']);
  expect(await get(base, 't1/a')).toBe('ok');
  const read = await iam.send(new GetRolePolicyCommand({ RoleName: 'reader', PolicyName: 'deny' }));
  expect(decodeURIComponent(String(read.PolicyDocument))).toContain('mf-nobody');
});

test('limits and codes of STS and IAM', async () => {
  const assume = (more: object) =>
    status(sts().send(new AssumeRoleCommand({ RoleArn: role, RoleSessionName: 'session-1', ...more })));
  expect(await assume({ DurationSeconds: 900 })).toBe('ok');
  expect(await assume({ DurationSeconds: 300 })).toBe('ValidationError');
  expect(await assume({ DurationSeconds: 7200 })).toBe('ValidationError');
  expect(await assume({ RoleSessionName: 'a/b' })).toBe('ValidationError');
  expect(await assume({ SourceIdentity: 'aws:x' })).toBe('ValidationError');
  expect(await assume({ Policy: '{' })).toMatch(/^MalformedPolicyDocument/);
  expect(await assume({ Policy: policy('x'.repeat(2048)) })).toBe('ValidationError');
  const big = JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Deny', Action: '*', Resource: 'x'.repeat(10_300) }],
  });
  expect(
    await status(
      new IAMClient(options()).send(
        new PutRolePolicyCommand({ RoleName: 'reader', PolicyName: 'big', PolicyDocument: big }),
      ),
    ),
  ).toMatch(/^LimitExceeded/);
});

test('faults: refused before, applied and failed, cut', async () => {
  const assume = () =>
    status(sts().send(new AssumeRoleCommand({ RoleArn: role, RoleSessionName: 'session-1' })));
  const minted = () =>
    aws.ledger().filter(({ eventName, errorCode }) => eventName === 'AssumeRole' && errorCode === null)
      .length;
  const before = minted();
  aws.faults.arm({ action: 'AssumeRole', mode: 'refuse', code: 'Throttling', status: 400 });
  expect([await assume(), minted()]).toEqual(['Throttling', before]);
  aws.faults.arm({ action: 'AssumeRole', mode: 'applied_and_failed' });
  expect([await assume(), minted()]).toEqual(['InternalFailure', before + 1]);
  aws.faults.arm({ action: 'AssumeRole', mode: 'cut' });
  expect(await assume()).not.toBe('ok');
});

test('the ledger joins mint and use by access key, and holds no secret', async () => {
  const credentials = await assumed('mf-ledger');
  await get(credentials, 't1/a');
  const records = aws.ledger();
  const mint = records.find(({ responseElements }) =>
    JSON.stringify(responseElements ?? {}).includes(String(credentials.AccessKeyId)),
  );
  const use = records.find(({ userIdentity }) => userIdentity['accessKeyId'] === credentials.AccessKeyId);
  expect(mint?.requestParameters['sourceIdentity']).toBe('mf-ledger');
  expect(use).toMatchObject({
    eventName: 'GetObject',
    requestParameters: { bucketName: 'b', key: 't1/a' },
    userIdentity: { sessionContext: { sourceIdentity: 'mf-ledger' } },
  });
  const text = JSON.stringify(records);
  expect(text).not.toContain(String(credentials.SecretAccessKey));
  expect(text).not.toContain(String(credentials.SessionToken));
});
