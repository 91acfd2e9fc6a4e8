import { describe, expect, test } from '@jest/globals';
import { coreWorld } from '@mayfly/testkit';
import { Fault } from './errors.ts';
import { Lane } from './lane.ts';
import type { MintPlan } from './minter.ts';
import type { End, Work } from './ports.ts';
import type { ReapPorts } from './reap.ts';
import { Lanes } from './reap-lanes.ts';

const away = new Fault('provider_unavailable', { effect: 'unknown', detail: 'no answer' });
const refused = new Fault('provider_refused', { effect: 'none', detail: 'AccessDenied' });

/** Rows of one or more providers, each taken back when the test says so. */
function scene({ concurrency = 4, callsPerSecond = 1_000, endsPerCall = 1 } = {}) {
  let now = 0;
  const due = new Map<string, string[]>();
  const claims: [lane: string, limit: number, got: number][] = [];
  const settled: string[] = [];
  const calls: { readonly id: string; answer(outcome?: 'gone' | Error): Promise<void> }[] = [];
  const world = coreWorld();
  const hold: { now: Promise<void> | undefined } = { now: undefined };
  const work = (id: string, provider: string): Work => ({
    ...{ kind: 'issuance', issuanceId: id, state: 'revoking', attempts: 1, secondsPastNotAfter: -30 },
    plan: {
      kind: 'fake',
      provider,
      issuanceId: id,
      reach: id,
      taskId: 't',
      ends: { by: 'denied' },
    } as unknown as MintPlan,
  });
  const revoke = (plan: MintPlan) =>
    new Promise<'gone'>((resolve, reject) => {
      calls.push({
        id: plan.issuanceId,
        answer: async (outcome = 'gone') => {
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
          await quiet();
        },
      });
    });
  const ports: ReapPorts = {
    ...world.ports,
    concurrency,
    callsPerSecond,
    endsPerCall: () => endsPerCall,
    monotonicMs: () => now,
    minters: new Map([['fake', { ...world.cloud, kind: 'fake', revoke } as never]]),
    queue: {
      ...world.ports.queue,
      lanes: async () => [...due].filter(([, ids]) => ids.length > 0).map(([lane]) => lane),
      claim: async ({ lane, limit }) => {
        await hold.now;
        const ids = due.get(lane)?.splice(0, limit) ?? [];
        claims.push([lane, limit, ids.length]);
        return ids.map((id) => work(id, lane));
      },
      settle: async (ends: readonly End[]) => {
        settled.push(...ends.map(({ issuanceId }) => issuanceId));
      },
    },
  };
  return {
    ...{ ports, due, claims, settled, calls, hold },
    fill: (lane: string, count: number) => {
      const ids = Array.from({ length: count }, (_, n) => `${lane}-${n + 1}`);
      due.set(lane, [...(due.get(lane) ?? []), ...ids]);
    },
    pass: (seconds: number) => {
      now += seconds * 1000;
    },
    running: () => calls.length - settled.length,
  };
}

