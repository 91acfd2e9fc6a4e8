import { expect, test } from '@jest/globals';
import { createClockWatch } from './clock-watch.ts';

/** Our clock and the database's, each set by hand; the round trip takes `tripMs` of ours. */
function watch({ tripMs = 0 } = {}) {
  const times = { ours: 1_000_000, theirs: 1_000_000 };
  const reports: (readonly [string, unknown])[] = [];
  const clock = createClockWatch({
    skewMs: 30_000,
    now: () => new Date(times.ours),
    databaseNow: async () => {
      times.ours += tripMs;
      return new Date(times.theirs);
    },
    report: (message, context) => reports.push([message, context['alarm']]),
  });
  return { times, reports, clock };
}

test('a clock that agrees, or is off by half the skew, is trusted', async () => {
  const { clock, times, reports } = watch();
  for (const off of [0, 15_000, -15_000]) {
    times.ours = times.theirs + off;
    await clock.look();
    expect([clock.isTrusted(), clock.offsetSeconds()]).toEqual([true, off / 1000]);
  }
  expect(reports).toEqual([]);
});

test('a clock that is off by more is not trusted, alarms once, and is trusted again when it agrees', async () => {
  const { clock, times, reports } = watch();
  for (const off of [15_001, 15_001, 0, -15_001]) {
    times.ours = times.theirs + off;
    await clock.look();
    expect(clock.isTrusted()).toBe(off === 0);
  }
  expect(reports).toEqual([
    ['the clock is off; nothing is issued', 'clock_off'],
    ['the clock agrees again', undefined],
    ['the clock is off; nothing is issued', 'clock_off'],
  ]);
});

test('a slow round trip is not taken for a wrong clock', async () => {
  const { clock, times } = watch({ tripMs: 60_000 });
  times.theirs = times.ours + 30_000;
  await clock.look();
  expect([clock.isTrusted(), clock.offsetSeconds()]).toEqual([true, 0]);
});

test('a database that does not answer leaves the last verdict standing', async () => {
  let fails = false;
  const clock = createClockWatch({
    skewMs: 30_000,
    now: () => new Date(100_000),
    databaseNow: async () => {
      if (fails) throw new Error('away');
      return new Date(0);
    },
    report: () => undefined,
  });
  await clock.look();
  fails = true;
  await expect(clock.look()).rejects.toThrow('away');
  expect(clock.isTrusted()).toBe(false);
});
