import { describe, expect, test } from '@jest/globals';
import { pattern, type Random, seededRandom, withSeed } from '@mayfly/testkit';
import { compilePattern, patternWithin } from './pattern.ts';

describe('`*` is any run inside one segment', () => {
  const cases: readonly (readonly [text: string, value: string, matches: boolean])[] = [
    ['a*c', 'ac', true],
    ['a*c', 'abbbc', true],
    ['a*c', 'ab/c', false],
    ['a*c', 'ab:c', false],
    ['*', '', true],
    ['*', 'anything at all', true],
    ['*', 'a/b', false],
    ['*', 'a:b', false],
    ['system:serviceaccount:finance:*', 'system:serviceaccount:finance:reconciler', true],
    ['system:serviceaccount:finance:*', 'system:serviceaccount:finance:a:b', false],
    ['system:serviceaccount:finance:*', 'system:serviceaccount:finance', false],
    ['a/*/c', 'a/b/c', true],
    ['a/*/c', 'a//c', true],
    ['a/*/c', 'a/b/b/c', false],
    ['*a*', 'xxaxx', true],
    ['*a*', 'xxxx', false],
    ['*ab', 'aab', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
  ];
  test.each(cases)('%j against %j: %j', (text, value, matches) => {
    expect(pattern(text).matches(value)).toBe(matches);
  });
});

describe('`**` is any non-empty rest after the last `/`', () => {
  const cases: readonly (readonly [text: string, value: string, matches: boolean])[] = [
    ['a/**', 'a/b', true],
    ['a/**', 'a/b/c:d/e', true],
    ['a/**', 'a/', false],
    ['a/**', 'a', false],
    ['a/**', 'ab/c', false],
    ['/**', '/x', true],
    ['*/x/**', 'b/x/y/z', true],
    ['*/x/**', 'b/c/x/y', false],
    ['arn:aws:s3:::invoices/2026q3/**', 'arn:aws:s3:::invoices/2026q3/a.pdf', true],
    ['arn:aws:s3:::invoices/2026q3/**', 'arn:aws:s3:::invoices/2026q30/a.pdf', false],
    ['arn:aws:s3:::invoices/2026q3/**', 'arn:aws:s3:::invoices/2026q3', false],
  ];
  test.each(cases)('%j against %j: %j', (text, value, matches) => {
    expect(pattern(text).matches(value)).toBe(matches);
  });

  test.each(['**', 'a**', '**/a', 'a/**/b', 'a/***', 'a/**/**', 'a**/**', 'a/b**'])(
    '%j is no pattern',
    (text) => {
      expect(compilePattern(text)).toEqual({ problem: '`**` may stand only as the whole last segment' });
    },
  );
});

describe('the whole value is compared, byte for byte', () => {
  test('neither a prefix nor a suffix matches', () => {
    expect(pattern('abc').matches('abc')).toBe(true);
    for (const value of ['ab', 'abcd', 'xabc', 'abc\n', ' abc', ''])
      expect(pattern('abc').matches(value)).toBe(false);
  });

  test('case matters, and so does how a letter is composed', () => {
    expect(pattern('Finance').matches('finance')).toBe(false);
    expect(pattern('\u00e9').matches('\u00e9')).toBe(true);
    expect(pattern('\u00e9').matches('e\u0301')).toBe(false);
  });

  test('what means something in a regular expression or in a shell means itself', () => {
    for (const text of ['a.c', 'a+', '[ab]', '(a|b)', '^a$', 'a?', '{a,b}', '\\d'])
      expect(pattern(text).matches(text)).toBe(true);
    for (const value of ['abc', 'aa', 'a', 'b', 'ab', '1'])
      for (const text of ['a.c', 'a+', '[ab]', '(a|b)', '^a$', 'a?', '{a,b}', '\\d'])
        expect(pattern(text).matches(value)).toBe(false);
  });

  test('the empty pattern matches the empty value only', () => {
    expect(pattern('').matches('')).toBe(true);
    expect(pattern('').matches('a')).toBe(false);
  });

  test('a pattern keeps its text', () => {
    expect(pattern('a/*').text).toBe('a/*');
  });
});

test('it agrees with a reference that follows the words of the contract', () =>
  withSeed((random) => {
    const seen = { matched: 0, differed: 0, refused: 0 };
    for (let round = 0; round < 20_000; round += 1) {
      const text = textOf(random, ['a', 'b', '*', '/', ':', '*']);
      const value = textOf(random, ['a', 'b', 'a', '/', ':', 'b']);
      const compiled = compilePattern(text);
      if ('problem' in compiled) {
        seen.refused += 1;
        expect(text).toContain('**');
        continue;
      }
      const expected = means(text, value);
      seen[expected ? 'matched' : 'differed'] += 1;
      expect([text, value, compiled.matches(value)]).toEqual([text, value, expected]);
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
  }));

describe('a pattern that was written to be slow ends all the same', () => {
  test.each([
    ['*a'.repeat(200), 'a'.repeat(2048)],
    [`${'*a'.repeat(200)}b`, 'a'.repeat(2048)],
    [`${'*aa'.repeat(300)}*c`, 'a'.repeat(8192)],
    [`${'*:a'.repeat(500)}/**`, ':a'.repeat(2000)],
  ])('%.12s... on a long value', (text, value) => {
    expect(pattern(text).matches(value)).toBe(text.endsWith('a'));
  });

  test('it looks at each place of the value once per star', () => {
    const stars = 100;
    const value = 'a'.repeat(2000);
    const counted = new CountedText(value);
    expect(Reflect.apply(pattern(`${'*a'.repeat(stars)}b`).matches, undefined, [counted])).toBe(false);
    expect(counted.looks).toBeLessThanOrEqual((stars + 1) * (value.length + 1) * 2);
  });
});

/** A text that counts how often it is looked into. */
class CountedText extends String {
  looks = 0;

  override startsWith(search: string, position?: number): boolean {
    this.looks += 1;
    return super.startsWith(search, position);
  }
}

/** The contract read aloud, with no thought of speed. */
function means(text: string, value: string): boolean {
  if (text === '') return value === '';
  if (text === '/**') return value.startsWith('/') && value.length > 1;
  const rest = text.slice(1);
  if (text.startsWith('*'))
    return means(rest, value) || (/^[^/:]/.test(value) && means(text, value.slice(1)));
  return value.startsWith(text.charAt(0)) && means(rest, value.slice(1));
}

function textOf(random: Random, letters: readonly [string, ...string[]]): string {
  return Array.from({ length: random.below(8) }, () => random.pick(letters)).join('');
}

test('the same seed gives the same cases', () => {
  const letters = ['a', 'b', '*'] as const;
  expect(textOf(seededRandom(7), [...letters])).toBe(textOf(seededRandom(7), [...letters]));
});

describe('within another pattern', () => {
  test.each([
    ['a/b', 'a/b', true],
    ['a/b', 'a/*', true],
    ['a/b/c', 'a/**', true],
    ['a/b/**', 'a/**', true],
    ['a/*', 'a/*', true],
    ['a/x*', 'a/*', true],
    ['a/*/c', 'a/*/c', true],
    ['a/*x', 'a/*', true],
    ['a/**', 'a/*', false],
    ['a/**', 'a/b/**', false],
    ['a/*', 'a/b', false],
    ['a/*', 'a/b*', false],
    // `a/` lies within the first only.
    ['a/*', 'a/**', false],
    ['a*/b', 'a/b', false],
    ['b/**', 'a/**', false],
    ['a/\u0001', 'a/*', false],
    ['a/**/b', 'a/**', false],
  ])('%s in %s: %s', (inner, outer, within) => {
    expect(patternWithin(inner, outer)).toBe(within);
  });

  test('whatever the inner one matches, the outer one does', () =>
    withSeed((random) => {
      let seen = 0;
      for (let round = 0; round < 30_000; round += 1) {
        const [inner, outer] = [patternOf(random), patternOf(random)];
        const [small, large] = [compilePattern(inner), compilePattern(outer)];
        if (!('matches' in small) || !('matches' in large) || !patternWithin(inner, outer)) continue;
        const rest = inner.replace(/\*\*$/, () => `x${textOf(random, ['a', '/', ':'])}`);
        const value = rest.replaceAll('*', () => textOf(random, ['a', 'b']));
        if (!small.matches(value)) continue;
        seen += 1;
        if (!large.matches(value)) throw new Error(`${value} is in ${inner}, not in ${outer}`);
      }
      expect(seen).toBeGreaterThan(100);
    }));
});

function patternOf(random: Random): string {
  return textOf(random, ['a', 'b', '/', ':', '*', 'a']).slice(0, 5) + (random.below(3) === 0 ? '/**' : '');
}
