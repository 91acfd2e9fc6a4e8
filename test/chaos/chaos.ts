import { randomInt } from 'node:crypto';
import { reaperPass } from '@mayfly/broker';
import { check, type Finding } from './check.ts';
import { type ClientLog, end, runClients } from './clients.ts';
import { runFaults } from './faults.ts';
import { type ChaosScene, startScene } from './scene.ts';

export interface ChaosOptions {
  readonly seconds: number;
  /** Chooses faults and clients' ways; when each arrives is up to the machine. */
  readonly seed?: number;
  say(line: string): void;
}

export interface ChaosResult {
  readonly seed: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly given: number;
  readonly ended: number;
  readonly refused: number;
  readonly findings: readonly Finding[];
}

const clients = 4;
/** From the last fault until every end is confirmed. */
const settleSecondsMax = 60;
/** Of the issue: service is back within this after each kill. */
export const serviceGapSecondsMax = 10;

export async function runChaos({
  seconds,
  seed = randomInt(2 ** 31),
  say,
}: ChaosOptions): Promise<ChaosResult> {
  say(`SEED=${seed}: ${seconds} s of faults`);
  const random = mulberry(seed);
  const scene = await startScene();
  try {
    const until = performance.now() + seconds * 1_000;
    const state = { stopped: false };
    const running = runClients(scene, { count: clients, random, stopped: () => state.stopped });
    const faults = await runFaults({ scene, random }, { stopped: () => performance.now() > until, say });
    // A few answers more, so that what came back last is seen to have.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    state.stopped = true;
    const log = await running;
    await settle(scene, log);
    const findings = await check(scene, log, serviceGapSecondsMax);
    return { seed, faults, given: log.given.length, ended: log.ended.length, refused: log.refused, findings };
  } finally {
    await scene.stop();
  }
}

/** Every other task is ended, and the reapers get their time. */
async function settle(scene: ChaosScene, log: ClientLog): Promise<void> {
  const ended = new Set(log.ended);
  for (const [index, given] of log.given.entries())
    if (!ended.has(given.task) && index % 2 === 0 && (await end(given, () => scene.world.url)))
      log.ended.push(given.task);
  const until = performance.now() + settleSecondsMax * 1_000;
  for (;;) {
    await reaperPass(scene.world.running.broker).catch(() => undefined);
    const [row] = await scene.sql("select count(*)::int as n from work where state = 'revoking'");
    if (row?.['n'] === 0 || performance.now() > until) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Small and seeded; its numbers decide nothing but the test's own ways. */
function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
