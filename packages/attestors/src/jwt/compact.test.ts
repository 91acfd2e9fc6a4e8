import { expect, test } from '@jest/globals';
import { compact, makeKey, part } from '@mayfly/testkit';
import { attestorOptions, outcome } from '../../test/issuer.ts';
import { parseCompact } from './compact.ts';

const limits = attestorOptions().token;
const tokenCharactersMax = limits.charactersMax;

const key = makeKey('ES256', 'k1');
const header = { alg: 'ES256', kid: 'k1', typ: 'JWT' };
const payload = { iss: 'https://issuer.test', sub: 'a' };
const good = compact(header, payload, key);
const [head = '', body = '', signature = ''] = good.split('.');
const refusal = (token: string) => outcome(() => parseCompact(token, limits));
const withHeader = (more: object) => compact({ ...header, ...more }, payload, key);
const withText = (text: string | Buffer, where: 'header' | 'payload') =>
  where === 'header' ? compact(text, payload, key) : compact(header, text, key);

test('reads header, payload and the signed bytes of a compact JWS', () => {
  expect(parseCompact(good, limits)).toEqual({ header, payload, signed: `${head}.${body}` });
});

test.each([
  ['flattened JSON serialisation', JSON.stringify({ protected: head, payload: body, signature })],
  [
    'general JSON serialisation',
    JSON.stringify({ payload: body, signatures: [{ protected: head, signature }] }),
  ],
  ['a JWE of five parts', `${head}.${body}.${body}.${body}.${signature}`],
  ['four parts', `${good}.${signature}`],
  ['two parts', `${head}.${body}`],
  ['one part', head],
  ['nothing', ''],
  ['an empty signature', `${head}.${body}.`],
  ['dots alone', '..'],
])('refuses another serialisation: %s', async (_, token) => {
  expect(await refusal(token)).toBe('assertion_invalid: not a compact JWS of three parts');
});

const loose = (text: string) => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // A 64-byte signature ends in 4 bits that mean nothing: another last character has the same bytes.
  return text.slice(0, -1) + alphabet.charAt(alphabet.indexOf(text.slice(-1)) + 1);
};

test('the loose spelling of this suite decodes to the same bytes, so that only the spelling is refused', () => {
  expect(loose(signature)).not.toBe(signature);
  expect(Buffer.from(loose(signature), 'base64url')).toEqual(Buffer.from(signature, 'base64url'));
});

test.each([
  ['an empty header', `.${body}.${signature}`],
  ['an empty payload', `${head}..${signature}`],
  ['padding after the signature', `${good}==`],
  ['padding inside', `${head}=.${body}.${signature}`],
  ['white space before', ` ${good}`],
  ['white space after', `${good} `],
  ['a line end after', `${good}\n`],
  ['a line end inside a part', `${head}.${body.slice(0, 8)}\n${body.slice(8)}.${signature}`],
  ['white space between parts', `${head}. ${body}.${signature}`],
  ['loose tail bits of the signature', `${head}.${body}.${loose(signature)}`],
  ['the alphabet of base64', `${head}.${body}.${signature.slice(0, -4)}+/aa`],
  ['a part of impossible length', `${head}.${body}.${'A'.repeat(85)}`],
  ['characters beyond ASCII', `${head}.${body}.${signature.slice(0, -1)}Ａ`],
  ['NUL', `${head}.${body}.${signature}\u0000`],
])('refuses a second spelling of the same bytes: %s', async (_, token) => {
  expect(await refusal(token)).toBe('assertion_invalid: not canonical base64url');
});

test.each(['jku', 'x5u', 'jwk', 'x5c', 'crit', 'b64', 'zip', 'enc', 'epk', 'p2c', 'iss', 'nonce', 'KID'])(
  'refuses the header member %s',
  async (member) => {
    for (const value of ['https://evil.test', [], {}, false, null])
      expect(await refusal(withHeader({ [member]: value }))).toBe(
        'assertion_invalid: header member not accepted',
      );
  },
);

test('refuses the header member __proto__', async () => {
  expect(await refusal(compact('{"alg":"ES256","__proto__":{"kid":"k2"}}', payload, key))).toBe(
    'assertion_invalid: header member not accepted',
  );
});

test('takes the header members that name a key or a type', async () => {
  expect(await refusal(withHeader({ cty: 'JWT', x5t: 'a', 'x5t#S256': 'b' }))).toBe('accepted');
});

const places = ['header', 'payload'] as const;

refusesEach('refuses a duplicate key', [
  ['plain', '{"alg":"ES256","alg":"none"}', 'duplicate key'],
  ['escaped', '{"alg":"ES256","\\u0061lg":"none"}', 'duplicate key'],
  ['nested', '{"kid":{"a":1,"a":2}}', 'duplicate key'],
]);
refusesEach('refuses what is no strict JSON', [
  ['not JSON', '{', 'not JSON'],
  ['a trailing comma', '{"alg":"ES256",}', 'not JSON'],
  ['a byte order mark', '\ufeff{"alg":"ES256"}', 'not JSON'],
  ['two objects', '{"alg":"ES256"}{}', 'not JSON'],
  ['1e400', '{"exp":1e400}', 'number out of range'],
  ['NUL', '{"kid":"\\u0000"}', 'text with NUL or a lone surrogate'],
  ['NUL in a key', '{"\\u0000":1}', 'text with NUL or a lone surrogate'],
  ['a lone surrogate', '{"kid":"\\ud800"}', 'text with NUL or a lone surrogate'],
  ['nine levels', `{"kid":${'['.repeat(8)}1${']'.repeat(8)}}`, 'nested too deeply'],
  ['a thousand levels', `${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`, 'nested too deeply'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'not UTF-8'],
  ['overlong UTF-8', Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]), 'not UTF-8'],
  ['a surrogate as UTF-8', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]), 'not UTF-8'],
  ['an array', '[]', 'not an object'],
  ['text', '"x"', 'not an object'],
  ['null', 'null', 'not an object'],
]);

function refusesEach(claim: string, rows: readonly (readonly [string, string | Buffer, string])[]): void {
  for (const where of places)
    test.each(rows)(`${claim} in the ${where}: %s`, async (_, text, detail) => {
      expect(await refusal(withText(text, where))).toBe(`assertion_invalid: ${detail}`);
    });
}

test('takes eight levels', async () => {
  expect(await refusal(withText(`{"a":${'['.repeat(7)}1${']'.repeat(7)}}`, 'payload'))).toBe('accepted');
});

test('takes a token of the greatest length and refuses one more character', async () => {
  const frame = `${head}..${signature}`.length + part({ a: '' }).length;
  const fill = (length: number) => `${head}.${part({ a: 'x'.repeat(length) })}.${signature}`;
  let length = Math.floor(((tokenCharactersMax - frame) * 3) / 4);
  while (fill(length + 1).length <= tokenCharactersMax) length += 1;
  expect(tokenCharactersMax - fill(length).length).toBeLessThan(3);
  expect(await refusal(fill(length))).toBe('accepted');
  expect(await refusal(fill(length + 3))).toBe('assertion_invalid: too long');
});

test('a token of megabytes is refused by its length alone', async () => {
  expect(await refusal('.'.repeat(50_000_000))).toBe('assertion_invalid: too long');
});
