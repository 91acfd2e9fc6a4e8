import { describe, expect, test } from '@jest/globals';
import { resolveVariables, type VariableValues, variablesOf } from './variables.ts';

const values: VariableValues = {
  params: { quarter: '2026q3', month: '07' },
  claims: { team: 'finance', groups: ['a', 'b'] },
  taskId: '01K0000000000000000000000A',
};

describe('variables', () => {
  test('parameters, claims and the task id are put where they stand', () => {
    const text = 'arn:${workload.claims.team}/${params.quarter}/${params.month}/${task.id}/**';
    expect(resolveVariables(text, values)).toBe('arn:finance/2026q3/07/01K0000000000000000000000A/**');
  });

  test('a text without variables stays as it is', () => {
    expect(resolveVariables('a/$x/{y}/**', values)).toBe('a/$x/{y}/**');
  });

  test('the names used are listed in order', () => {
    expect(variablesOf('${params.b}/${params.a}/x/${task.id}')).toEqual(['params.b', 'params.a', 'task.id']);
    expect(variablesOf('none')).toEqual([]);
  });

  test.each([
    '${params.other}',
    '${workload.claims.other}',
    '${workload.claims.groups}',
    '${params.toString}',
    '${params.constructor}',
    '${params.__proto__}',
    '${workload.claims.constructor}',
    '${task.owner}',
    '${quarter}',
    '${}',
    '${ params.quarter }',
    '${workload.subject}',
    '${params.quarter',
    'a${',
    '${${params.quarter}}',
  ])('%j has no value', (text) => {
    expect(resolveVariables(`a/${text}`, values)).toBeUndefined();
  });
});

describe('a value that could widen the resource it stands in has no place there', () => {
  const put = (value: string) => resolveVariables('a/${params.x}/b', { ...values, params: { x: value } });

  test.each([
    '',
    '*',
    'a*',
    '?',
    '$',
    '${task.id}',
    ',',
    '{',
    '}',
    '\\',
    '.',
    '..',
    '../b',
    'a/..',
    'a/./b',
    './a',
  ])('not %j', (value) => {
    expect(put(value)).toBeUndefined();
  });

  test.each(['\0', 'a\nb', '\u007f', '\u0085', '\ud800', 'a\udfff'])('not %j', (value) => {
    expect(put(value)).toBeUndefined();
  });

  test.each(['a', '2026q3', 'a.b', '..a', 'a..', '...', 'a/b', 'a:b', 'a@b+c=d', '\u00e9', '\u{1f600}'])(
    'but %j',
    (value) => {
      expect(put(value)).toBe(`a/${value}/b`);
    },
  );

  test('a claim is held to the same', () => {
    const put = (team: string) =>
      resolveVariables('a/${workload.claims.team}', { ...values, claims: { team } });
    expect(put('finance')).toBe('a/finance');
    expect(put('*')).toBeUndefined();
  });

  test('one bad value spoils the whole text', () => {
    expect(resolveVariables('${params.quarter}/${params.other}', values)).toBeUndefined();
  });
});
