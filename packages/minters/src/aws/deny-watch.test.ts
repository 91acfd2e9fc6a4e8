import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Minter } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, outcome, startCloud } from '../../test/cloud.ts';
import { denyPolicyName } from './deny.ts';
import { denyPolicy } from './deny-policy.ts';
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
  // The broker's clock moves alone: the SDK signs with that of the machine.
  cloud = await startCloud({ now: () => new Date() }, { issuer });
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
const eventId = grant(99);
const planOf = (n: number, more: object = {}) => cloud.plan(minter, { grantId: grant(n), ...more });
const revoke = (n: number, more: object = {}) => minter.revoke(planOf(n, more), cloud.context());
const watch = (olderThanSeconds = 10) =>
  outcome(() => minter.watch?.(olderThanSeconds, { ...cloud.context(), newId: () => eventId }));
const policyName = (role: string) => ({
  RoleName: role.slice(role.lastIndexOf('/') + 1),
  PolicyName: denyPolicyName(cloud.provider.name),
});
const overwrite = (PolicyDocument: string, role = cloud.role) =>
  root.send(new PutRolePolicyCommand({ ...policyName(role), PolicyDocument }));

async function seen(role = cloud.role): Promise<string | null> {
  try {
    return decodeURIComponent(
      (await root.send(new GetRolePolicyCommand(policyName(role)))).PolicyDocument ?? '',
    );
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchEntityException') return null;
    throw error;
  }
}

const alarm = (version: number, role = cloud.role) => ({
  message: 'deny document is not the one acknowledged; written again',
  context: { provider: cloud.provider.name, role, version, alarm: 'deny_document' },
});

test('a document that is as acknowledged is only looked at', async () => {
  await revoke(1);
  cloud.advance(11);
  const puts = cloud.calls('PutRolePolicy');
  expect(await watch()).toBe('ok');
  expect([cloud.calls('PutRolePolicy'), cloud.reports, cloud.store.audits]).toEqual([puts, [], []]);
  expect(cloud.store.acknowledged(cloud.role)).toBe(1);
});

test('a document that was read a moment ago is not read again', async () => {
  await revoke(1);
  const reads = cloud.calls('GetRolePolicy');
  expect(await watch()).toBe('ok');
  expect(cloud.calls('GetRolePolicy')).toBe(reads);
});

const changes: readonly (readonly [string, (good: string) => Promise<unknown>])[] = [
  ['an older version, landed late', () => overwrite(denyPolicy({ version: 1, entries: [planOf(1).reach] }))],
  ['a foreign one', () => overwrite(denyPolicy({ version: 9, entries: ['mf-foreign-1'] }))],
  ['one that denies nobody', (good) => overwrite(good.replace('"Deny"', '"Allow"'))],
  ['one with another operator', (good) => overwrite(good.replace('StringEquals', 'StringNotEquals'))],
  ['the same one spelled otherwise', (good) => overwrite(` ${good}`)],
  ['none at all', () => root.send(new DeleteRolePolicyCommand(policyName(cloud.role)))],
];

test.each(changes)(
  'a document in the place of the acknowledged one alarms and is written again: %s',
  async (_, change) => {
    await revoke(1);
    await revoke(2);
    await change((await seen()) ?? '');
    cloud.advance(11);
    expect(await watch()).toBe('ok');
    const entries = [planOf(1).reach, planOf(2).reach].sort();
    expect(await seen()).toBe(denyPolicy({ version: 3, entries }));
    expect(cloud.store.acknowledged(cloud.role)).toBe(3);
    expect(cloud.reports).toEqual([alarm(2)]);
    expect(cloud.store.audits).toEqual([
      {
        id: eventId,
        type: 'deny.foreign',
        at: expect.any(Date),
        actor: 'mayfly',
        taskId: null,
        issuanceId: null,
        body: { provider: cloud.provider.name, role: cloud.role, version: 2 },
      },
    ]);
  },
);

