import { createHash } from 'node:crypto';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Minted, Minter, MintPlan } from '@mayfly/core';
import { type Cloud, outcome, startCloud } from '../../test/cloud.ts';
import { grantId, taskId } from '../../test/plans.ts';
import { createAwsMinter } from './minter.ts';

let cloud: Cloud;
let minter: Minter;

beforeAll(async () => {
  cloud = await startCloud();
  minter = createAwsMinter(cloud.options);
});
afterAll(() => cloud.close());
afterEach(() => {
  cloud.aws.faults.clear();
  cloud.advance(2); // Longer than a throttled account is left alone.
});

const baseOf = (plan: MintPlan, of = minter, at = cloud) =>
  of.base?.(plan, { issuanceId: taskId, now: at.now() });
const mint = (plan: MintPlan, of = minter, at = cloud) => of.mint(plan, at.context());

async function mintBase(plan: MintPlan, of = minter, at = cloud): Promise<Minted> {
  const base = baseOf(plan, of, at);
  if (base === undefined) throw new TypeError('a base session is there already');
  return mint(base, of, at);
}

interface Process {
  readonly Version: number;
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly SessionToken: string;
  readonly Expiration: string;
}
const processOf = (minted: Minted): Process => JSON.parse(minted.credential.reveal());

function s3(minted: Minted, at = cloud): S3Client {
  const { AccessKeyId, SecretAccessKey, SessionToken } = processOf(minted);
  const credentials = {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  };
  return new S3Client({
    endpoint: at.aws.url,
    region: 'eu-west-1',
    credentials,
    forcePathStyle: true,
    maxAttempts: 1,
  });
}
const said = (run: Promise<unknown>) =>
  run.then(
    () => 'ok',
    (error: unknown) => String(Reflect.get(Object(error), 'name')),
  );
const get = (minted: Minted, Key: string, at = cloud) =>
  said(s3(minted, at).send(new GetObjectCommand({ Bucket: 'invoices', Key })));

test('a base session is made once, and the agent gets a session of seconds cut from it', async () => {
  const plan = cloud.plan(minter);
  const base = await mintBase(plan);
  expect(base.credential.reveal()).toBe('');
  const minted = await mint(plan);
  expect(await get(minted, '2026q3/a.pdf')).toBe('ok');
  expect(await get(minted, '2026q3/b.pdf')).toBe('AccessDenied');
  expect(
    await said(s3(minted).send(new PutObjectCommand({ Bucket: 'invoices', Key: '2026q3/a.pdf', Body: 'x' }))),
  ).toBe('AccessDenied');
  expect(
    await said(s3(minted).send(new ListObjectsV2Command({ Bucket: 'invoices', Prefix: '2026q3/' }))),
  ).toBe('AccessDenied');
  const { Version, AccessKeyId, Expiration } = processOf(minted);
  expect(Version).toBe(1);
  expect(Expiration).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(Date.parse(Expiration)).toBeLessThanOrEqual(Date.parse(plan.notAfter));
  expect(minted.keyHash).toBe(createHash('sha256').update(AccessKeyId).digest('hex'));
  expect(base.keyHash).not.toBe(minted.keyHash);
});

test('the cloud is sent what the plan says, and its log joins to the issuance', async () => {
  const plan = cloud.plan(minter, { generation: 2 });
  const since = cloud.aws.ledger().length;
  await mintBase(plan);
  await mint(plan);
  const [assumed, scoped] = cloud.aws.ledger(since).map(({ requestParameters }) => requestParameters);
  expect(assumed).toEqual({
    roleArn: cloud.role,
    roleSessionName: expect.stringMatching(/^mf-[0-9a-f]{40}$/),
    durationSeconds: '900',
    sourceIdentity: plan.reach,
  });
  expect(scoped).toEqual({
    policy: plan.body['policy'],
    durationSeconds: String(plan.body['durationSeconds']),
    scopedSessionDescription: plan.body['description'],
    sourceIdentity: plan.reach,
  });
});

