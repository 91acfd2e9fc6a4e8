import { expect, test } from '@jest/globals';
import { Misconfigured } from './errors.ts';
import { parseServer } from './server-address.ts';

function reasonOf(text: string): string {
  try {
    parseServer(text);
    return 'taken';
  } catch (error) {
    return error instanceof Misconfigured ? error.reason : 'another error';
  }
}

test.each([
  'https://mayfly.example',
  'https://10.0.0.1:8443/',
  'http://127.0.0.1:8080',
  'http://127.9.9.9',
  'http://localhost:1',
  'http://[::1]:8080',
  'http://2130706433:80',
])('takes %s', (text) => expect(reasonOf(text)).toBe('taken'));

test.each([
  'http://mayfly.example',
  'http://10.0.0.1',
  'http://127.0.0.1.evil.example',
  'http://localhost.evil.example',
  'http://0.0.0.0:8080',
  'http://[::ffff:10.0.0.1]',
])('refuses plain http to %s, which is not loopback', (text) =>
  expect(reasonOf(text)).toBe('server_plain_http'),
);

test.each([
  '',
  'mayfly.example',
  'ftp://mayfly.example',
  'https://user:pass@mayfly.example',
  'https://mayfly.example/v1',
  'https://mayfly.example/?a=b',
  'https://mayfly.example/#x',
])('refuses %s, which is no origin', (text) => expect(reasonOf(text)).toBe('server_invalid'));

test('a password in the address is not quoted', () => {
  expect(() => parseServer('https://user:hunter2@mayfly.example')).not.toThrow(/hunter2/);
});
