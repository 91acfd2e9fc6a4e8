import { expect, test } from '@jest/globals';
import { Secret } from '@mayfly/core';
import { now } from '../../test/plans.ts';
import { BaseSessions } from './base-sessions.ts';

const role = { provider: 'prod', role: 'role' };
const at = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const session = (seconds: number) => ({
  keys: new Secret({ accessKeyId: 'ASIA', secretAccessKey: 's', sessionToken: 't' }),
  expiresAt: at(seconds),
  sts: 'https://sts.eu-west-1.amazonaws.com',
  arn: 'arn:aws:sts::123456789012:assumed-role/r/s',
});

test('finds the session of the role and reach that outlives what is cut from it by five seconds', () => {
  const bases = new BaseSessions();
  const kept = session(900);
  bases.keep(role, { reach: 'mf-a-1', session: kept, now });
  expect(bases.find(role, 'mf-a-1', at(895))).toBe(kept);
  expect(bases.find(role, 'mf-a-1', at(896))).toBeUndefined();
  expect(bases.find(role, 'mf-a-2', at(60))).toBeUndefined();
  expect(bases.find({ ...role, role: 'other' }, 'mf-a-1', at(60))).toBeUndefined();
  expect(bases.find({ ...role, provider: 'other' }, 'mf-a-1', at(60))).toBeUndefined();
});

test('a newer session takes the place of the older one', () => {
  const bases = new BaseSessions();
  const newer = session(1_800);
  bases.keep(role, { reach: 'mf-a-1', session: session(900), now });
  bases.keep(role, { reach: 'mf-a-1', session: newer, now });
  expect(bases.find(role, 'mf-a-1', at(60))).toBe(newer);
});

test('remembers ten thousand; then the expired go, and the soonest to expire', () => {
  const bases = new BaseSessions();
  const keep = (name: string, seconds: number, moment = now) =>
    bases.keep(role, { reach: name, session: session(seconds), now: moment });
  keep('expired', 1);
  keep('soonest', 600);
  for (let index = 0; index < 9_998; index += 1) keep(`n${index}`, 900);
  const lives = (name: string) => bases.find(role, name, at(-100)) !== undefined;
  expect([lives('expired'), lives('soonest')]).toEqual([true, true]);
  keep('more', 900, at(10));
  expect([lives('expired'), lives('soonest'), lives('more')]).toEqual([false, true, true]);
  keep('most', 900, at(10));
  expect([lives('soonest'), lives('n0'), lives('most')]).toEqual([false, true, true]);
});
