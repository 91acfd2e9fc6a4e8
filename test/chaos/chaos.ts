import { randomInt } from 'node:crypto';
import { reaperPass } from '@mayfly/broker';
import { check, type Finding, unconfirmed } from './check.ts';
import { type ClientLog, emptyLog, end, runClients } from './clients.ts';
import { runFaults } from './faults.ts';
import { type ChaosScene, startScene } from './scene.ts';

export interface ChaosOptions {
  readonly seconds: number;
  /** Chooses faults and clients' ways; when each arrives is up to the machine. */
  readonly seed?: number;
  /** Faults to choose from; all when left out. */
  readonly only?: readonly string[];
  /** Over before its time after so many faults. */
  readonly faultsMax?: number;
  say(line: string): void;
}

export interface ChaosResult {
  readonly seed: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly given: number;
  readonly ended: number;
  readonly refused: number;
  /** Seconds from each kill until a request from after it was answered, the longest. */
  readonly backAfterSeconds: number;
  readonly findings: readonly Finding[];
}

const clients = 4;
/** From the last fault until every end is confirmed: the longest backoff, and a try that waits for a dead writer's turn. */
const settleSecondsMax = 90;
/** Tasks that are ended at the end, so that some have no fault in their way. */
const settledMax = 100;
/** Of the issue: service is back within this after each kill. */
export const serviceGapSecondsMax = 10;

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { seconds, seed = randomInt(2 ** 31), say } = options;
  say(`SEED=${seed}: ${seconds} s of faults`);
  const random = mulberry(seed);
  const scene = await startScene();
  if (typeof scene.disk === 'string') say(`skipped: no disk that can be full: ${scene.disk}`);
  try {
    const { log, faults } = await runUnderFaults(scene, random, { ...options, seconds });
    const askedBy = await settle(scene, log);
    const findings = await check(scene, log, { askedBy, serviceGapSecondsMax });
    const { given, ended, refused } = log;
    const backAfterSeconds = Math.round(Math.max(0, ...log.backAfterMs) / 100) / 10;
    return { seed, faults, given: given.length, ended: ended.length, refused, backAfterSeconds, findings };
  } finally {
    await scene.stop();
  }
}

async function runUnderFaults(
  scene: ChaosScene,
  random: () => number,
  { seconds, say, only, faultsMax = Infinity }: ChaosOptions,
): Promise<{ log: ClientLog; faults: ChaosResult['faults'] }> {
  const until = performance.now() + seconds * 1_000;
  const log = emptyLog();
  let [isOver, told] = [false, 0];
  const running = runClients(scene, { count: clients, random, log, stopped: () => isOver });
  const faults = await runFaults(
    {
      scene,
      random,
      killed: () => {
        log.killedAt = performance.now();
      },
    },
    {
      stopped: () => performance.now() > until || told >= faultsMax,
      say: (line) => {
        told += 1;
        say(line);
      },
      ...(only === undefined ? {} : { only }),
    },
  );
  // A few answers more, so that what came back last is seen to have.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  isOver = true;
  await running;
  return { log, faults };
}

/** Every other task of the last is ended, and the reapers get their time; answers when the last end was asked for. */
async function settle(scene: ChaosScene, log: ClientLog): Promise<string> {
  const ended = new Set(log.ended);
  const alive = log.given.filter(({ task }) => !ended.has(task)).slice(-2 * settledMax);
  for (const [index, given] of alive.entries())
    if (index % 2 === 0) {
      // As an operator: after minutes its own token has run out.
      const token = await scene.world.person();
      if (await end({ task: given.task, token }, () => scene.world.url)) log.ended.push(given.task);
    }
  const [asked] = await scene.sql('select clock_timestamp()::text as by');
  const askedBy = String(asked?.['by']);
  const until = performance.now() + settleSecondsMax * 1_000;
  for (;;) {
    await reaperPass(scene.world.running.broker).catch(() => undefined);
    const left = await scene.sql(unconfirmed(askedBy));
    if (left.length === 0 || performance.now() > until) return askedBy;
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
