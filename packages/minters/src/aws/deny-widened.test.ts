import { GetRolePolicyCommand, IAMClient, PutRolePolicyCommand } from '@aws-sdk/client-iam';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Minted, Minter, MintPlan } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, startCloud } from '../../test/cloud.ts';
import { denyPolicyName } from './deny.ts';
import { createAwsMinter } from './minter.ts';

let issuer: LocalIssuer;
let cloud: Cloud;
let minter: Minter;
let root: IAMClient;

beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());
beforeEach(async () => {
  cloud = await startCloud({}, { issuer });
  minter = createAwsMinter(cloud.options);
  root = new IAMClient({
    endpoint: cloud.aws.url,
    region: 'eu-west-1',
    credentials: cloud.aws.root,
    maxAttempts: 1,
  });
});
afterEach(async () => {
  root.destroy();
  await cloud.close();
});

const grant = (n: number) => uuidV7(1_795_435_200_000 + n, new Uint8Array(10));
const planOf = (n: number, more: object = {}) => cloud.plan(minter, { grantId: grant(n), ...more });
const revoke = (plan: MintPlan) => minter.revoke(plan, cloud.context());
const name = (role: string) => role.slice(role.lastIndexOf('/') + 1);

async function seen(role = cloud.role): Promise<string | null> {
  try {
    const command = new GetRolePolicyCommand({
      RoleName: name(role),
      PolicyName: denyPolicyName(cloud.provider.name),
    });
    return decodeURIComponent((await root.send(command)).PolicyDocument ?? '');
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchEntityException') return null;
    throw error;
  }
}
const identitiesIn = (text: string | null): unknown =>
  text === null ? null : JSON.parse(text).Statement[0].Condition.StringEquals['aws:SourceIdentity'];

async function get(minted: Minted): Promise<string> {
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(minted.credential.reveal());
  const credentials = {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  };
  const s3 = new S3Client({
    endpoint: cloud.aws.url,
    region: 'eu-west-1',
    credentials,
    forcePathStyle: true,
    maxAttempts: 1,
  });
  return s3.send(new GetObjectCommand({ Bucket: 'invoices', Key: '2026q3/a.pdf' })).then(
    () => 'ok',
    (error: unknown) => String(Reflect.get(Object(error), 'name')),
  );
}

const taskId = grant(0);
const crowd = (count: number) => {
  const neededUntil = new Date(cloud.now().getTime() + 900_000);
  const entries = Array.from({ length: count }, (_, index) => planOf(100 + index).reach);
  return entries.map((sourceIdentity) => ({ provider: 'prod-aws', sourceIdentity, taskId, neededUntil }));
};
const alarms = () => cloud.reports.map(({ context }) => Reflect.get(Object(context), 'alarm'));
const watch = () =>
  minter.watch?.(10, { ...cloud.context(), newId: () => uuidV7(1_795_435_200_000, new Uint8Array(10)) });

test('a document that fills says so from seven tenths on, and not before', async () => {
  await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, crowd(150), 0);
  await revoke(planOf(1));
  expect(alarms()).toEqual([]);
  await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, crowd(180), 0);
  await revoke(planOf(2));
  expect(cloud.reports).toEqual([
    {
      message: 'the deny document is filling; spread the provider over more roles',
      context: expect.objectContaining({ alarm: 'deny_slots', entries: 182, charactersMax: 8_240 }),
    },
  ]);
});

test('one that is full is widened: the kill holds, and who else is hit is told once', async () => {
  const killed = planOf(1);
  const [minted, apart] = [
    await minter.mint(killed, cloud.context()),
    await minter.mint(planOf(-86_400_000), cloud.context()),
  ];
  await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, crowd(400), 0);
  expect(await revoke(killed)).toBe('gone');
  expect([await get(minted), await get(apart)]).toEqual(['AccessDenied', 'ok']);
  expect(alarms()).toEqual(['deny_widened']);
  await watch();
  await watch();
  const body = {
    provider: cloud.provider.name,
    role: cloud.role,
    version: 2,
    step: 'cohort',
    entries: 401,
    innocents: 7,
  };
  expect(cloud.store.audits).toEqual([
    expect.objectContaining({ type: 'deny.widened', body: { ...body, prefixes: expect.any(Array) } }),
  ]);
  // As it was acknowledged, it is no foreign one.
  cloud.advance(11);
  await watch();
  expect([alarms(), cloud.store.acknowledged(cloud.role)]).toEqual([['deny_widened'], 2]);
});

test('where the role’s own policies leave no room, sessions issued until now are cut, and bases are made anew', async () => {
  const command = new PutRolePolicyCommand({
    RoleName: name(cloud.role),
    PolicyName: 'own',
    PolicyDocument: JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: `arn:aws:s3:::${'x'.repeat(9_750)}` }],
    }),
  });
  await root.send(command);
  const [killed, other] = [planOf(1), planOf(2)];
  const base = minter.base?.(other, { issuanceId: grant(50), now: cloud.now() });
  await minter.mint(base ?? other, cloud.context());
  const [cut, innocent] = [
    await minter.mint(killed, cloud.context()),
    await minter.mint(other, cloud.context()),
  ];
  const plans = Array.from({ length: 6 }, (_, index) => planOf(10 + index));
  await Promise.all([killed, ...plans].map(revoke));
  expect(JSON.parse((await seen()) ?? '').Statement[0].Condition).toEqual({
    DateLessThan: { 'aws:TokenIssueTime': expect.any(String) },
  });
  expect([await get(cut), await get(innocent)]).toEqual(['AccessDenied', 'AccessDenied']);
  expect(minter.base?.(other, { issuanceId: grant(51), now: cloud.now() })?.purpose).toBe('base');
  cloud.advance(40);
  const fresh = cloud.plan(minter, { grantId: grant(2) });
  expect(await get(await minter.mint(fresh, cloud.context()))).toBe('ok');
});

test('it narrows again by itself once what filled it is needed no longer', async () => {
  // The broker's clock moves alone: the SDK signs with that of the machine.
  const apart = await startCloud({ now: () => new Date() }, { issuer });
  try {
    const own = createAwsMinter(apart.options);
    const end = (n: number) => own.revoke(apart.plan(own, { grantId: grant(n) }), apart.context());
    const neededUntil = apart.now();
    const entries = Array.from({ length: 400 }, (_, n) => ({
      ...{ provider: 'prod-aws', sourceIdentity: planOf(100 + n).reach, taskId, neededUntil },
    }));
    await apart.store.request({ provider: cloud.provider.name, role: apart.role }, entries, 0);
    await end(1);
    apart.advance(301);
    await end(2);
    const says = apart.reports.map(({ context }) => Reflect.get(Object(context), 'alarm'));
    expect(says).toEqual(['deny_widened']);
    const command = new GetRolePolicyCommand({
      RoleName: name(apart.role),
      PolicyName: denyPolicyName(cloud.provider.name),
    });
    const client = new IAMClient({
      ...{ endpoint: apart.aws.url, region: 'eu-west-1', credentials: apart.aws.root, maxAttempts: 1 },
    });
    const text = decodeURIComponent((await client.send(command)).PolicyDocument ?? '');
    expect(identitiesIn(text)).toEqual([planOf(1).reach, planOf(2).reach].sort());
  } finally {
    await apart.close();
  }
});
