import { expect, test } from '@jest/globals';
import { completeConfig } from '../config.ts';
import { mergeMetadata, resourceParts, serverParts } from './metadata-parts.ts';

test('lists of two features are joined, each value once', () => {
  expect(
    mergeMetadata([
      { grant_types_supported: ['a', 'b'] },
      { grant_types_supported: ['b', 'c'], authorization_endpoint: 'https://m.example/auth' },
    ]),
  ).toEqual({ grant_types_supported: ['a', 'b', 'c'], authorization_endpoint: 'https://m.example/auth' });
});

test('objects are joined, and the later part adds to them', () => {
  expect(mergeMetadata([{ aliases: { a: '1' } }, { aliases: { b: '2' } }])).toEqual({
    aliases: { a: '1', b: '2' },
  });
});

test('two parts that disagree are never published', () => {
  for (const [one, other] of [
    ['https://m.example/token', 'https://m.example/other'],
    [true, false],
    ['text', ['text']],
    [['list'], { a: 'object' }],
  ] as const)
    expect(() => mergeMetadata([{ member: one }, { member: other }])).toThrow('two parts disagree on member');
});

test('the parts that are there agree, and every address begins with the issuer', () => {
  const config = completeConfig({ issuer: 'https://mayfly.example' });
  for (const parts of [serverParts, resourceParts])
    expect(JSON.stringify(mergeMetadata(parts.map((part) => part(config))))).not.toMatch(
      /https:\/\/(?!mayfly\.example)/,
    );
});
