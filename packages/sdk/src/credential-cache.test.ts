import { expect, test } from '@jest/globals';
import { CredentialCache, type Issued } from './credential-cache.ts';
import { Secret } from './secret.ts';
import { FakeClock } from './testing/fake-clock.ts';

function setUp(lifeMs = 60_000) {
  const clock = new FakeClock();
  const cache = new CredentialCache(clock);
  let asked = 0;
  const issue = async (): Promise<Issued> => ({
    credential: new Secret(`credential ${++asked}`),
    issuedTokenType: 't',
    tokenType: 'N_A',
    issuanceId: 'isn_1',
    sentAt: clock.now(),
    lifeMs,
  });
  return { clock, cache, issue, asked: () => asked };
}

test('answers from memory while more than a fifth of the life is left, and not after', async () => {
  const { clock, cache, issue, asked } = setUp(60_000);
  await cache.get('a', issue);
  clock.advance(47_999);
  await cache.get('a', issue);
  expect(asked()).toBe(1);
  clock.advance(1);
  await cache.get('a', issue);
  expect(asked()).toBe(2);
});

test('at least five seconds must be left, so a credential of five seconds is never kept', async () => {
  const short = setUp(10_000);
  await short.cache.get('a', short.issue);
  short.clock.advance(4_999);
  await short.cache.get('a', short.issue);
  expect(short.asked()).toBe(1);
  short.clock.advance(1);
  await short.cache.get('a', short.issue);
  expect(short.asked()).toBe(2);
  const tiny = setUp(5_000);
  await tiny.cache.get('a', tiny.issue);
  await tiny.cache.get('a', tiny.issue);
  expect(tiny.asked()).toBe(2);
});

test('concurrent calls for one key share one flight, other keys do not', async () => {
  const { cache, issue, asked } = setUp();
  const all = await Promise.all([cache.get('a', issue), cache.get('a', issue), cache.get('b', issue)]);
  expect(asked()).toBe(2);
  expect(all[0]).toBe(all[1]);
  expect(all[2]).not.toBe(all[0]);
});

test('a failure reaches all who wait and is not kept', async () => {
  const { cache, issue, asked } = setUp();
  const fails = () => Promise.reject(new Error('no'));
  const both = await Promise.allSettled([cache.get('a', fails), cache.get('a', issue)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await cache.get('a', issue);
  expect(asked()).toBe(1);
});

test('a clock set back means that nothing is known', async () => {
  const { clock, cache, issue, asked } = setUp();
  await cache.get('a', issue);
  clock.advance(-1);
  await cache.get('a', issue);
  expect(asked()).toBe(2);
});

test('a closed cache keeps nothing, not even what was in flight', async () => {
  const { cache, issue, asked } = setUp();
  const flight = cache.get('a', issue);
  cache.close();
  await flight;
  await cache.get('a', issue);
  expect(asked()).toBe(2);
});

test('it is bounded: beyond a thousand the oldest goes, the newest stays', async () => {
  const { cache, issue, asked } = setUp();
  for (let number = 0; number < 1_001; number += 1) await cache.get(`key ${number}`, issue);
  await cache.get('key 1000', issue);
  expect(asked()).toBe(1_001);
  await cache.get('key 0', issue);
  expect(asked()).toBe(1_002);
});
