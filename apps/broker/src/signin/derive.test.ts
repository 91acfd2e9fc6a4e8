import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { derive, sameText } from './derive.ts';

test('values differ by use, by interaction and by installation, and are the same on every replica', () => {
  const secret = randomBytes(32);
  const all = (['state', 'nonce', 'verifier', 'cancel'] as const).flatMap((use) =>
    ['a', 'b'].map((uid) => derive(secret, use, uid)),
  );
  expect(new Set(all).size).toBe(8);
  expect(derive(Buffer.from(secret), 'state', 'a')).toBe(all[0]);
  expect(derive(randomBytes(32), 'state', 'a')).not.toBe(all[0]);
  for (const value of all) expect(value).toMatch(/^[A-Za-z0-9_-]{43}$/);
});

test('texts are compared whole', () => {
  expect([sameText('abc', 'abc'), sameText('abc', 'abd'), sameText('abc', 'ab'), sameText('', 'a')]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
