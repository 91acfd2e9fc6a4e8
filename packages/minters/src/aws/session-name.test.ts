import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { expect, test } from '@jest/globals';
import type { Minted, MintPlan, MintRequest } from '@mayfly/core';
import { startCloud } from '../../test/cloud.ts';
import { mutationsOf } from '../../test/mutations.ts';
import {
  allowedFor,
  awsProvider,
  awsRequest,
  grantId,
  issuanceId,
  now,
  policyOf,
  prefixRequest,
  taskId,
} from '../../test/plans.ts';
import { checkBase, checkPlan } from '../check.ts';
import { denyPolicy } from './deny-policy.ts';
import { createAwsMinter } from './minter.ts';
import { planAws, planBase } from './plan.ts';

// `denyBy: sessionName`: for systems without SourceIdentity, such as Ceph, whose roles name no account.
const role = 'arn:aws:iam:::role/mayfly/finance';
const provider = awsProvider({ roles: [role], denyBy: 'sessionName' });
const request = (more: Partial<MintRequest> = {}) => awsRequest({ provider, ...more });
const check = (plan: MintPlan, of: MintRequest = request()) => checkPlan(plan, allowedFor(of));

test('the session is named after grant and generation, so that one denial ends all of them', () => {
  const plan = planAws(request());
  expect(plan.reach).toMatch(/^mf-[0-9a-f]{40}$/);
  expect(plan.body['sessionName']).toBe(plan.reach);
  expect(plan.ends).toEqual({ by: 'denied', typicalSeconds: 5 });
  expect(planAws(request({ issuanceId: taskId })).reach).toBe(plan.reach);
  const others = [{ generation: 2 }, { generation: 11 }, { grantId: taskId }].map(
    (more) => planAws(request(more)).reach,
  );
  expect(new Set([plan.reach, ...others]).size).toBe(4);
});

test('a session name tells neither grant nor generation', () => {
  const { reach, body } = planAws(request());
  for (const id of [grantId, issuanceId]) expect(reach).not.toContain(id.slice(0, 8));
  expect(body['sourceIdentity']).toMatch(/^mf-[0-9A-Z]{26}-1$/);
});

test('a role without an account gives a policy without that condition, and no other', () => {
  const [one] = Object(policyOf(planAws(request()))).Statement;
  expect(one.Condition).toEqual({ DateLessThan: { 'aws:CurrentTime': '2026-11-23T12:01:00Z' } });
  const list = Object(policyOf(planAws(prefixRequest({ provider })))).Statement[1];
  expect(list.Condition.StringEquals).toEqual({ 's3:prefix': '2026q3/' });
  const tenant = awsProvider({ roles: ['arn:aws:iam::acme:role/finance'], denyBy: 'sessionName' });
  expect(planAws(request({ provider: tenant })).body['policy']).not.toContain('acme');
  const aws = planAws(request({ provider: awsProvider({ denyBy: 'sessionName' }) }));
  expect(aws.body['policy']).toContain('"aws:ResourceAccount":"123456789012"');
});

test.each([
  ['read', request()],
  ['read and create', request({ actions: ['read', 'create'] })],
  ['read and list of a prefix', prefixRequest({ provider })],
])('passes what the planner makes, and no single change of it: %s', (_, of) => {
  const plan = planAws(of);
  expect(check(plan, of)).toBeNull();
  const bodies = mutationsOf(plan.body, ['body']).map(({ name, value }) => ({
    name,
    plan: { ...plan, body: Object(value) },
  }));
  const policies = mutationsOf(policyOf(plan)).map(({ name, value }) => ({
    name,
    plan: { ...plan, body: { ...plan.body, policy: JSON.stringify(value) } },
  }));
  expect(bodies.length + policies.length).toBeGreaterThan(80);
  const passed = [...bodies, ...policies].filter((one) => check(one.plan, of) === null);
  expect(
    passed.map(({ name }) => name).filter((name) => !/durationSeconds: one (less|more)$/.test(name)),
  ).toEqual([]);
});

