import { expect, test } from '@jest/globals';
import { outcome, startCloud } from '../../test/cloud.ts';
import { CallBudgets } from './call-budgets.ts';
import { createAwsMinter } from './minter.ts';

const start = Date.parse('2026-11-23T12:00:00Z');
const at = (ms: number) => new Date(start + ms);
const of = { account: '123456789012', region: 'eu-west-1', perSecond: 3 };

async function takes(budgets: CallBudgets, count: number, ms: number, where = of): Promise<number> {
  const results = await Promise.all(
    Array.from({ length: count }, () => outcome(() => budgets.take(where, at(ms)))),
  );
  return results.filter((result) => result === 'ok').length;
}

test('a second’s worth at once, then as many as the seconds bring, and never more', async () => {
  const budgets = new CallBudgets();
  expect(await takes(budgets, 10, 0)).toBe(3);
  expect(await takes(budgets, 10, 400)).toBe(1);
  expect(await takes(budgets, 10, 500)).toBe(0);
  expect(await takes(budgets, 10, 60_000)).toBe(3);
});

test('one that is spent is a fault without effect, which says what is spent', async () => {
  const budgets = new CallBudgets();
  await takes(budgets, 3, 0);
  expect(await outcome(() => budgets.take(of, at(0)))).toBe(
    'provider_unavailable (none): 3 calls of STS a second in account 123456789012, eu-west-1 are spent',
  );
});

test('accounts and regions are counted apart', async () => {
  const budgets = new CallBudgets();
  await takes(budgets, 3, 0);
  expect(await takes(budgets, 3, 0, { ...of, account: '999999999999' })).toBe(3);
  expect(await takes(budgets, 3, 0, { ...of, region: 'eu-west-2' })).toBe(3);
  expect(await takes(budgets, 3, 0)).toBe(0);
});

test('no more than a thousand are remembered', async () => {
  const budgets = new CallBudgets();
  await takes(budgets, 3, 0);
  const one = { ...of, perSecond: 1 };
  for (let n = 0; n < 999; n += 1) await takes(budgets, 1, 0, { ...one, account: `other ${n}` });
  expect(await takes(budgets, 3, 0)).toBe(0);
  for (let n = 0; n < 1_000; n += 1) await takes(budgets, 1, 0, { ...one, account: `third ${n}` });
  expect(await takes(budgets, 3, 0)).toBe(3);
});

test('after AWS has throttled, nothing is sent for a second, and then slowly', async () => {
  const budgets = new CallBudgets();
  budgets.throttled(of, at(0));
  expect(await takes(budgets, 9, 999)).toBe(0);
  expect(await takes(budgets, 9, 1_000)).toBe(0);
  expect(await takes(budgets, 9, 1_400)).toBe(1);
});

test('a clock that is set back gives nothing away and takes nothing for good', async () => {
  const budgets = new CallBudgets();
  expect(await takes(budgets, 9, 10_000)).toBe(3);
  expect(await takes(budgets, 9, 0)).toBe(0);
  expect(await takes(budgets, 9, 11_000)).toBe(3);
});

test('mints are held to the budget of their provider, and ends are not', async () => {
  const cloud = await startCloud({}, { spec: { callsPerSecond: 2 } });
  try {
    const minter = createAwsMinter(cloud.options);
    const now = cloud.now();
    const context = { now, signal: AbortSignal.timeout(20_000) };
    const plans = Array.from({ length: 4 }, () => cloud.plan(minter, { grantId: cloud.newId() }));
    const told: string[] = [];
    for (const plan of plans) told.push(await outcome(() => minter.mint(plan, context)));
    const spent =
      'provider_unavailable (none): 2 calls of STS a second in account 123456789012, eu-west-1 are spent';
    expect(told).toEqual(['ok', 'ok', spent, spent]);
    expect(cloud.calls('AssumeRoleWithWebIdentity')).toBe(2);
    const [first, ...rest] = plans;
    for (const plan of first === undefined ? [] : [first, ...rest])
      expect(await minter.revoke(plan, context)).toBe('gone');
  } finally {
    await cloud.close();
  }
});

test('a throttled mint stops the others of its account for a second', async () => {
  const cloud = await startCloud();
  try {
    const minter = createAwsMinter(cloud.options);
    const mint = (now = cloud.now()) =>
      outcome(() => minter.mint(cloud.plan(minter), { now, signal: AbortSignal.timeout(20_000) }));
    cloud.aws.faults.arm({ action: '*', mode: 'refuse', status: 400, code: 'Throttling' });
    const now = cloud.now();
    expect(await mint(now)).toMatch(
      /^provider_unavailable \(none\): AssumeRoleWithWebIdentity: Throttling 400$/,
    );
    expect(await mint(now)).toMatch(/^provider_unavailable \(none\): 500 calls of STS a second in account/);
    cloud.advance(2);
    expect(await mint()).toBe('ok');
  } finally {
    await cloud.close();
  }
});
