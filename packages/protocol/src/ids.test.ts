import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { bareId, formatId, idPrefixes, parseId, uuidTime, uuidV7 } from './ids.ts';

const uuid = '019ab3c4-d5e6-7f80-9a1b-2c3d4e5f6071';
const bare = '01KASW9NF6FY09M6SC7N75YR3H';
const zero = '00000000-0000-0000-0000-000000000000';
const full = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

test('an id is shown as its prefix and 26 characters', () => {
  expect(bareId(uuid)).toBe(bare);
  expect(formatId('tsk', uuid)).toBe(`tsk_${bare}`);
});

test.each([
  ['prefixed', `grt_${bare}`],
  ['prefixed, lower case', `grt_${bare.toLowerCase()}`],
  ['bare', bare],
  ['bare, lower case', bare.toLowerCase()],
  ['UUID', uuid],
  ['UUID, upper case', uuid.toUpperCase()],
])('every accepted spelling gives the same UUID: %s', (_, spelling) => {
  expect(parseId('grt', spelling)).toBe(uuid);
});

test.each(idPrefixes)('%s: an id of another kind is refused', (prefix) => {
  expect(parseId(prefix, formatId(prefix, uuid))).toBe(uuid);
  for (const other of idPrefixes)
    if (other !== prefix) expect(parseId(prefix, formatId(other, uuid))).toBeUndefined();
});

test.each([
  ['empty', ''],
  ['only a prefix', 'tsk_'],
  ['25 characters', bare.slice(1)],
  ['27 characters', `${bare}0`],
  ['the letter U, which is not in the alphabet', `${bare.slice(0, -1)}U`],
  ['I, which Crockford reads as 1', `${bare.slice(0, -1)}I`],
  ['O, which Crockford reads as 0', `${bare.slice(0, -1)}O`],
  ['more than 128 bits', `8${bare.slice(1)}`],
  ['two prefixes', `tsk_tsk_${bare}`],
  ['a prefix in upper case', `TSK_${bare}`],
  ['white space before', ` ${bare}`],
  ['a line end after', `${bare}\n`],
  ['a line end after the UUID', `${uuid}\n`],
  ['a UUID in braces', `{${uuid}}`],
  ['a UUID without dashes', uuid.replaceAll('-', '')],
  ['a prefixed UUID', `tsk_${uuid}`],
  ['a letter whose upper case is S', `${bare.slice(0, -1)}ſ`],
  ['a letter whose upper case is SS', `${bare.slice(0, -2)}ß`],
  ['a letter whose lower case is k', `${bare.slice(0, -1)}\u212a`],
  ['full-width digits', `${bare.slice(0, -1)}０`],
])('what is no id is refused: %s', (_, text) => {
  expect(parseId('tsk', text)).toBeUndefined();
});

test('the smallest and the largest UUID round-trip', () => {
  expect(bareId(zero)).toBe('0'.repeat(26));
  expect(bareId(full)).toBe(`7${'Z'.repeat(25)}`);
  for (const one of [zero, full]) expect(parseId('evt', formatId('evt', one))).toBe(one);
});

test('any UUID round-trips, and ids sort as their UUIDs do', () => {
  const uuids = Array.from({ length: 500 }, (_, index) => uuidV7(1_795_000_000_000 + index, randomBytes(10)));
  expect(uuids.map((one) => parseId('isn', formatId('isn', one)))).toEqual(uuids);
  expect(uuids.map(bareId)).toEqual(uuids.map(bareId).sort());
});

test('a UUIDv7 holds its time, version 7 and the RFC variant, and every random bit beside them', () => {
  const low = uuidV7(0x019ab3c4d5e6, new Uint8Array(10));
  const high = uuidV7(0x019ab3c4d5e6, new Uint8Array(10).fill(255));
  expect(low).toBe('019ab3c4-d5e6-7000-8000-000000000000');
  expect(high).toBe('019ab3c4-d5e6-7fff-bfff-ffffffffffff');
  for (const one of [low, high]) expect(uuidTime(one)).toEqual(new Date(0x019ab3c4d5e6));
});

test('a UUIDv7 takes the whole 48 bits of milliseconds and nothing beyond', () => {
  const random = new Uint8Array(10);
  expect(uuidTime(uuidV7(0, random)).getTime()).toBe(0);
  expect(uuidV7(2 ** 48 - 1, random).startsWith('ffffffff-ffff-7')).toBe(true);
  expect(uuidV7(1.9, random)).toBe(uuidV7(1, random));
  for (const time of [2 ** 48, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => uuidV7(time, random)).toThrow(RangeError);
});

test('a UUIDv7 of too little randomness is refused', () => {
  expect(() => uuidV7(0, new Uint8Array(9))).toThrow(RangeError);
});
