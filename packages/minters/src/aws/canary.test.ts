import { PutRolePolicyCommand } from '@aws-sdk/client-iam';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Minter } from '@mayfly/core';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, rootIam, startCloud } from '../../test/cloud.ts';
import { createAwsMinter } from './minter.ts';

const object = 'arn:aws:s3:::invoices/mayfly-canary';

let issuer: LocalIssuer;
let cloud: Cloud;
let minter: Minter;

beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());
beforeEach(() => start());
afterEach(() => cloud.close());

async function start({
  canary = object,
  propagationMs = 0,
}: {
  canary?: string | null;
  propagationMs?: number;
} = {}) {
  await cloud?.close();
  cloud = await startCloud({ propagationMs }, { issuer, spec: { canary } });
  cloud.aws.putObject('invoices', 'mayfly-canary', 'tweet');
  minter = createAwsMinter(cloud.options);
}

const planned = () => cloud.plan(minter, { grantId: cloud.newId(), taskId: cloud.newId() });
type Planned = ReturnType<typeof planned>;
const mint = async (plan: Planned, by = minter) => {
  const base = by.base?.(plan, { issuanceId: cloud.newId(), now: cloud.now() });
  if (base !== undefined) await by.mint(base, cloud.context());
  return by.mint(plan, cloud.context());
};
const revoke = (plan: Planned) => minter.revoke(plan, cloud.context());
const watch = (by = minter) => by.watch?.(10, { ...cloud.context(), newId: cloud.newId });
const effective = () => cloud.store.audits.filter(({ type }) => type === 'deny.effective');
const alarms = () => cloud.reports.map(({ context }) => Reflect.get(Object(context), 'alarm'));

test('a denial that is felt is seen, told once with its task, and not looked at again', async () => {
  const [ended, other] = [planned(), planned()];
  await mint(ended);
  await mint(other);
  await watch();
  expect(effective()).toEqual([]);
  await revoke(ended);
  await watch();
  const { provider, reach, taskId } = ended;
  const body = { provider, role: cloud.role, reach, secondsAfterAcknowledged: expect.any(Number) };
  expect(effective()).toEqual([expect.objectContaining({ taskId, body })]);
  const calls = cloud.calls('GetObject');
  await watch();
  expect([effective().length, cloud.calls('GetObject')]).toEqual([1, calls]);
});

test('while IAM has not let it through nothing is said, after two minutes an alarm, and then the truth', async () => {
  await start({ propagationMs: 150_000 });
  const plan = planned();
  await mint(plan);
  await revoke(plan);
  await watch();
  expect([effective(), alarms()]).toEqual([[], []]);
  cloud.advance(121);
  await watch();
  await watch();
  expect([effective(), alarms()]).toEqual([[], ['deny_slow']]);
  cloud.advance(40);
  await watch();
  expect(effective()).toHaveLength(1);
});

test('what could not be read before proves nothing when it is refused', async () => {
  await start({ canary: 'arn:aws:s3:::nowhere/mayfly-canary' });
  const plans = [planned(), planned()];
  for (const plan of plans) await mint(plan);
  for (const plan of plans) await revoke(plan);
  await watch();
  expect([effective(), alarms()]).toEqual([[], ['canary']]);
});

test('a role that may not read it is refused before and after: that is no proof either', async () => {
  const root = rootIam(cloud);
  const PolicyDocument = JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Deny', Action: 's3:GetObject', Resource: object }],
  });
  await root.send(new PutRolePolicyCommand({ RoleName: 'finance', PolicyName: 'blind', PolicyDocument }));
  root.destroy();
  const plan = planned();
  await mint(plan);
  await revoke(plan);
  await watch();
  expect([effective(), alarms()]).toEqual([[], ['canary']]);
});

test('an answer that says neither is asked for again', async () => {
  const plan = planned();
  await mint(plan);
  await watch();
  await revoke(plan);
  cloud.aws.faults.arm({ action: 'GetObject', mode: 'refuse', status: 503, code: 'SlowDown' });
  await watch();
  expect(effective()).toEqual([]);
  await watch();
  expect(effective()).toHaveLength(1);
});

test('a replica that does not hold the session says nothing; the one that does, does', async () => {
  const other = createAwsMinter(cloud.options);
  const plan = planned();
  await mint(plan);
  await revoke(plan);
  await watch(other);
  expect(effective()).toEqual([]);
  await watch();
  expect(effective()).toHaveLength(1);
});

test('without a canary S3 is never asked', async () => {
  await start({ canary: null });
  const plan = planned();
  await mint(plan);
  await revoke(plan);
  await watch();
  expect([cloud.calls('GetObject'), effective(), alarms()]).toEqual([0, [], []]);
});
