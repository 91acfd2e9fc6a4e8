import { expect, test } from '@jest/globals';
import { compact, makeKey } from '@mayfly/testkit';
import { attestorOptions } from '../test/issuer.ts';
import { issuerOf } from './route.ts';

const key = makeKey('ES256', 'k');
const { token } = attestorOptions();
const registered = ['https://issuer.test', 'spiffe://prod.example'];
const route = (text: string) => issuerOf(text, { token, isRegistered: (iss) => registered.includes(iss) });
const jwt = (payload: unknown, header: object = {}) =>
  compact({ alg: 'ES256', kid: 'k', ...header }, payload, key);
const sub = 'spiffe://prod.example/ns/finance/sa/reconciler';

test('an assertion goes to its exact iss', () => {
  expect(route(jwt({ iss: 'https://issuer.test' }))).toBe('https://issuer.test');
  expect(route(jwt({ iss: 'https://stranger.test' }))).toBe('https://stranger.test');
});

test('a SPIFFE subject goes to its trust domain unless its iss is registered', () => {
  expect(route(jwt({ sub }))).toBe('spiffe://prod.example');
  expect(route(jwt({ sub, iss: 'https://oidc.prod.example' }))).toBe('spiffe://prod.example');
  expect(route(jwt({ sub, iss: 'https://issuer.test' }))).toBe('https://issuer.test');
  expect(route(jwt({ sub: 'spiffe://other.example/a', iss: 7 }))).toBe('spiffe://other.example');
});

test.each([
  'spiffe://prod.example',
  'spiffe://prod.example/',
  'spiffe://prod.example//a',
  'spiffe://prod.example/a/',
  'spiffe://prod.example/../a',
  'spiffe://prod.example/./a',
  'spiffe://prod.example/a%2fb',
  'spiffe://prod.example/a?b',
  'spiffe://prod.example/a#b',
  'spiffe://PROD.example/a',
  'spiffe://prod.example:8443/a',
  'spiffe://user@prod.example/a',
  'SPIFFE://prod.example/a',
  'https://prod.example/a',
  7,
])('%j is no SPIFFE ID of a workload, and leads nowhere', (other) => {
  expect(route(jwt({ sub: other }))).toBeUndefined();
});

test('what is no well-formed assertion leads nowhere', () => {
  const text = jwt({ iss: 'https://issuer.test', sub });
  for (const other of ['', 'a.b.c', `${text} `, jwt({ iss: 7 }), jwt({ sub }, { jku: 'https://evil.test' })])
    expect(route(other)).toBeUndefined();
});
