import { expect, test } from '@jest/globals';
import { attestorOptions, fetchLimits, outcome } from '../../test/issuer.ts';
import { accessTo } from './key-source.ts';

const token = 'eyJh.eyJz.c2ln';
const files: Readonly<Record<string, string>> = {
  '/run/token': `${token}\n`,
  '/etc/ca.pem': 'PEM',
  '/etc/mayfly/key-encryption-key': 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA= \n',
};
const origin = 'https://10.0.0.1:6443';
const options = attestorOptions({
  fetch: fetchLimits(),
  tokenFiles: [{ origin, file: '/run/token' }],
  readFile: async (path) => files[path] ?? Promise.reject(new Error(`ENOENT: ${path}`)),
});
const access = (url: string, tokenFile: string | null, caFile: string | null = null) =>
  accessTo(url, { tokenFile, caFile }, options);

test('without files nothing is shown and the usual authorities hold', async () => {
  const plain = await access(`${origin}/openid/v1/jwks`, null);
  expect(plain.bearer).toBeUndefined();
  expect(plain.ca).toBeUndefined();
});

test('a token is read and shown to the origin that the operator named', async () => {
  expect(await access(`${origin}/openid/v1/jwks`, '/run/token', '/etc/ca.pem')).toMatchObject({
    bearer: token,
    ca: 'PEM',
  });
});

test.each([
  'https://evil.example/keys',
  'https://10.0.0.1/keys',
  'https://10.0.0.1:6443.evil.example/keys',
  'http://10.0.0.1:6443/keys',
  'https://10.0.0.1:6443@evil.example/keys',
  'nonsense',
])('a token is shown to no other origin, whoever names it: %s', async (url) => {
  expect(await outcome(() => access(url, '/run/token'))).toBe(
    'issuer_unavailable (none): issuer: tokenFile is not allowed for this origin',
  );
});

test('no other file of the disk is shown, though a document names it', async () => {
  for (const file of ['/etc/mayfly/key-encryption-key', '/etc/ca.pem', '/run/../run/token'])
    expect(await outcome(() => access(`${origin}/keys`, file))).toBe(
      'issuer_unavailable (none): issuer: tokenFile is not allowed for this origin',
    );
});

test('what is no bearer token stays here', async () => {
  const told = { ...options, tokenFiles: [{ origin, file: '/etc/two-lines' }] };
  for (const text of ['two words', 'a\nb', '', 'a\r\nx-header: 1'])
    expect(
      await outcome(() =>
        accessTo(
          `${origin}/keys`,
          { tokenFile: '/etc/two-lines', caFile: null },
          { ...told, readFile: async () => text },
        ),
      ),
    ).toBe('issuer_unavailable (none): issuer: tokenFile holds no token');
});

test('a file that cannot be read is a fault', async () => {
  expect(await outcome(() => access(`${origin}/keys`, null, '/etc/absent.pem'))).toBe(
    'issuer_unavailable (none): issuer: caFile unreadable',
  );
});
