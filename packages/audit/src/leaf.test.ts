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

test('numbers and text are spelled as RFC 8785 says', () => {
  expect(canonicalText([-0, 1e21, 0.000001, 1e-7, 100])).toBe('[0,1e+21,0.000001,1e-7,100]');
  expect(canonicalText('\u20ac$\u000f\nA\'B"\\/')).toBe('"\u20ac$\\u000f\\nA\'B\\"\\\\/"');
});

test('keys are ordered by UTF-16 code units, at every depth, and lists are left as they are', () => {
  const value = {
    '\u20ac': 1,
    '\r': 2,
    '\ufb33': 3,
    '1': 4,
    '\u{1f600}': 5,
    '\u0080': 6,
    ö: { b: [2, 1], a: 0 },
  };
  expect(canonicalText(value)).toBe(
    '{"\\r":2,"1":4,"\u0080":6,"ö":{"a":0,"b":[2,1]},"\u20ac":1,"\u{1f600}":5,"\ufb33":3}',
  );
});

test('what JSON cannot hold is refused, not left out', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, undefined, () => 1, Symbol('x')])
    expect(() => canonicalText(value)).toThrow();
});

test('a leaf is not the hash of its bytes alone, so that no inner node can pass for it', () => {
  const bytes = Buffer.from('a');
  expect(leafHash(bytes).toString('hex')).toBe(
    '022a6979e6dab7aa5ae4c3e5e45f7e977112a7e63593820dbec1ec738a24f93c',
  );
  expect(leafHash(bytes).equals(leafHash(Buffer.from('b')))).toBe(false);
});

test('a stored hash of the wrong length, and an empty log, are told apart', () => {
  const body = Buffer.from('a');
  expect(firstEdited([])).toBeNull();
  expect(firstEdited([{ seq: 4n, body, leafHash: leafHash(body).subarray(0, 31) }])).toBe(4n);
  expect(firstEdited([{ seq: 4n, body, leafHash: Buffer.alloc(0) }])).toBe(4n);
});

test('of several edited rows the first is named', () => {
  const edited = (seq: bigint) => ({ seq, body: Buffer.from('x'), leafHash: leafHash(Buffer.from('a')) });
  expect(firstEdited([edited(2n), edited(3n)])).toBe(2n);
});
