import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { createSeal } from './sign-in-seal.ts';

const secret = randomBytes(32);
const seal = createSeal(() => secret);
const context = { model: 'AccessToken', id: seal.idOf('a'), grantId: seal.idOf('g') };

test('a sealed payload opens in its own row and shows nothing before', () => {
  const sealed = seal.seal({ accountId: 'corp-sso/jane' }, context);
  expect(Buffer.from(sealed).includes('jane')).toBe(false);
  expect(seal.open(sealed, context)).toEqual({ accountId: 'corp-sso/jane' });
  expect(Buffer.from(seal.seal({ accountId: 'corp-sso/jane' }, context)).equals(sealed)).toBe(false);
});

test.each([
  ['another row', { ...context, id: seal.idOf('b') }],
  ['another kind of row', { ...context, model: 'Person' }],
  ['the grant of somebody else', { ...context, grantId: seal.idOf('h') }],
  ['no grant', { ...context, grantId: null }],
])('a payload moved to %s does not open', (_, moved) => {
  const sealed = seal.seal({ accountId: 'corp-sso/jane' }, context);
  expect(() => seal.open(sealed, moved)).toThrow();
});

test('neither another secret nor a changed byte opens it', () => {
  const sealed = seal.seal({ accountId: 'corp-sso/jane' }, context);
  expect(() => createSeal(() => randomBytes(32)).open(sealed, context)).toThrow();
  for (const at of [0, 12, 28, sealed.length - 1]) {
    const changed = new Uint8Array(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(() => seal.open(changed, context)).toThrow();
  }
});

test('the index of a user code depends on the secret and on what it is an index of', () => {
  const other = createSeal(() => randomBytes(32));
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  expect(hex(seal.indexOf('user_code', 'BCDFGHJK'))).toBe(hex(seal.indexOf('user_code', 'BCDFGHJK')));
  expect(hex(other.indexOf('user_code', 'BCDFGHJK'))).not.toBe(hex(seal.indexOf('user_code', 'BCDFGHJK')));
  expect(hex(seal.indexOf('uid', 'BCDFGHJK'))).not.toBe(hex(seal.indexOf('user_code', 'BCDFGHJK')));
});
