import { GetRolePolicyCommand } from '@aws-sdk/client-iam';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Minted, Minter, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, outcome, rootIam, startCloud } from '../../test/cloud.ts';
import { createAwsMinter } from './minter.ts';

let issuer: LocalIssuer;
let here: Cloud;
let there: Cloud;

beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());
beforeEach(async () => {
  here = await startCloud({}, { issuer });
  there = await startCloud({}, { issuer });
});
afterEach(() => Promise.all([here.close(), there.close()]));

const grant = (n: number) => uuidV7(1_795_435_200_000 + n, new Uint8Array(10));
const minterOf = (...providers: readonly Provider[]): Minter =>
  createAwsMinter({ ...here.options, provider: (name) => providers.find((one) => one.name === name) });

async function get({ aws }: Cloud, minted: Minted): Promise<string> {
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(minted.credential.reveal());
  const credentials = {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  };
  const options = { endpoint: aws.url, region: 'eu-west-1', forcePathStyle: true, maxAttempts: 1 };
  return new S3Client({ ...options, credentials })
    .send(new GetObjectCommand({ Bucket: 'invoices', Key: '2026q3/a.pdf' }))
    .then(
      () => 'ok',
      (error: unknown) => String(Reflect.get(Object(error), 'name')),
    );
}

/** The same role names, account and all, as two clusters have that know no accounts. */
async function mintAtBoth(minter: Minter, second: Provider) {
  const plans = [
    here.plan(minter, { grantId: grant(1) }),
    here.plan(minter, { grantId: grant(2), provider: second }),
  ] as const;
  const [first, other] = [
    await minter.mint(plans[0], here.context()),
    await minter.mint(plans[1], here.context()),
  ];
  return { plans, first, other };
}

test.each([['together'], ['one after the other']])(
  'two clusters with one role name: an end at each is felt at each, %s',
  async (when) => {
    const second = { ...there.provider, name: 'second' };
    const minter = minterOf(here.provider, second);
    expect(second.spec['roles']).toEqual(here.provider.spec['roles']);
    const { plans, first, other } = await mintAtBoth(minter, second);
    const ends = plans.map((plan) => () => minter.revoke(plan, here.context()));
    if (when === 'together') expect(await Promise.all(ends.map((end) => end()))).toEqual(['gone', 'gone']);
    else for (const end of ends) expect(await end()).toBe('gone');
    expect([await get(here, first), await get(there, other)]).toEqual(['AccessDenied', 'AccessDenied']);
  },
);

test('an end at one cluster leaves the other', async () => {
  const second = { ...there.provider, name: 'second' };
  const minter = minterOf(here.provider, second);
  const { plans, first, other } = await mintAtBoth(minter, second);
  expect(await minter.revoke(plans[0], here.context())).toBe('gone');
  expect([await get(here, first), await get(there, other)]).toEqual(['AccessDenied', 'ok']);
  expect(there.calls('PutRolePolicy')).toBe(0);
});

test('an end at a cluster that is away is none, though the other answers', async () => {
  const second = { ...there.provider, name: 'second' };
  const minter = minterOf(here.provider, second);
  const { plans } = await mintAtBoth(minter, second);
  there.aws.faults.arm({ action: 'PutRolePolicy', mode: 'cut' });
  const told = await Promise.all(plans.map((plan) => outcome(() => minter.revoke(plan, here.context()))));
  expect(told).toEqual(['ok', expect.stringMatching(/^provider_unavailable \(unknown\): PutRolePolicy/)]);
});

test('two Providers that share a role of one account deny side by side, and neither undoes the other', async () => {
  const second = { ...here.provider, name: 'second' };
  const minter = minterOf(here.provider, second);
  const { plans, first, other } = await mintAtBoth(minter, second);
  for (const plan of plans) expect(await minter.revoke(plan, here.context())).toBe('gone');
  expect([await get(here, first), await get(here, other)]).toEqual(['AccessDenied', 'AccessDenied']);
  here.advance(11);
  await minter.watch?.(10, { ...here.context(), newId: here.newId });
  expect(here.store.audits).toEqual([]);
  const RoleName = here.role.slice(here.role.lastIndexOf('/') + 1);
  for (const name of [here.provider.name, 'second']) {
    const command = new GetRolePolicyCommand({ RoleName, PolicyName: `mayfly-deny-${name}` });
    expect((await rootIam(here).send(command)).PolicyDocument).toBeDefined();
  }
});

const elsewhere = (more: object) => ({ ...here.provider, spec: { ...here.provider.spec, ...more } });

test.each([
  ['another cluster', () => ({ endpoints: there.provider.spec['endpoints'] })],
  ['another STS', () => ({ endpoints: { ...Object(here.provider.spec['endpoints']), sts: there.aws.url } })],
  ['another IAM', () => ({ endpoints: { ...Object(here.provider.spec['endpoints']), iam: there.aws.url } })],
  [
    'a reaper of another account',
    () => ({ revoker: { role: 'arn:aws:iam::999999999999:role/mayfly/reaper' } }),
  ],
  [
    'roles of another account, without a reaper',
    () => ({ revoker: null, roles: ['arn:aws:iam::999999999999:role/mayfly/finance'] }),
  ],
])('a Provider that has moved to %s ends nothing there', async (_, change) => {
  let provider = here.provider;
  const minter = createAwsMinter({ ...here.options, provider: () => provider });
  const plan = here.plan(minter);
  const minted = await minter.mint(plan, here.context());
  provider = elsewhere(change());
  expect(await outcome(() => minter.revoke(plan, here.context()))).toBe(
    'provider_refused (none): provider prod-aws has moved',
  );
  expect([await get(here, minted), here.calls('PutRolePolicy'), there.calls('PutRolePolicy')]).toEqual([
    'ok',
    0,
    0,
  ]);
  provider = here.provider;
  expect(await minter.revoke(plan, here.context())).toBe('gone');
});

test('no session is asked for, and no base is shown, where the Provider has moved to', async () => {
  let provider = here.provider;
  const minter = createAwsMinter({ ...here.options, provider: () => provider });
  const plan = here.plan(minter, { grantId: grant(1) });
  const base = minter.base?.(plan, { issuanceId: here.newId(), now: here.now() }) ?? plan;
  await minter.mint(base, here.context());
  provider = elsewhere({ endpoints: there.provider.spec['endpoints'] });
  expect(await outcome(() => minter.mint(plan, here.context()))).toBe(
    'provider_refused (none): provider prod-aws has moved',
  );
  const later = here.plan(minter, { grantId: grant(1), provider });
  expect(minter.base?.(later, { issuanceId: here.newId(), now: here.now() })).toBeDefined();
  expect(there.aws.ledger()).toEqual([]);
});

test('ends of before a move and of after it do not become one', async () => {
  let provider = here.provider;
  const minter = createAwsMinter({ ...here.options, provider: () => provider });
  const before = here.plan(minter, { grantId: grant(1) });
  provider = elsewhere({ endpoints: there.provider.spec['endpoints'] });
  const after = here.plan(minter, { grantId: grant(2), provider });
  const told = await Promise.all(
    [before, after].map((plan) => outcome(() => minter.revoke(plan, here.context()))),
  );
  expect(told).toEqual(['provider_refused (none): provider prod-aws has moved', 'ok']);
});
