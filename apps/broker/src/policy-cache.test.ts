import { expect, test } from '@jest/globals';
import type { Documents } from '@mayfly/store';
import { attestorOptions } from './attesting.ts';
import { completeConfig } from './config.ts';
import { createPolicyCache } from './policy-cache.ts';

const config = completeConfig({ issuer: 'https://mayfly.example' });
const url = (name: string) => `https://${name}.example`;

/** Documents in memory that trust these issuers; each write raises the epoch. */
function trusting(...names: readonly string[]) {
  const state = { epoch: 1, recovered: 0, names, maxLifetime: '1h' };
  const unused = () => Promise.reject(new Error('not asked for here'));
  const documents: Documents = {
    load: async () => ({
      epoch: state.epoch,
      recovered: state.recovered,
      freezes: [],
      documents: state.names.map((name) => ({
        kind: 'TrustedIssuer',
        name,
        version: 1,
        set: 'test',
        body: {
          apiVersion: 'mayfly/v1',
          kind: 'TrustedIssuer',
          metadata: { name },
          spec: { type: 'oidc', issuer: url(name), subjects: ['a'], maxLifetime: state.maxLifetime },
        },
      })),
    }),
    readEpoch: async () => ({ epoch: state.epoch, isOlder: false, hasCuts: false }),
    version: unused,
    history: unused,
    apply: unused,
    freeze: unused,
    thaw: unused,
    freezeStatus: unused,
  };
  return {
    documents,
    write: (change: Partial<typeof state>) => Object.assign(state, change, { epoch: state.epoch + 1 }),
  };
}

const cacheOf = ({ documents }: { documents: Documents }, attestorsMax = 10) =>
  createPolicyCache({
    store: { documents },
    brokerIssuer: config.issuer,
    attestors: attestorOptions(config),
    attestorsMax,
    onLoad: async () => undefined,
  });

test('there is an attestor for each trusted issuer and for no other', async () => {
  const cache = cacheOf(trusting('a', 'b'));
  await cache.current();
  expect(cache.attestor(url('a'))?.issuer).toBe(url('a'));
  expect(cache.attestor(url('c'))).toBeUndefined();
});

test('an attestor is kept, with its keys, until its own document changes or goes', async () => {
  const world = trusting('a', 'b');
  const cache = cacheOf(world);
  await cache.current();
  const first = cache.attestor(url('a'));
  world.write({ names: ['a', 'b', 'c'] });
  await cache.refresh();
  expect(cache.attestor(url('a'))).toBe(first);
  world.write({ maxLifetime: '5m' });
  await cache.refresh();
  const second = cache.attestor(url('a'));
  expect(second).not.toBe(first);
  world.write({ names: ['b'] });
  await cache.refresh();
  expect(cache.attestor(url('a'))).toBeUndefined();
  world.write({ names: ['a', 'b'] });
  await cache.refresh();
  expect(cache.attestor(url('a'))).not.toBe(second);
});

test('no more attestors are kept than the setting says; the one made first goes', async () => {
  const cache = cacheOf(trusting('a', 'b', 'c'), 2);
  await cache.current();
  const [a, b] = [cache.attestor(url('a')), cache.attestor(url('b'))];
  expect(cache.attestor(url('a'))).toBe(a);
  cache.attestor(url('c'));
  expect(cache.attestor(url('b'))).toBe(b);
  expect(cache.attestor(url('a'))).not.toBe(a);
});
