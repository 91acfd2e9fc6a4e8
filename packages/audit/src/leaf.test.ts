import { expect, test } from '@jest/globals';
import { canonicalText, digestOf, firstEdited, leafHash } from './leaf.ts';

test('one value has one spelling, whatever the order of its keys', () => {
  expect(canonicalText({ b: 1, a: [true, null, 'é'] })).toBe('{"a":[true,null,"é"],"b":1}');
  expect(digestOf({ b: 1, a: 2 })).toBe(digestOf({ a: 2, b: 1 }));
});

test('refuses what is no JSON value', () => {
  expect(() => canonicalText(undefined)).toThrow(TypeError);
});

test('the leaf of the empty input is that of RFC 6962', () => {
  expect(leafHash(Buffer.alloc(0)).toString('hex')).toBe(
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  );
});

test('names the first row whose bytes were edited, and none of an untouched log', () => {
  const row = (seq: bigint, text: string) => ({
    seq,
    body: Buffer.from(text),
    leafHash: leafHash(Buffer.from(text)),
  });
  const rows = [row(1n, 'a'), row(2n, 'b'), row(3n, 'c')];
  expect(firstEdited(rows)).toBeNull();
  expect(firstEdited(rows.map((one) => (one.seq === 2n ? { ...one, body: Buffer.from('x') } : one)))).toBe(
    2n,
  );
});