test('a write whose answer was lost is acknowledged when it is seen, so that its undoing alarms', async () => {
  cloud.aws.faults.arm({ action: 'GetRolePolicy', mode: 'cut' });
  expect(await outcome(() => revoke(1))).toMatch(/^provider_unavailable/);
  expect(cloud.store.acknowledged(cloud.role)).toBe(0);
  cloud.advance(21);
  expect(await watch()).toBe('ok');
  expect([cloud.store.acknowledged(cloud.role), cloud.reports]).toEqual([1, []]);
  await overwrite(denyPolicy({ version: 9, entries: ['mf-foreign-1'] }));
  cloud.advance(11);
  expect(await watch()).toBe('ok');
  expect(cloud.reports).toEqual([alarm(1)]);
});

test('entries that are needed no longer go, and the empty document is deleted', async () => {
  await revoke(1);
  cloud.advance(600);
  await revoke(2);
  // The first is needed for 900 s, kept 300 s longer, and so gone after 1,200 s.
  cloud.advance(599);
  expect(await watch()).toBe('ok');
  expect(JSON.stringify(await seen())).toContain(planOf(1).reach);
  cloud.advance(13);
  expect(await watch()).toBe('ok');
  expect(await seen()).toBe(denyPolicy({ version: 3, entries: [planOf(2).reach] }));
  cloud.advance(600);
  expect(await watch()).toBe('ok');
  expect(await seen()).toBeNull();
  expect([cloud.store.acknowledged(cloud.role), cloud.reports]).toEqual([4, []]);
  cloud.advance(60);
  expect(await watch()).toBe('ok');
});

test('an empty document that somebody deleted first is deleted as well', async () => {
  await revoke(1);
  cloud.advance(1_201);
  const absent = { status: 404, code: 'NoSuchEntity' };
  cloud.aws.faults.arm({ action: 'DeleteRolePolicy', mode: 'applied_and_failed', ...absent });
  expect(await watch()).toBe('ok');
  expect([await seen(), cloud.store.acknowledged(cloud.role)]).toEqual([null, 2]);
});

test.each(['refuse', 'applied_and_failed', 'cut', 'applied_and_cut'] as const)(
  'a deletion that was %s is not acknowledged, and the next denial writes the right document',
  async (mode) => {
    await revoke(1);
    cloud.advance(1_201);
    cloud.aws.faults.arm({ action: 'DeleteRolePolicy', mode, status: 500 });
    expect(await watch()).toMatch(/^provider_unavailable \(unknown\): DeleteRolePolicy: /);
    expect(cloud.store.acknowledged(cloud.role)).toBe(1);
    cloud.advance(21);
    expect(await revoke(2)).toBe('gone');
    expect(await seen()).toBe(denyPolicy({ version: 3, entries: [planOf(2).reach] }));
  },
);

test('one role that cannot be looked at does not hide the others', async () => {
  await revoke(1);
  await revoke(2, { mint: { role: cloud.otherRole } });
  await overwrite(denyPolicy({ version: 9, entries: ['mf-foreign-1'] }), cloud.otherRole);
  cloud.advance(11);
  cloud.aws.faults.arm({ action: 'GetRolePolicy', mode: 'refuse', status: 403, code: 'AccessDenied' });
  expect(await watch()).toBe('provider_refused (none): GetRolePolicy: AccessDenied 403');
  expect(await seen(cloud.otherRole)).toBe(denyPolicy({ version: 2, entries: [planOf(2).reach] }));
  expect(cloud.reports).toEqual([alarm(1, cloud.otherRole)]);
});

test('a document whose writer is at work is left to it', async () => {
  await revoke(1);
  await overwrite(denyPolicy({ version: 9, entries: ['mf-foreign-1'] }));
  cloud.advance(11);
  await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, [], 20);
  expect(await watch()).toBe('ok');
  expect([cloud.calls('PutRolePolicy'), cloud.reports]).toEqual([2, []]);
});
