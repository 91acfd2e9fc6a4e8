import { expect, test } from '@jest/globals';
import type { DenyWidened, DenyWrite } from '@mayfly/core';
import { bareId, uuidV7 } from '@mayfly/protocol';
import { allows, parsePolicy } from '@mayfly/standins';
import { denyCharactersMax, denyPolicy, widen, wider } from './deny-policy.ts';

const now = new Date('2026-11-23T12:00:00.250Z');
const everything = parsePolicy(
  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
);

/** The SourceIdentity of a grant made so many milliseconds ago; `n` tells apart those of one millisecond. */
const identity = (agoMs: number, n = 0) => {
  const random = new Uint8Array(10);
  new DataView(random.buffer).setUint32(4, n);
  return `mf-${bareId(uuidV7(now.getTime() - agoMs, random))}-1`;
};
const content = (entries: readonly string[]): DenyWrite => ({ version: 7, entries: [...entries].sort() });

/** Whether a session gets past this document. */
function passes(
  write: DenyWrite,
  widened: DenyWidened | null,
  { identity: name, issuedAt = now }: { identity: string; issuedAt?: Date },
): boolean {
  const layers = {
    identity: [everything, parsePolicy(denyPolicy(write, widened))],
    boundary: undefined,
    sessions: [],
  };
  const context = {
    'aws:SourceIdentity': name,
    'aws:userid': `AROAX:${name}`,
    'aws:TokenIssueTime': issuedAt.toISOString(),
  };
  return allows(layers, { action: 's3:GetObject', resource: 'arn:aws:s3:::b/k', context });
}

test('while each fits, each is named and nobody else is hit', () => {
  const write = content([identity(1000), identity(2000)]);
  expect(widen(write, now)).toBeNull();
  expect(passes(write, null, { identity: identity(1000) })).toBe(false);
  expect(passes(write, null, { identity: identity(1000, 1) })).toBe(true);
});

test('the last document that names each is just below the limit', () => {
  const many = (count: number) => content(Array.from({ length: count }, (_, n) => identity(n * 70_000, n)));
  let count = 200;
  while (widen(many(count + 1), now) === null) count += 1;
  expect(denyPolicy(many(count)).length).toBeLessThanOrEqual(denyCharactersMax);
  expect(denyPolicy(many(count + 1)).length).toBeGreaterThan(denyCharactersMax);
  expect(count).toBeGreaterThan(230);
});

test('too many made together become the shortest time that holds them, and who was made apart stays named', () => {
  const together = Array.from({ length: 400 }, (_, n) => identity(20_000 + (n % 20), n));
  const apart = identity(3_600_000);
  const write = content([...together, apart]);
  const widened = widen(write, now);
  expect(widened?.step).toBe('cohort');
  expect(denyPolicy(write, widened).length).toBeLessThanOrEqual(denyCharactersMax);
  for (const name of [...together, apart]) expect(passes(write, widened, { identity: name })).toBe(false);
  // An innocent of the same milliseconds is hit, one of ten minutes before is not, nor a sibling of the one apart.
  expect(passes(write, widened, { identity: identity(20_010, 9_999) })).toBe(false);
  expect(passes(write, widened, { identity: identity(620_000) })).toBe(true);
  expect(passes(write, widened, { identity: identity(3_600_000, 1) })).toBe(true);
});

test('prefixes are no shorter than they must be', () => {
  const spread = (stepMs: number) =>
    widen(content(Array.from({ length: 1000 }, (_, n) => identity(n * stepMs, n))), now);
  const lengths = [1, 60, 2000].map((stepMs) => {
    const widened = spread(stepMs);
    return widened?.step === 'cohort' ? widened.prefixes[0]?.length : widened?.step;
  });
  expect(lengths).toEqual([12, 11, 10]);
});

test('where even quarters of an hour are too many, all that was issued until now is cut, and what comes is not', () => {
  const write = content(Array.from({ length: 2000 }, (_, n) => identity(n * 1_100_000, n)));
  const widened = widen(write, now);
  expect(widened).toEqual({ step: 'issued-before', issuedBefore: '2026-11-23T12:00:31Z' });
  const at = (seconds: number) => new Date(now.getTime() + seconds * 1000);
  for (const name of [...write.entries.slice(0, 5), 'mf-innocent-1']) {
    expect(passes(write, widened, { identity: name, issuedAt: at(-60) })).toBe(false);
    expect(passes(write, widened, { identity: name, issuedAt: at(60) })).toBe(true);
  }
});

test('session names have no time in them: too many of them are cut as well', () => {
  const names = Array.from({ length: 400 }, (_, n) => `mf-${n.toString(16).padStart(40, '0')}`);
  expect(widen(content(names), now)?.step).toBe('issued-before');
});

test('where IAM has no room, the steps go on to everything, and no further', () => {
  const cut = { step: 'issued-before', issuedBefore: '2026-11-23T12:00:31Z' } as const;
  expect(wider(null, now)).toEqual(cut);
  expect(wider({ step: 'cohort', prefixes: ['mf-0'] }, now)).toEqual(cut);
  expect(wider(cut, now)).toEqual({ step: 'everything' });
  expect(wider({ step: 'everything' }, now)).toBeNull();
  const write = content([identity(1)]);
  expect(passes(write, { step: 'everything' }, { identity: 'mf-innocent-1' })).toBe(false);
  const lengths = [cut, { step: 'everything' } as const].map((one) => denyPolicy(write, one).length);
  expect(lengths.every((length) => length < 200)).toBe(true);
});
