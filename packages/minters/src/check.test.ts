import { expect, test } from '@jest/globals';
import type { MintPlan } from '@mayfly/core';
import { mutationsOf } from '../test/mutations.ts';
import { allowedFor, awsRequest, now, taskId } from '../test/plans.ts';
import { planAws, planBase } from './aws/plan.ts';
import { checkBase, checkPlan } from './check.ts';

const request = awsRequest();
const plan = planAws(request);
const allowed = allowedFor(request);

test('a plan of a kind without a check is refused', () => {
  for (const kind of ['postgres', '', 'AWS', 'constructor', '__proto__'])
    expect(checkPlan({ ...plan, kind }, allowed)).toBe(`no check for plans of kind ${kind}`);
});

test('a plan of another kind than its provider is refused', () => {
  expect(checkPlan({ ...plan, kind: 'token' }, allowed)).toBe('plan is for another provider');
});

test('a base session is no plan for an agent', () => {
  expect(checkPlan(planBase(plan, { issuanceId: taskId, now }), allowed)).toBe('plan is not for an agent');
});

test.each([
  '',
  'never',
  '2026-11-23T12:01:00Z',
  '2026-11-23T12:01:00.000+00:00',
  '2026-11-23T12:01:00',
  '2026-11-23 12:01:00Z',
  '2026-11-23T12:00:59.500Z',
  '2026-02-30T12:00:00.000Z',
  '1795435260000',
  'Mon, 23 Nov 2026 12:01:00 GMT',
])('an end in another spelling is refused, so that no two readers see two times: %j', (text) => {
  expect(checkPlan({ ...plan, notAfter: text }, allowed)).toBe('notAfter is no whole second in UTC');
});

test('an end later than the decision is refused, by one second', () => {
  expect(checkPlan({ ...plan, notAfter: '2026-11-23T12:01:01.000Z' }, allowed)).toBe(
    'notAfter is later than the decision allows',
  );
  expect(checkPlan(plan, { ...allowed, notAfter: new Date(Number.NaN) })).not.toBeNull();
});

test('a plan without actions, or with others, is refused', () => {
  for (const actions of [[], ['read', 'write'], ['*'], ['READ']])
    expect(checkPlan({ ...plan, actions }, allowed)).toBe('actions exceed the decision');
});

test('a plan for another grant, task or access than decided is refused', () => {
  expect(checkPlan({ ...plan, grantId: taskId }, allowed)).toBe('plan is for another grant');
  expect(checkPlan({ ...plan, taskId: plan.grantId }, allowed)).toBe('plan is for another grant');
  expect(checkPlan({ ...plan, access: 's3.prefix' }, allowed)).toBe('plan opens another access');
});

test('the base session that the planner makes for a plan passes, and fits no other plan', () => {
  const fitting = planBase(plan, { issuanceId: plan.issuanceId.replace(/.$/, '0'), now });
  expect(checkBase(fitting, plan)).toBeNull();
  expect(checkBase(fitting, { ...plan, reach: 'mf-another-1' })).toBe('reach is not that of the plan');
  expect(checkBase(plan, plan)).toBe('not a base session for an agent’s credential');
  expect(checkBase({ ...fitting, issuanceId: plan.issuanceId }, plan)).toBe(
    'the base session has no issuance of its own',
  );
  expect(checkBase({ ...fitting, kind: 'token' }, { ...plan, kind: 'token' })).toBe(
    'no base sessions of kind token',
  );
});

test('no single change of a base session passes', () => {
  const good = planBase(plan, { issuanceId: plan.issuanceId.replace(/.$/, '0'), now });
  const passed = mutationsOf(good).filter(({ value }) => {
    try {
      return checkBase(value as MintPlan, plan) === null; // Broken plans are the point.
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  // The log is told less than is true, or a life is shorter: nothing is opened by either.
  const harmless =
    /^(enforcement|: (without enforcement|one key more)|body\.durationSeconds: one (less|more))/;
  expect(passed.filter(({ name }) => !harmless.test(name)).map(({ name }) => name)).toEqual([]);
});
