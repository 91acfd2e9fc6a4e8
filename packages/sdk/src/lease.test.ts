import { expect, test } from '@jest/globals';
import { Refused, TaskOver, Unavailable } from './errors.ts';
import { type Beat, Lease } from './lease.ts';
import { FakeClock } from './testing/fake-clock.ts';
import { until } from './testing/until.ts';

/** A lease over a server that answers what `answer` says; beats are counted. */
function setUp({ leaseMs = 300_000, tokenMs = 300_000, random = 0.5 } = {}) {
  const clock = new FakeClock();
  const state = { beats: 0, settled: 0, lost: [] as TaskOver[], answer: undefined as Error | undefined };
  const beat = async (): Promise<Beat> => {
    state.beats += 1;
    try {
      if (state.answer !== undefined) throw state.answer;
      return { sentAt: clock.now(), leaseMs, tokenMs };
    } finally {
      state.settled += 1;
    }
  };
  const lease = new Lease({ clock, random: () => random, beat, lost: (reason) => state.lost.push(reason) });
  lease.start({ sentAt: clock.now(), leaseMs, tokenMs });
  const settle = async () => {
    await until(() => state.settled === state.beats);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, state, lease, settle };
}

const gone = new Unavailable({ reason: 'no_answer', says: 'no answer.' });

test('beats at a third of the lease, again and again', async () => {
  const { clock, state, settle } = setUp();
  clock.advance(99_999);
  expect(state.beats).toBe(0);
  for (let beat = 1; beat <= 5; beat += 1) {
    clock.advance(beat === 1 ? 1 : 100_000);
    expect(state.beats).toBe(beat);
    await settle();
  }
  expect(state.lost).toEqual([]);
});

test('the rhythm is early or late by up to a tenth', () => {
  const early = setUp({ random: 0 });
  early.clock.advance(90_000);
  expect(early.state.beats).toBe(1);
  const late = setUp({ random: 0.999_999 });
  late.clock.advance(109_000);
  expect(late.state.beats).toBe(0);
});

test('a task token that lives shorter than the lease sets the rhythm', () => {
  const { clock, state } = setUp({ leaseMs: 3_600_000, tokenMs: 300_000 });
  clock.advance(100_000);
  expect(state.beats).toBe(1);
});

test('failed beats come sooner and sooner, and the lease is lost only when it has really run out', async () => {
  const { clock, state, settle } = setUp();
  state.answer = gone;
  clock.advance(100_000);
  await settle();
  clock.advance(66_667);
  expect(state.beats).toBe(2);
  await settle();
  clock.advance(44_445);
  expect(state.beats).toBe(3);
  await settle();
  clock.advance(88_887);
  await settle();
  expect(state.lost).toEqual([]);
  clock.advance(1);
  expect(state.lost).toMatchObject([{ name: 'TaskOver', reason: 'lease_lost', state: 'abandoned' }]);
});

test('two failures and a success: the lease goes on', async () => {
  const { clock, state, settle } = setUp();
  state.answer = gone;
  clock.advance(100_000);
  await settle();
  state.answer = undefined;
  clock.advance(66_667);
  await settle();
  clock.advance(299_000);
  await settle();
  expect([state.lost, clock.waiting]).toEqual([[], 2]);
});

test('one beat at a time: a slow answer holds the next one back', async () => {
  const clock = new FakeClock();
  let beats = 0;
  const never = () => {
    beats += 1;
    return new Promise<Beat>(() => {});
  };
  const lost: TaskOver[] = [];
  const lease = new Lease({ clock, random: () => 0.5, beat: never, lost: (reason) => lost.push(reason) });
  lease.start({ sentAt: clock.now(), leaseMs: 300_000, tokenMs: null });
  clock.advance(299_999);
  expect([beats, lost.length]).toEqual([1, 0]);
  clock.advance(1);
  expect(lost.map(({ reason }) => reason)).toEqual(['lease_lost']);
});

test('a task that is over is lost at once, with the server’s reason; so is one that nobody knows', async () => {
  const over = new TaskOver({ reason: 'task_suspended', state: 'suspended', says: 'the task is suspended.' });
  const unknown = new Refused({ reason: 'task_unknown', says: 'No such task.' });
  for (const [answer, reason] of [
    [over, 'task_suspended'],
    [unknown, 'task_unknown'],
  ] as const) {
    const { clock, state, settle } = setUp();
    state.answer = answer;
    clock.advance(100_000);
    await settle();
    expect(state.lost).toMatchObject([{ name: 'TaskOver', reason }]);
    expect(clock.waiting).toBe(0);
  }
});

test('another refusal is not the end of the task: the identity may be mended in time', async () => {
  const { clock, state, settle } = setUp();
  state.answer = new Refused({ reason: 'unauthenticated', says: 'A valid bearer token is needed.' });
  clock.advance(100_000);
  await settle();
  expect([state.lost, clock.waiting]).toEqual([[], 2]);
});

test('a stopped lease has no timers and loses nothing, whatever is still in flight', async () => {
  const { clock, state, lease, settle } = setUp();
  state.answer = gone;
  clock.advance(100_000);
  lease.stop();
  await settle();
  clock.advance(1_000_000);
  expect([state.beats, state.lost, clock.waiting]).toEqual([1, [], 0]);
});
