import {
  advanceRevocations,
  Lanes,
  type ReapPorts,
  type RevocationPorts,
  reapOnce,
  reviewTasks,
} from '@mayfly/core';
import type { Wired } from './wire.ts';

/** Deny documents are looked at again this often while an entry is needed (architecture.md section 5). */
const denyWatchSeconds = 10;
/** Partitions and old counters: cheap, and made a week ahead. */
const upkeepMs = 600_000;

/** A loop over rows; nothing that must happen lives in its timers. */
export interface Reaper {
  stop(): Promise<void>;
}

export function startReaper(broker: Wired): Reaper {
  const { config, log } = broker;
  const stopping = new AbortController();
  let wake: () => void = () => undefined;
  let nudged = false;
  broker.onNudge(() => {
    nudged = true;
    wake();
  });
  const lanes = new Lanes(reapPorts(broker));
  // Each on its own: a cloud that does not answer delays neither other ends nor tomorrow's partitions.
  const attempt = async <T>(what: string, run: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await run();
    } catch (error) {
      log.warn({ err: error, what }, 'reaper step failed; it goes on');
      return undefined;
    }
  };
  const watch = onlyOne(() => attempt('watch of deny documents', () => watchDenials(broker)));
  const revocations = onlyOne(() =>
    attempt('revocations', async () => {
      const ended = await advanceRevocations(revocationPorts(broker), () => stopping.signal.aborted);
      if (ended > 0) broker.nudge();
    }),
  );
  // Apart from revocations: it reads policy over the connections for issuing, and may have to wait for one.
  const review = onlyOne(() =>
    attempt('review of open tasks', async () => {
      const ended = await reviewTasks(revocationPorts(broker), () => stopping.signal.aborted);
      if (ended > 0) broker.nudge();
    }),
  );
  const loop = async () => {
    let upkeepAt = 0;
    while (!stopping.signal.aborted) {
      await attempt('look at what is due', () => lanes.look());
      tell(broker, lanes);
      watch.start();
      revocations.start();
      review.start();
      await attempt('counted refusals', () => broker.unattested.flush());
      if (performance.now() > upkeepAt) {
        await attempt('partitions', () => keepPartitions(broker));
        upkeepAt = performance.now() + upkeepMs;
      }
      if (!nudged)
        await pause(config.reapInterval, stopping.signal, (run) => {
          wake = run;
        });
      nudged = false;
    }
    // Nothing more is claimed; what is under way is finished, or claimed by another after its backoff.
    await attempt('what was under way', () => lanes.stop());
    tell(broker, lanes);
    await watch.settled();
    await revocations.settled();
    await review.settled();
  };
  const running = loop();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Starts nothing while the last one still runs. */
function onlyOne(run: () => Promise<unknown>): { start(): void; settled(): Promise<unknown> } {
  let running: Promise<unknown> | undefined;
  return {
    start: () => {
      running ??= run().finally(() => {
        running = undefined;
      });
    },
    settled: async () => running,
  };
}

function tell({ metrics }: Wired, lanes: Lanes): void {
  const { ended, waiting, failed } = lanes.takeCounts();
  const { reaped, reaperLookedAt, providersAway } = metrics;
  reaped.inc({ result: 'ended' }, ended);
  reaped.inc({ result: 'waiting' }, waiting);
  reaped.inc({ result: 'failed' }, failed);
  reaperLookedAt.set(Date.now() / 1000);
  providersAway.set(lanes.broken().length);
}

/** Everything that is due now, once; for tests, so that nothing waits for a timer. */
export async function pass(broker: Wired): Promise<void> {
  await advanceRevocations(revocationPorts(broker));
  await reviewTasks(revocationPorts(broker));
  await reapOnce(reapPorts(broker));
}

function revocationPorts({ lifecycle, store, exchange }: Wired): RevocationPorts {
  return { ...lifecycle, revocations: store.revocations, report: exchange.report };
}

/** Days to come are made, days beyond the retention dropped; also at start, which may be after a long rest. */
export function keepPartitions({ config, store }: Wired): Promise<unknown> {
  return store.keepPartitions(Math.floor(config.retention / 86_400_000));
}

export function reapPorts(broker: Wired): ReapPorts {
  const { config, exchange, lifecycle, store } = broker;
  return {
    ...lifecycle,
    queue: store.queue,
    minters: exchange.minters,
    deadline: exchange.deadline,
    skewSeconds: config.clockSkew / 1000,
    concurrency: config.revokeConcurrency,
    callsPerSecond: config.revokeRate,
    endsPerCall: (name) => {
      const type = broker.policies.known()?.providers.get(name)?.type;
      return (type === undefined ? undefined : exchange.minters.get(type)?.endsPerCall) ?? 1;
    },
    monotonicMs: () => exchange.clock.monotonicMs(),
    report: exchange.report,
  };
}

export async function watchDenials(broker: Wired, olderThanSeconds = denyWatchSeconds): Promise<void> {
  const { minters, clock, deadline, newId } = broker.exchange;
  for (const minter of minters.values())
    await minter.watch?.(olderThanSeconds, { now: clock.now(), signal: deadline(), newId });
}

function pause(ms: number, signal: AbortSignal, onWake: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    onWake(done);
    signal.addEventListener('abort', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
