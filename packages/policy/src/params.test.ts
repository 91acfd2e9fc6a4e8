import { expect, test } from '@jest/globals';
import { checkParams, compileParam, patternProblem } from './index.ts';

const byPattern = (pattern: string) => compileParam({ pattern, example: 'x' });
const quarter = byPattern('20[0-9]{2}q[1-4]');

test('a pattern is matched against the whole value', () => {
  expect(quarter.accepts('2026q3')).toBe(true);
  expect(quarter.accepts('2026q3-draft')).toBe(false);
  expect(quarter.accepts('x2026q3')).toBe(false);
  expect(quarter.accepts('2026q3\n')).toBe(false);
});

test('an alternative at the top is matched whole on both sides', () => {
  const either = byPattern('a|b');
  expect(either.accepts('a')).toBe(true);
  expect(either.accepts('ax')).toBe(false);
  expect(either.accepts('xb')).toBe(false);
});

test('a value has 1 to 128 characters', () => {
  const any = byPattern('[a-z]*');
  expect(any.accepts('')).toBe(false);
  expect(any.accepts('a'.repeat(128))).toBe(true);
  expect(any.accepts('a'.repeat(129))).toBe(false);
});

test.each(['a/b', 'a:b', 'a b', 'a*b', 'a?b', 'ä', 'a\u0000b', 'a,b', '${x}'])(
  'a wildcard lets no character beyond the plain ones through: %j',
  (value) => {
    expect(byPattern('.*').accepts(value)).toBe(false);
    expect(byPattern('[^q]+').accepts(value)).toBe(false);
    expect(byPattern('(?s:.+?)').accepts(value)).toBe(false);
  },
);

test('a character that the pattern spells is let through', () => {
  expect(byPattern('acme/[a-z]+').accepts('acme/webshop')).toBe(true);
  expect(byPattern('[a-z:]+').accepts('a:b')).toBe(true);
  expect(byPattern('a\\*b').accepts('a*b')).toBe(true);
});

test.each(['.', '..', 'a/../b', '../a', 'a/..', 'a/./b'])(
  'a dot segment is refused, whatever the pattern: %s',
  (value) => {
    expect(byPattern('[a-z./]+').accepts(value)).toBe(false);
  },
);

test('an enum takes its values and nothing else', () => {
  const param = compileParam({ enum: ['acme', 'globex/eu'], example: 'acme' });
  expect(param.accepts('globex/eu')).toBe(true);
  expect(param.accepts('acm')).toBe(false);
  expect(param.accepts('ACME')).toBe(false);
});

test('an integer lies between min and max and has one spelling', () => {
  const param = compileParam({ integer: { min: -1, max: 12 }, example: 3 });
  for (const value of ['-1', '0', '12']) expect(param.accepts(value)).toBe(true);
  for (const value of ['-2', '13', '03', '+3', '3.0', '-0', '1e1', ' 3', '0x3'])
    expect(param.accepts(value)).toBe(false);
});

test.each(['(?=a)b', '(a)\\1', '[a-', '(', 'a{1,2000}', '(abcdefghij){1,999}'])(
  '%s is no pattern',
  (pattern) => {
    expect(patternProblem(pattern)).not.toBeNull();
  },
);

test('a pattern that backtracks elsewhere is linear here', () => {
  const evil = byPattern('(a+)+b');
  expect(evil.accepts(`${'a'.repeat(127)}c`)).toBe(false);
  expect(patternProblem('(a+)+b')).toBeNull();
});

const specs = {
  quarter,
  repo: compileParam({ pattern: 'acme/[a-z]+', from: 'workload.claims.repository', example: 'acme/x' }),
};
const claims = { repository: 'acme/webshop', groups: ['a'] };

test('settles declared parameters, those of claims from the claims', () => {
  expect(checkParams(specs, { quarter: '2026q3' }, claims)).toEqual({
    ok: true,
    params: { quarter: '2026q3', repo: 'acme/webshop' },
  });
});

test.each([
  ['undeclared', { quarter: '2026q3', secret: 'hunter2' }, claims],
  ['inherited', { quarter: '2026q3', toString: 'hunter2' }, claims],
  ['chosen though a claim gives it', { quarter: '2026q3', repo: 'acme/hunter2' }, claims],
  ['missing', {}, claims],
  ['misfit', { quarter: 'hunter2' }, claims],
  ['without its claim', { quarter: '2026q3' }, {}],
  ['with a claim that is a list', { quarter: '2026q3' }, { repository: ['acme/webshop'] }],
  ['with a claim that does not fit', { quarter: '2026q3' }, { repository: 'evil/hunter2' }],
] as const)('refuses a parameter %s and never echoes a value', (_, given, proven) => {
  const checked = checkParams(specs, given, proven);
  expect(checked.ok).toBe(false);
  expect(JSON.stringify(checked)).not.toContain('hunter2');
});
