import { expect, test } from '@jest/globals';
import { Refusal } from '@mayfly/core';
import { createStarts } from './starts.ts';

test('so many a second, and again in the next', () => {
  let now = new Date('2026-11-24T12:00:00.100Z');
  const start = createStarts({ perSecond: 2, now: () => now });
  const told = () => {
    try {
      start();
      return 'started';
    } catch (error) {
      return error instanceof Refusal ? error.reason : error;
    }
  };
  expect([told(), told(), told(), told()]).toEqual(['started', 'started', 'sign_in_rate', 'sign_in_rate']);
  now = new Date('2026-11-24T12:00:00.900Z');
  expect(told()).toBe('sign_in_rate');
  now = new Date('2026-11-24T12:00:01.000Z');
  expect(told()).toBe('started');
});
