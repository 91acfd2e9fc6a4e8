import { expect, test } from '@jest/globals';
import { countsAsDeviation, errorCodes, type Reason, refusalClasses } from './index.ts';

test('every reason has a class, and no class is of a reason that is not', () => {
  expect(Object.keys(refusalClasses).sort()).toEqual(Object.keys(errorCodes).sort());
});

test('exactly these count: tool, resource, action and parameters outside what the task was opened with', () => {
  const reasons = Object.keys(errorCodes) as Reason[];
  expect(reasons.filter(countsAsDeviation).sort()).toEqual([
    'action_outside_grant',
    'child_exceeds_parent',
    'params_invalid',
    'ref_conflict',
    'resource_outside_grant',
    'tool_not_granted',
  ]);
});

test.each([
  'rate_limited',
  'overloaded',
  'too_many_open_tasks',
  'details_malformed',
  'malformed_request',
  'already_issued',
] as const)('%s never counts: throttled, malformed and repeated requests are no deviation', (reason) =>
  expect(countsAsDeviation(reason)).toBe(false),
);

test('what is answered with 429 or 5xx never counts: that is not for the caller to mend', () => {
  for (const [reason, row] of Object.entries(errorCodes))
    if (row.status === 429 || row.status >= 500)
      expect([reason, countsAsDeviation(reason as Reason)]).toEqual([reason, false]);
});
