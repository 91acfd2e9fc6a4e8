import { GetRolePolicyCommand, IAMClient, PutRolePolicyCommand } from '@aws-sdk/client-iam';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Minted, Minter, MintPlan } from '@mayfly/core';
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
const overwrite = (PolicyDocument: string, role = cloud.role) =>
  root.send(
    new PutRolePolicyCommand({
      RoleName: name(role),
      PolicyName: denyPolicyName(cloud.provider.name),
      PolicyDocument,
    }),
  );
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

test('the document is one Deny of everything for the named identities, with a positive operator', () => {
  expect(JSON.parse(denyPolicy({ version: 7, entries: ['mf-a-1', 'mf-b-2'] }))).toEqual({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'MayflyDenyV7',
        Effect: 'Deny',
        Action: '*',
        Resource: '*',
        Condition: { StringEquals: { 'aws:SourceIdentity': ['mf-a-1', 'mf-b-2'] } },
      },
    ],
  });
});

test('a denial stops the base and what was cut from it, and nobody else', async () => {
  const [denied, other, next] = [planOf(1), planOf(2), planOf(1, { generation: 2 })];
  const base = minter.base?.(denied, { issuanceId: grant(50), now: cloud.now() });
  await minter.mint(base ?? denied, cloud.context());
  const [cut, innocent, resumed] = [
    await minter.mint(denied, cloud.context()),
    await minter.mint(other, cloud.context()),
    await minter.mint(next, cloud.context()),
  ];
  expect([await get(cut), await get(innocent)]).toEqual(['ok', 'ok']);
  expect(await revoke(denied)).toBe('gone');
  expect([await get(cut), await get(innocent), await get(resumed)]).toEqual(['AccessDenied', 'ok', 'ok']);
});

test('it is put, read back and acknowledged, by the identity of the reaper', async () => {
  const plan = planOf(1);
  const since = cloud.aws.ledger().length;
  expect(await revoke(plan)).toBe('gone');
  const calls = cloud.aws.ledger(since).map(({ eventName, errorCode }) => [eventName, errorCode]);
  expect(calls).toEqual([
    ['AssumeRoleWithWebIdentity', null],
    ['PutRolePolicy', null],
    ['GetRolePolicy', null],
  ]);
  expect(await seen()).toBe(denyPolicy({ version: 1, entries: [plan.reach] }));
  expect([cloud.store.acknowledged(cloud.role), cloud.signed]).toEqual([1, ['revoke']]);
});

test('repeating a denial is right, and the session of the reaper is used again', async () => {
  const plan = planOf(1);
  expect([await revoke(plan), await revoke(plan)]).toEqual(['gone', 'gone']);
  expect(identitiesIn(await seen())).toEqual([plan.reach]);
  expect(cloud.signed).toEqual(['revoke']);
  cloud.advance(850);
  await revoke(plan);
  expect(cloud.signed).toEqual(['revoke', 'revoke']);
});

test('a session of the reaper that is not let in is forgotten', async () => {
  await revoke(planOf(1));
  cloud.aws.faults.arm({
    action: 'PutRolePolicy',
    mode: 'refuse',
    status: 403,
    code: 'InvalidClientTokenId',
  });
  expect(await outcome(() => revoke(planOf(2)))).toMatch(/^provider_unavailable \(none\): PutRolePolicy/);
  expect(await revoke(planOf(2))).toBe('gone');
  expect(cloud.signed).toEqual(['revoke', 'revoke']);
});

test('denials that arrive together become one document', async () => {
  const plans = Array.from({ length: 12 }, (_, index) => planOf(index));
  expect(new Set(await Promise.all(plans.map(revoke)))).toEqual(new Set(['gone']));
  expect([cloud.calls('PutRolePolicy'), cloud.calls('GetRolePolicy')]).toEqual([1, 1]);
  expect(identitiesIn(await seen())).toEqual(plans.map(({ reach }) => reach).sort());
});

test('denials on two roles are two documents', async () => {
  const plans = [planOf(1), planOf(2, { mint: { role: cloud.otherRole } })];
  await Promise.all(plans.map(revoke));
  expect(identitiesIn(await seen(cloud.role))).toEqual([plans[0]?.reach]);
  expect(identitiesIn(await seen(cloud.otherRole))).toEqual([plans[1]?.reach]);
});

test('what arrives while a document is written waits for it and is in the next', async () => {
  // Longer than denials are gathered, so that the next document is complete before this one is written.
  cloud.aws.faults.arm({ action: 'PutRolePolicy', mode: 'delay', ms: 150 });
  const given = cloud.store.nextRequest();
  const first = revoke(planOf(1));
  await given;
  const later = [revoke(planOf(2)), revoke(planOf(3))];
  expect(await Promise.all([first, ...later])).toEqual(['gone', 'gone', 'gone']);
  expect(cloud.calls('PutRolePolicy')).toBe(2);
  expect(identitiesIn(await seen())).toEqual([1, 2, 3].map((n) => planOf(n).reach).sort());
});

test('a document that failed does not fail the next one', async () => {
  cloud.aws.faults.arm({ action: 'PutRolePolicy', mode: 'refuse', status: 403, code: 'AccessDenied' });
  const given = cloud.store.nextRequest();
  const first = outcome(() => revoke(planOf(1)));
  await given;
  const second = outcome(() => revoke(planOf(2)));
  expect(await first).toBe('provider_refused (none): PutRolePolicy: AccessDenied 403');
  // Surely nothing was written, so the lease was given back.
  expect(await second).toBe('ok');
  expect(identitiesIn(await seen())).toEqual([1, 2].map((n) => planOf(n).reach).sort());
});