test.each<[string, (plan: MintPlan) => MintPlan, string]>([
  [
    'the name of another generation',
    (plan) => named(plan, planAws(request({ generation: 2 })).reach),
    'session name is not that of grant and generation',
  ],
  [
    'the name of another grant',
    (plan) => named(plan, planAws(request({ grantId: taskId })).reach),
    'session name is not that of grant and generation',
  ],
  [
    'a name of its issuance, which the denial would miss',
    (plan) => named(plan, String(planAws(awsRequest()).body['sessionName'])),
    'session name is not that of grant and generation',
  ],
  [
    'the SourceIdentity as reach',
    (plan) => ({ ...plan, reach: String(plan.body['sourceIdentity']) }),
    'session name is not the reach of the plan',
  ],
  [
    'a guaranteed denial',
    (plan) => ({ ...plan, ends: { by: 'denied', guaranteedSeconds: 5 } }),
    'ends is better than the provider can hold',
  ],
])('refuses a plan with %s', (_, change, problem) => {
  expect(check(change(planAws(request())))).toBe(problem);
});

test('a plan made for the other way of denying does not pass', () => {
  const [byIdentity, byName] = [
    awsRequest(),
    awsRequest({ provider: awsProvider({ denyBy: 'sessionName' }) }),
  ];
  expect(check(planAws(byIdentity), byName)).toBe('session name is not that of grant and generation');
  expect(check(planAws(byName), byIdentity)).toBe('SourceIdentity is not the reach of the plan');
});

test('the base session bears the same name, and no other passes', () => {
  const plan = planAws(request());
  const base = planBase(plan, { issuanceId: taskId, now });
  expect(base.body['sessionName']).toBe(plan.reach);
  expect(checkBase(base, plan)).toBeNull();
  const other = String(planAws(awsRequest()).body['sessionName']);
  expect(checkBase({ ...base, body: { ...base.body, sessionName: other } }, plan)).toBe(
    'session name is not that of the issuance',
  );
});

test('session names are denied by aws:userid and SourceIdentities by theirs, in one document', () => {
  const name = planAws(request()).reach;
  const identity = planAws(awsRequest()).reach;
  const deny = { Effect: 'Deny', Action: '*', Resource: '*' };
  const byName = {
    Sid: 'MayflyDenyNamesV3',
    ...deny,
    Condition: { StringLike: { 'aws:userid': [`*:${name}`] } },
  };
  const byIdentity = {
    Sid: 'MayflyDenyV3',
    ...deny,
    Condition: { StringEquals: { 'aws:SourceIdentity': [identity] } },
  };
  const statements = (entries: string[]) => JSON.parse(denyPolicy({ version: 3, entries })).Statement;
  expect(statements([name])).toEqual([byName]);
  expect(statements([identity, name])).toEqual([byIdentity, byName]);
});

test('a denial by session name stops what was minted under it and nobody else', async () => {
  const cloud = await startCloud({}, { spec: { denyBy: 'sessionName' } });
  try {
    const minter = createAwsMinter(cloud.options);
    const mint = async (generation: number) => {
      const plan = cloud.plan(minter, { generation });
      const base = minter.base?.(plan, { issuanceId: taskId, now: cloud.now() });
      if (base !== undefined) await minter.mint(base, cloud.context());
      return { plan, minted: await minter.mint(plan, cloud.context()) };
    };
    const [ours, other] = [await mint(1), await mint(2)];
    const get = (of: Minted) => read(cloud.aws.url, of);
    expect([await get(ours.minted), await get(other.minted)]).toEqual([200, 200]);
    expect(await minter.revoke(ours.plan, cloud.context())).toBe('gone');
    expect([await get(ours.minted), await get(other.minted)]).toEqual([403, 200]);
  } finally {
    await cloud.close();
  }
});

function named(plan: MintPlan, name: string): MintPlan {
  return { ...plan, reach: name, body: { ...plan.body, sessionName: name } };
}

/** Status of an unmodified SDK that reads the object of the plan. */
async function read(endpoint: string, minted: Minted): Promise<number> {
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(minted.credential.reveal());
  const credentials = {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  };
  const client = new S3Client({
    endpoint,
    region: 'eu-west-1',
    credentials,
    forcePathStyle: true,
    maxAttempts: 1,
  });
  const status = (of: unknown) =>
    Number(Reflect.get(Object(Reflect.get(Object(of), '$metadata')), 'httpStatusCode'));
  return client
    .send(new GetObjectCommand({ Bucket: 'invoices', Key: '2026q3/a.pdf' }))
    .then(status, status)
    .finally(() => client.destroy());
}
