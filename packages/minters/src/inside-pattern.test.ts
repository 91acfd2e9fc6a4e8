import { expect, test } from '@jest/globals';
import { compilePattern } from '@mayfly/core';
import { printedSeed, seeded } from '../test/plans.ts';
import { insidePattern } from './inside-pattern.ts';

function byCore(pattern: string, value: string): boolean {
  const compiled = compilePattern(pattern);
  return 'matches' in compiled && compiled.matches(value);
}

test.each([
  ['a/*', 'a/b', true],
  ['a/*', 'a/', true],
  ['a/*', 'a/b/c', false],
  ['a/*', 'a/b:c', false],
  ['a/**', 'a/b/c', true],
  ['a/**', 'a/b:c', true],
  ['a/**', 'a/', false],
  ['a/**', 'a', false],
  ['a/**', 'ab/c', false],
  ['/**', '/a', true],
  ['/**', 'a', false],
  ['**', 'a', false],
  ['a**', 'ab', false],
  ['a/**/b', 'a/x/b', false],
  ['a/***', 'a/b', false],
  ['*', '', true],
  ['', '', true],
  ['', 'a', false],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['*b*', 'abc', true],
  ['*ab*ab', 'ab', false],
  ['*ab*ab', 'abab', true],
  ['a*b*c', 'acb', false],
  ['a.b', 'axb', false],
  ['(a|b)', 'a', false],
  ['a', 'A', false],
  ['a', 'a\n', false],
  ['a/**', 'a/\n', true],
  ['é*', 'e\u0301x', false],
])('%j holds %j: %s', (pattern, value, expected) => {
  expect([insidePattern(pattern, value), byCore(pattern, value)]).toEqual([expected, expected]);
});

test('agrees with the pattern language of the core on generated patterns and values', () => {
  const random = seeded(printedSeed('inside-pattern'));
  // Few letters and many stars, so that near misses are common.
  const letters = ['a', 'b', '*', '/', ':', '.', '\\', '\n', '😀', '\ud83d', '\ude00'];
  const text = (size: number, from: readonly string[]) =>
    Array.from({ length: random(size) }, () => from[random(from.length)] ?? '').join('');
  const plain = letters.filter((letter) => letter !== '*');
  const counts = { inside: 0, outside: 0 };
  for (let round = 0; round < 60_000; round += 1) {
    const few = round % 3 === 0 ? letters : ['a', 'b', '*', '*', '/'];
    const pattern = text(9, few) + (random(3) === 0 ? '/**' : '');
    // Half of the values grow from their pattern and so have a chance to lie inside.
    const value =
      random(2) === 0
        ? text(12, round % 3 === 0 ? plain : ['a', 'b', '/'])
        : pattern.replace(/\*+/g, () => text(4, random(4) === 0 ? ['a', '/', ':'] : ['a', 'b']));
    const [here, core] = [insidePattern(pattern, value), byCore(pattern, value)];
    if (here !== core) throw new Error(`disagree on ${JSON.stringify({ pattern, value, here, core })}`);
    counts[here ? 'inside' : 'outside'] += 1;
  }
  expect(counts.inside).toBeGreaterThan(5_000);
  expect(counts.outside).toBeGreaterThan(5_000);
});

test('a value of a caller cannot make it slow', () => {
  const began = performance.now();
  const value = `${'abcd'.repeat(500)}abc${'b'.repeat(2000)}`;
  for (const pattern of ['*a*b*c*d*e', '*a*a*a*a*a*a*a*a*z', `${'*b'.repeat(12)}*x`])
    expect(insidePattern(pattern, value)).toBe(false);
  expect(performance.now() - began).toBeLessThan(200);
});