test('a document that may have been written keeps its lease until that runs out', async () => {
  cloud.aws.faults.arm({ action: 'PutRolePolicy', mode: 'applied_and_cut' });
  const given = cloud.store.nextRequest();
  const first = outcome(() => revoke(planOf(1)));
  await given;
  const second = outcome(() => revoke(planOf(2)));
  expect(await first).toMatch(/^provider_unavailable \(unknown\): PutRolePolicy: /);
  expect(await second).toBe('provider_unavailable (none): another writer holds the deny document');
  cloud.advance(21);
  expect(await revoke(planOf(2))).toBe('gone');
  expect(identitiesIn(await seen())).toEqual([1, 2].map((n) => planOf(n).reach).sort());
});

test('while another writer holds the role there is a fault, and the reaper comes again', async () => {
  const plan = planOf(1);
  const { taskId } = plan;
  const entry = { provider: 'prod-aws', sourceIdentity: 'mf-other-1', taskId, neededUntil: cloud.now() };
  expect(
    await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, [entry], 20),
  ).not.toBeNull();
  expect(await outcome(() => revoke(plan))).toBe(
    'provider_unavailable (none): another writer holds the deny document',
  );
  expect(await seen()).toBeNull();
  cloud.advance(21);
  expect(await revoke(plan)).toBe('gone');
  expect(identitiesIn(await seen())).toEqual([plan.reach, 'mf-other-1'].sort());
});

test('a document that another wrote between put and read-back is not acknowledged', async () => {
  const release = cloud.aws.faults.arm({ action: 'GetRolePolicy', mode: 'hold' });
  const given = cloud.store.nextRequest();
  const told = outcome(() => revoke(planOf(1)));
  await given;
  const foreign = denyPolicy({ version: 999, entries: ['mf-foreign-1'] });
  while (cloud.calls('PutRolePolicy') === 0) await new Promise((resolve) => setImmediate(resolve));
  await overwrite(foreign);
  release();
  expect(await told).toBe('provider_unavailable (unknown): read-back shows another deny document');
  expect(cloud.store.acknowledged(cloud.role)).toBe(0);
});

test('a document that was overtaken is not acknowledged', async () => {
  const release = cloud.aws.faults.arm({ action: 'GetRolePolicy', mode: 'hold' });
  const given = cloud.store.nextRequest();
  const told = outcome(() => revoke(planOf(1)));
  await given;
  cloud.advance(21);
  await cloud.store.request({ provider: cloud.provider.name, role: cloud.role }, [], 20);
  release();
  expect(await told).toBe('provider_unavailable (none): a newer deny document was requested meanwhile');
  expect(cloud.store.acknowledged(cloud.role)).toBe(0);
});

const failures = [
  ['refused', { mode: 'refuse', status: 403, code: 'AccessDenied' }, 'provider_refused (none)'],
  ['throttled', { mode: 'refuse', status: 400, code: 'Throttling' }, 'provider_unavailable (none)'],
  ['not applied and failed', { mode: 'refuse', status: 500 }, 'provider_unavailable (unknown)'],
  ['applied and failed', { mode: 'applied_and_failed', status: 500 }, 'provider_unavailable (unknown)'],
  ['cut', { mode: 'cut' }, 'provider_unavailable (unknown)'],
  ['applied and cut', { mode: 'applied_and_cut' }, 'provider_unavailable (unknown)'],
] as const;

test.each(
  ['PutRolePolicy', 'GetRolePolicy', 'AssumeRoleWithWebIdentity'].flatMap((action) =>
    failures.map((one) => [action, ...one] as const),
  ),
)(
  '%s %s: nothing is acknowledged, and trying again ends in the right document',
  async (action, _, fault, reason) => {
    const plan = planOf(1);
    cloud.aws.faults.arm({ action, ...fault });
    // After the write a failed look says nothing of the document: it may stand.
    const told = action === 'GetRolePolicy' ? reason.replace('none', 'unknown') : reason;
    expect(await outcome(() => revoke(plan))).toMatch(
      new RegExp(`^${told.replace(/[()]/g, '\\$&')}: ${action}: `),
    );
    expect(cloud.store.acknowledged(cloud.role)).toBe(0);
    cloud.advance(21);
    expect(await revoke(plan)).toBe('gone');
    expect(await seen()).toBe(denyPolicy({ version: 2, entries: [plan.reach] }));
  },
);

test('a deadline cuts the write, and what it did is unknown', async () => {
  const release = cloud.aws.faults.arm({ action: 'PutRolePolicy', mode: 'hold' });
  const told = await outcome(() => minter.revoke(planOf(1), cloud.context(AbortSignal.timeout(300))));
  release();
  expect(told).toBe(
    'provider_unavailable (unknown): the deny document was not acknowledged within the deadline',
  );
});

test('a denial goes on for the others when the first of them has no time left', async () => {
  const release = cloud.aws.faults.arm({ action: 'PutRolePolicy', mode: 'hold' });
  const impatient = new AbortController();
  const held = cloud.aws.faults.taken;
  const first = outcome(() => minter.revoke(planOf(1), cloud.context(impatient.signal)));
  const second = outcome(() => revoke(planOf(2)));
  await held;
  impatient.abort();
  expect(await first).toMatch(/^provider_unavailable \(unknown\)/);
  release();
  expect(await second).toBe('ok');
  for (const n of [1, 2]) expect(await seen()).toContain(planOf(n).reach);
});

test('a provider that is gone is a fault', async () => {
  const gone = createAwsMinter({ ...cloud.options, provider: () => undefined });
  expect(await outcome(() => gone.revoke(planOf(1), cloud.context()))).toBe(
    'provider_refused (none): provider prod-aws is gone',
  );
});
