import { expect, test } from '@jest/globals';
import { spelledCharacters } from './spelled-characters.ts';

const spelled = (pattern: string) => [...spelledCharacters(pattern)].sort().join('');

test.each([
  ['acme/[a-z]+', '/acemz-'],
  ['a\\*b', '*ab'],
  ['\\Q*?\\E:', '*:?'],
  ['[:/]', '/:'],
  ['[]/]', '/]'],
  ['[\\]x]', ']x'],
] as const)('%s spells what it writes', (pattern, characters) => {
  expect(spelled(pattern)).toBe([...characters].sort().join(''));
});

test.each([
  '.*',
  '.+?',
  '[^/:*]+',
  '\\d{1,3}',
  '\\x2f',
  '\\x{2f}',
  '\\pL',
  '\\p{Greek}',
  '[[:punct:]]',
  '(?s:.)',
  '^.$',
  '\\S',
  '(|)',
])('%s spells nothing', (pattern) => {
  expect(spelled(pattern)).toBe('');
});

test('the inside of a range is not spelled, its ends are', () => {
  const characters = spelledCharacters('[!-~]');
  expect(characters.has('!')).toBe(true);
  expect(characters.has('/')).toBe(false);
});

test('the name of a group is not spelled', () => {
  expect(spelledCharacters('(?P<quarter>x)').has('<')).toBe(false);
});
