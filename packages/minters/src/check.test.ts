import { expect, test } from '@jest/globals';
import { allowedFor, awsRequest, now, taskId } from '../test/plans.ts';
import { planAws, planBase } from './aws/plan.ts';
import { checkPlan } from './check.ts';

const request = awsRequest();
const plan = planAws(request);
const allowed = allowedFor(request);

test('a plan of a kind without a check is refused', () => {
  for (const kind of ['gcp', '', 'AWS', 'constructor', '__proto__'])
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