test('a base session is used again for its grant and generation, and for no other', async () => {
  const first = cloud.plan(minter, { generation: 3 });
  await mintBase(first);
  const assumed = cloud.calls('AssumeRoleWithWebIdentity');
  const second = cloud.prefixPlan(minter, { generation: 3 });
  expect(baseOf(second)).toBeUndefined();
  const minted = await mint(second);
  expect(
    await said(s3(minted).send(new ListObjectsV2Command({ Bucket: 'invoices', Prefix: '2026q3/' }))),
  ).toBe('ok');
  expect([await get(minted, '2026q3/b.pdf'), await get(minted, '2026q4/a.pdf')]).toEqual([
    'ok',
    'AccessDenied',
  ]);
  expect(cloud.calls('AssumeRoleWithWebIdentity')).toBe(assumed);
  for (const more of [
    { generation: 4 },
    { generation: 3, grantId: taskId },
    { generation: 3, mint: { role: cloud.otherRole } },
  ])
    expect(baseOf(cloud.plan(minter, more))?.purpose).toBe('base');
});

test('a base session that would end before the credential is not used', async () => {
  const plan = cloud.plan(minter, { generation: 5 });
  await mintBase(plan);
  const at = (seconds: number) => ({
    ...plan,
    notAfter: new Date(Date.parse(plan.notAfter) + seconds * 1000).toISOString(),
  });
  // 60 s of the plan, 900 s of the base, 5 s between them.
  expect(baseOf(at(900 - 60 - 6))).toBeUndefined();
  expect(baseOf(at(900 - 60 - 3))?.purpose).toBe('base');
});

test('without a base the agent gets a session of its own, as narrow, that ends with its policy', async () => {
  const plan = cloud.plan(minter, { generation: 6 });
  const minted = await mint(plan);
  expect(minted.expiresAt.toISOString()).toBe(plan.notAfter);
  expect(processOf(minted).Expiration).toBe(plan.notAfter.replace('.000Z', 'Z'));
  expect([await get(minted, '2026q3/a.pdf'), await get(minted, '2026q3/b.pdf')]).toEqual([
    'ok',
    'AccessDenied',
  ]);
});

test('where scoped sessions do not exist, the policy carries the end, and that is what is answered', async () => {
  const beside = await startCloud({ scopedSessions: false });
  try {
    const fallback = createAwsMinter(beside.options);
    const plan = beside.plan(fallback);
    await mintBase(plan, fallback, beside);
    const minted = await mint(plan, fallback, beside);
    expect(beside.calls('GetScopedCredentials')).toBe(1);
    expect(minted.expiresAt.toISOString()).toBe(plan.notAfter);
    expect(processOf(minted).Expiration).toBe(plan.notAfter.replace('.000Z', 'Z'));
    expect([await get(minted, '2026q3/a.pdf', beside), await get(minted, '2026q3/b.pdf', beside)]).toEqual([
      'ok',
      'AccessDenied',
    ]);
    // The session itself lives on; its policy does not.
    beside.advance(61);
    expect(await get(minted, '2026q3/a.pdf', beside)).toBe('AccessDenied');
    // Remembered for five minutes, so that no base is made in vain, and then asked again.
    expect(baseOf(beside.plan(fallback, { generation: 2 }), fallback, beside)).toBeUndefined();
    beside.advance(241);
    expect(baseOf(beside.plan(fallback, { generation: 2 }), fallback, beside)?.purpose).toBe('base');
  } finally {
    await beside.close();
  }
});

test('the credential is dead after its seconds, though its base lives', async () => {
  const late = await startCloud();
  try {
    const own = createAwsMinter(late.options);
    const plan = late.plan(own);
    await mintBase(plan, own, late);
    const minted = await mint(plan, own, late);
    expect(await get(minted, '2026q3/a.pdf', late)).toBe('ok');
    late.advance(61);
    expect(await get(minted, '2026q3/a.pdf', late)).toMatch(/ExpiredToken|AccessDenied/);
  } finally {
    await late.close();
  }
});

const failures = [
  [
    'refused',
    { mode: 'refuse', status: 403, code: 'AccessDenied' },
    'provider_refused (none)',
    'AccessDenied 403',
  ],
  [
    'refused as malformed',
    { mode: 'refuse', status: 400, code: 'MalformedPolicyDocument' },
    'provider_refused (none)',
    'MalformedPolicyDocument(Exception)? 400',
  ],
  [
    'throttled',
    { mode: 'refuse', status: 400, code: 'Throttling' },
    'provider_unavailable (none)',
    'Throttling 400',
  ],
  [
    'not applied and failed',
    { mode: 'refuse', status: 500 },
    'provider_unavailable (unknown)',
    'InternalFailure 500',
  ],
  [
    'not applied and unavailable',
    { mode: 'refuse', status: 503 },
    'provider_unavailable (unknown)',
    'InternalFailure 503',
  ],
  [
    'applied and failed',
    { mode: 'applied_and_failed', status: 500 },
    'provider_unavailable (unknown)',
    'InternalFailure 500',
  ],
  ['cut before', { mode: 'cut' }, 'provider_unavailable (unknown)', '.*'],
  ['applied and cut', { mode: 'applied_and_cut' }, 'provider_unavailable (unknown)', '.*'],
] as const;

