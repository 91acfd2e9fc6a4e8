import { expect, test } from '@jest/globals';
import { ConfigError, completeConfig } from './config.ts';

const signIn = { signInIssuer: 'corp-sso', signInClientId: 'mayfly' };

function problemsOf(values: Record<string, unknown>): readonly string[] {
  try {
    completeConfig(values);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test('sign-in is off unless it is configured, and needs issuer and client together', () => {
  expect(completeConfig({}).signInIssuer).toBeUndefined();
  expect(problemsOf(signIn)).toEqual([]);
  const together = 'signInIssuer and signInClientId belong together';
  expect(problemsOf({ signInIssuer: 'corp-sso' })).toEqual([together]);
  expect(problemsOf({ signInClientId: 'mayfly' })).toEqual([together]);
  expect(problemsOf({ signInClientSecret: '/run/secret' })).toHaveLength(1);
  expect(problemsOf({ signInRedirectUris: ['https://console.example/cb'] })).toHaveLength(1);
});

test('a client secret is only ever a reference', () => {
  expect(completeConfig({ ...signIn, signInClientSecret: '/run/secret' }).signInClientSecret).toEqual({
    file: '/run/secret',
  });
  expect(completeConfig({ ...signIn, signInClientSecret: { env: 'S' } }).signInClientSecret).toEqual({
    env: 'S',
  });
  expect(problemsOf({ ...signIn, signInClientSecret: { value: 'hunter2' } })).toHaveLength(1);
});

test.each([
  ['https://console.example/callback', true],
  ['http://127.0.0.1:9000/callback', true],
  ['http://console.example/callback', false],
  ['https://console.example/callback#x', false],
  ['console.example/callback', false],
  ['javascript:alert(1)', false],
])('redirect URI %s: %s', (uri, good) => {
  expect(problemsOf({ ...signIn, signInRedirectUris: [uri] })).toHaveLength(good ? 0 : 1);
});

test('a poll interval is whole seconds, a life within its bounds', () => {
  expect(problemsOf({ ...signIn, signInPollInterval: '1500ms' })).toHaveLength(1);
  expect(problemsOf({ ...signIn, signInLife: '30s' })).toHaveLength(1);
  expect(problemsOf({ ...signIn, signInLife: '13h' })).toHaveLength(1);
});