/** Until every promise that can settle has. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

describe('a lane', () => {
  test('starts what there is room for, and more as calls end: no call waits for the slowest', async () => {
    const { ports, fill, calls, settled, claims } = scene();
    fill('aws', 6);
    const lane = new Lane('aws', ports);
    await lane.pull();
    expect(calls.map(({ id }) => id)).toEqual(['aws-1', 'aws-2', 'aws-3', 'aws-4']);
    await calls[1]?.answer();
    expect([settled, calls.length]).toEqual([['aws-2'], 5]);
    await calls[2]?.answer();
    await calls[3]?.answer();
    expect(calls.length).toBe(6);
    for (const call of [calls[0], calls[4], calls[5]]) await call?.answer();
    await lane.drained();
    expect(settled.toSorted()).toEqual([1, 2, 3, 4, 5, 6].map((n) => `aws-${n}`));
    expect(lane.counts).toEqual({ claimed: 6, ended: 6, waiting: 0, failed: 0 });
    // Four at once, and as many ahead.
    expect(claims.every(([, limit]) => limit <= 8)).toBe(true);
  });

  test('a call that is free takes what was claimed ahead, without a claim', async () => {
    const { ports, fill, calls, claims } = scene();
    fill('aws', 50);
    const lane = new Lane('aws', ports);
    await lane.pull();
    expect([calls.length, claims.length]).toEqual([4, 1]);
    await calls[0]?.answer();
    expect([calls.length, claims.length]).toEqual([5, 1]);
    // Half of what was ahead is used up.
    await calls[1]?.answer();
    expect([calls.length, claims.length]).toEqual([6, 2]);
  });

  test('what was claimed ahead is given back when its provider is away', async () => {
    const { ports, fill, calls } = scene({ concurrency: 10 });
    fill('aws', 15);
    const lane = new Lane('aws', ports);
    await lane.pull();
    expect(calls).toHaveLength(10);
    for (const call of calls.slice(0, 5)) await call.answer(away);
    expect([lane.isBroken, lane.counts.claimed]).toEqual([true, 15]);
    const started = calls.length;
    for (const call of calls.slice(5, started)) await call.answer(away);
    await lane.drained();
    expect(calls).toHaveLength(started);
  });

  test('a claim that comes back when its provider is away leaves nothing behind that is never started', async () => {
    const { ports, fill, calls, hold, due, pass } = scene({ concurrency: 5 });
    fill('aws', 5);
    const lane = new Lane('aws', ports);
    await lane.pull();
    fill('aws', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    hold.now = promise;
    const late = lane.pull();
    for (const call of calls.slice(0, 5)) await call.answer(away);
    resolve();
    await late;
    await lane.drained();
    expect([lane.isBroken, calls.length]).toEqual([true, 5]);
    // Its backoff has brought it back, and the provider is asked again.
    hold.now = undefined;
    due.set('aws', ['aws-1']);
    pass(1);
    await lane.pull();
    expect(calls).toHaveLength(6);
  });

  test('ends that share a call have more room', async () => {
    const { ports, fill, calls } = scene({ concurrency: 2, endsPerCall: 20 });
    fill('aws', 60);
    await new Lane('aws', ports).pull();
    expect(calls).toHaveLength(40);
  });

  test('a row whose backoff passes while its call hangs is not called twice', async () => {
    const { ports, due, calls } = scene();
    due.set('aws', ['x', 'x']);
    await new Lane('aws', ports).pull();
    expect(calls.map(({ id }) => id)).toEqual(['x']);
  });

  test('keeps to its rate, and goes on as time passes', async () => {
    const { ports, fill, calls, pass } = scene({ concurrency: 100, callsPerSecond: 10 });
    fill('aws', 30);
    const lane = new Lane('aws', ports);
    await lane.pull();
    expect(calls).toHaveLength(10);
    pass(0.5);
    await lane.pull();
    expect(calls).toHaveLength(15);
    pass(60);
    await lane.pull();
    expect(calls).toHaveLength(25);
  });

  test('stopped, it claims and starts nothing more and is drained when its calls have ended', async () => {
    const { ports, fill, calls, settled, due } = scene();
    fill('aws', 10);
    const lane = new Lane('aws', ports);
    await lane.pull();
    lane.stop();
    for (const call of [...calls]) await call.answer();
    await lane.drained();
    expect([settled.length, calls.length, due.get('aws')?.length]).toEqual([4, 4, 2]);
  });
});

describe('the breaker of a lane', () => {
  async function broken() {
    const whole = scene();
    whole.fill('aws', 20);
    const lane = new Lane('aws', whole.ports);
    await lane.pull();
    for (let call = 0; call < 5; call += 1) await whole.calls[call]?.answer(away);
    return { ...whole, lane };
  }

  test('opens after five in a row, and then one call at a time asks', async () => {
    const { lane, calls, pass } = await broken();
    expect(lane.isBroken).toBe(true);
    for (const call of calls.slice(5)) await call.answer(away);
    const before = calls.length;
    await lane.pull();
    expect(calls.length).toBe(before);
    pass(1);
    await lane.pull();
    await lane.pull();
    expect(calls.length).toBe(before + 1);
    await calls.at(-1)?.answer(away);
    pass(1);
    await lane.pull();
    expect(calls.length).toBe(before + 1);
    pass(1);
    await lane.pull();
    expect(calls.length).toBe(before + 2);
  });

  test('closes with the first answer, and everything due goes on', async () => {
    const { lane, calls, pass } = await broken();
    for (const call of calls.slice(5)) await call.answer(away);
    pass(2);
    await lane.pull();
    await calls.at(-1)?.answer();
    expect(lane.isBroken).toBe(false);
    const before = calls.length;
    await lane.pull();
    expect(calls.length).toBeGreaterThan(before - 1);
    expect(lane.isIdle).toBe(false);
  });

  test('a refusal is an answer: what one row cannot have says nothing of the provider', async () => {
    const whole = scene();
    whole.fill('aws', 20);
    const lane = new Lane('aws', whole.ports);
    await lane.pull();
    for (let call = 0; call < 12; call += 1) await whole.calls[call]?.answer(refused);
    expect([lane.isBroken, lane.counts.failed]).toEqual([false, 12]);
  });
});

describe('lanes', () => {
  test('a provider that hangs delays no other', async () => {
    const { ports, fill, calls, settled } = scene();
    fill('hangs', 50);
    fill('works', 8);
    const lanes = new Lanes(ports);
    await lanes.look();
    for (let turn = 0; turn < 8; turn += 1)
      await calls.find(({ id }) => id.startsWith('works') && !settled.includes(id))?.answer();
    expect(settled).toHaveLength(8);
    expect(calls.filter(({ id }) => id.startsWith('hangs'))).toHaveLength(4);
    expect(lanes.takeCounts()).toEqual({ claimed: 16, ended: 8, waiting: 0, failed: 0 });
    expect(lanes.takeCounts()).toEqual({ claimed: 0, ended: 0, waiting: 0, failed: 0 });
  });

  test('what was done is counted once, also when the lane has been idle since', async () => {
    const { ports, fill, calls } = scene();
    fill('aws', 1);
    const lanes = new Lanes(ports);
    await lanes.look();
    await calls[0]?.answer();
    await lanes.look();
    expect(lanes.takeCounts()).toMatchObject({ claimed: 1, ended: 1 });
    await lanes.look();
    expect(lanes.takeCounts()).toMatchObject({ claimed: 0, ended: 0 });
  });

  test('a broken one is remembered while nothing of it is due, and named', async () => {
    const { ports, fill, calls, pass } = scene();
    fill('aws', 20);
    const lanes = new Lanes(ports);
    await lanes.look();
    for (let call = 0; call < calls.length; call += 1) await calls[call]?.answer(away);
    expect(lanes.broken()).toEqual(['aws']);
    await lanes.look();
    expect(lanes.broken()).toEqual(['aws']);
    pass(60);
    await lanes.look();
    await calls.at(-1)?.answer();
    expect(lanes.broken()).toEqual([]);
  });
});