test.each(failures)(
  'GetScopedCredentials %s: the fault says whether something may exist',
  async (_, fault, reason, detail) => {
    const plan = cloud.plan(minter, { generation: 7 });
    if (baseOf(plan) !== undefined) await mintBase(plan);
    cloud.aws.faults.arm({ action: 'GetScopedCredentials', ...fault });
    const told = await outcome(() => mint(plan));
    expect(told).toMatch(new RegExp(`^${reason.replace(/[()]/g, '\\$&')}: GetScopedCredentials: ${detail}$`));
    // Asked again with the same plan it neither widens nor prolongs.
    cloud.advance(2);
    const again = await mint(plan);
    expect(again.expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
    expect(await get(again, '2026q3/b.pdf')).toBe('AccessDenied');
  },
);

test.each(failures)(
  'AssumeRoleWithWebIdentity %s: nothing is kept as a base',
  async (_, fault, reason, detail) => {
    const plan = cloud.plan(minter, { generation: 8 });
    const base = baseOf(plan);
    cloud.aws.faults.arm({ action: 'AssumeRoleWithWebIdentity', ...fault });
    const told = await outcome(() => (base === undefined ? undefined : mint(base)));
    expect(told).toMatch(
      new RegExp(`^${reason.replace(/[()]/g, '\\$&')}: AssumeRoleWithWebIdentity: ${detail}$`),
    );
    expect(baseOf(plan)?.purpose).toBe('base');
  },
);

test.each(['GetScopedCredentials', 'AssumeRoleWithWebIdentity'])(
  'a deadline cuts %s, and what it did is unknown',
  async (action) => {
    const plan = cloud.plan(minter, { generation: action.length });
    if (action === 'GetScopedCredentials') await mintBase(plan);
    const release = cloud.aws.faults.arm({ action, mode: 'hold' });
    const told = await outcome(() => minter.mint(plan, cloud.context(AbortSignal.timeout(100))));
    release();
    expect(told).toMatch(new RegExp(`^provider_unavailable \\(unknown\\): ${action}: `));
  },
);

test.each(['lie_longer', 'lie_identity'] as const)(
  'an AssumeRole that answers with a %s is refused, and may exist',
  async (mode) => {
    const plan = cloud.plan(minter, { generation: 9 });
    cloud.aws.faults.arm({ action: 'AssumeRoleWithWebIdentity', mode });
    const what = mode === 'lie_longer' ? 'a longer life than asked for' : 'another identity than asked for';
    expect(await outcome(() => mint(plan))).toBe(`provider_refused (unknown): the provider answered ${what}`);
  },
);

test('a scoped session that lives longer than asked is refused', async () => {
  const plan = cloud.plan(minter, { generation: 10 });
  await mintBase(plan);
  cloud.aws.faults.arm({ action: 'GetScopedCredentials', mode: 'lie_longer' });
  expect(await outcome(() => mint(plan))).toBe(
    'provider_refused (unknown): the provider answered a longer life than asked for',
  );
});

test('a provider that is gone is a fault before any call', async () => {
  const own = createAwsMinter({ ...cloud.options, provider: () => undefined });
  const plan = cloud.plan(minter);
  const gone = 'provider_refused (none): provider prod-aws is gone';
  expect(await outcome(() => own.mint(plan, cloud.context()))).toBe(gone);
  expect(await outcome(() => own.base?.(plan, { issuanceId: taskId, now: cloud.now() }))).toBe(gone);
});

test('no secret of a session is shown by printing what the minter gives', async () => {
  const minted = await mint(cloud.plan(minter, { generation: 11 }));
  const { SecretAccessKey, SessionToken } = processOf(minted);
  const printed = JSON.stringify(minted) + String(minted.credential);
  for (const secret of [SecretAccessKey, SessionToken]) expect(printed).not.toContain(secret);
});

test('what can only expire is not denied', async () => {
  const plan = { ...cloud.plan(minter), ends: { by: 'expired' } as const, grantId };
  expect(await minter.revoke(plan, cloud.context())).toBe('wait-for-expiry');
  expect(cloud.calls('PutRolePolicy')).toBe(0);
});
