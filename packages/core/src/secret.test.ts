import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import { Secret } from './secret.ts';

const secret = new Secret('hunter2-of-mayfly');

test('a secret comes out by `reveal` only', () => {
  expect(secret.reveal()).toBe('hunter2-of-mayfly');
});

test.each([
  ['JSON', JSON.stringify({ deep: [secret] })],
  ['a template string', `${secret}`],
  ['a concatenation', `a ${String(secret)}`],
  ['an inspector', inspect(secret)],
  ['an inspector that looks at hidden fields', inspect({ deep: { secret } }, { showHidden: true, depth: 9 })],
  ['an error', new Error(`failed with ${secret}`).message],
  ['its own keys', inspect(Object.getOwnPropertyDescriptors(secret))],
  ['a copy by spread', JSON.stringify({ ...secret })],
])('it does not print in %s', (_, printed) => {
  expect(printed).not.toContain('hunter2');
});

test('it prints as what it is', () => {
  expect([`${secret}`, JSON.stringify(secret), inspect(secret)]).toEqual([
    '[secret]',
    '"[secret]"',
    '[secret]',
  ]);
});

test('a structure is hidden like a text', () => {
  const hidden = new Secret({ key: 'hunter2-of-mayfly' });
  expect(inspect([hidden], { showHidden: true })).not.toContain('hunter2');
  expect(hidden.reveal().key).toBe('hunter2-of-mayfly');
});
