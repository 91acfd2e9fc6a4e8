import { describe, expect, test } from '@jest/globals';
import { pattern } from '@mayfly/testkit';
import { type Identity, matchesSubject, ownerOf, type SubjectMatch, workloadName } from './workload.ts';

const identity: Identity = {
  issuer: 'https://k8s.example',
  issuerName: 'prod-k8s',
  subject: 'system:serviceaccount:finance:reconciler',
  claims: {
    sub: 'system:serviceaccount:finance:reconciler',
    groups: ['auditors', 'finance'],
    env: 'prod',
    nothing: [],
  },
};

function entry(match: Readonly<Record<string, readonly string[]>>, issuerName = 'prod-k8s'): SubjectMatch {
  const compiled = Object.entries(match).map(([claim, texts]) => [claim, texts.map(pattern)] as const);
  return { issuerName, match: Object.fromEntries(compiled), bind: [] };
}

test('a workload is written issuer name, slash, subject', () => {
  expect(workloadName(identity)).toBe('prod-k8s/system:serviceaccount:finance:reconciler');
});

describe('an entry matches', () => {
  test.each([
    ['its claim', { sub: ['system:serviceaccount:finance:*'] }],
    ['any of its alternatives', { env: ['dev', 'prod'] }],
    ['all of its claims', { env: ['prod'], sub: ['system:serviceaccount:*:reconciler'] }],
    ['one element of an array claim', { groups: ['finance'] }],
  ])('%s', (_, match) => {
    expect(matchesSubject(entry(match), identity)).toBe(true);
  });
});

describe('an entry does not match', () => {
  test.each([
    ['another value', { env: ['dev'] }],
    ['when one of its claims differs', { env: ['prod'], sub: ['someone'] }],
    ['a missing claim, whatever its pattern', { team: ['*'] }],
    ['a claim of every object', { constructor: ['*'], env: ['prod'] }],
    ['an array claim without elements', { nothing: ['*'] }],
    ['the elements joined', { groups: ['auditors,finance'] }],
    ['when it names nothing', {}],
    ['a claim without patterns', { env: [] }],
    ['another case', { env: ['PROD'] }],
  ])('%s', (_, match) => {
    expect(matchesSubject(entry(match), identity)).toBe(false);
  });

  test('the same claims of another issuer', () => {
    expect(matchesSubject(entry({ env: ['prod'] }, 'dev-k8s'), identity)).toBe(false);
  });
});

describe('an owner is issuer, subject and the bound claims', () => {
  const pod: Identity = {
    issuer: 'https://k8s.example',
    issuerName: 'k8s',
    subject: 'a',
    claims: { sub: 'a', pod: 'p1', run: 'r1' },
  };

  test('the order of the bound claims does not matter', () => {
    expect(ownerOf(pod, ['pod', 'run'])).toBe(ownerOf(pod, ['run', 'pod']));
  });

  test('a claim that is not bound does not matter', () => {
    expect(ownerOf({ ...pod, claims: { ...pod.claims, run: 'r2' } }, ['pod'])).toBe(ownerOf(pod, ['pod']));
  });

  test.each([
    ['another issuer', { ...pod, issuerName: 'k9s' }],
    ['another issuer under the same name', { ...pod, issuer: 'https://k9s.example' }],
    ['another subject', { ...pod, subject: 'b' }],
    ['another value of a bound claim', { ...pod, claims: { ...pod.claims, pod: 'p2' } }],
    ['a missing bound claim', { ...pod, claims: { sub: 'a' } }],
    ['an array of the same text', { ...pod, claims: { ...pod.claims, pod: ['p1'] } }],
  ])('%s is another owner', (_, other) => {
    expect(ownerOf(other, ['pod'])).not.toBe(ownerOf(pod, ['pod']));
  });

  test('parts cannot be shifted into each other', () => {
    const one = ownerOf({ issuer: 'i', issuerName: 'a', subject: 'b","c', claims: {} }, []);
    const two = ownerOf({ issuer: 'i', issuerName: 'a","b', subject: 'c', claims: {} }, []);
    expect(one).not.toBe(two);
    expect(ownerOf({ issuer: 'i', issuerName: 'a/b', subject: 'c', claims: {} }, [])).not.toBe(
      ownerOf({ issuer: 'i', issuerName: 'a', subject: 'b/c', claims: {} }, []),
    );
  });

  test('the list that binds is not changed', () => {
    const bind = ['run', 'pod'];
    ownerOf(pod, bind);
    expect(bind).toEqual(['run', 'pod']);
  });
});
