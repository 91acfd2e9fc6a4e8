import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type ChaosOptions, type ChaosResult, runChaos } from './chaos.ts';

const usage = `npm run chaos -- [--seconds N | --minutes N | --hours N] [--seed S]
npm run chaos -- --kills N [--seed S]     until the postmaster and a broker were killed so often each`;

/** A scene of its own for each: what clients and cloud remember stays small, however long it goes on. */
const roundSecondsMax = 600;
/** Of one kind, in one scene. */
const roundKillsMax = 20;
/** A kill, and service back, takes no longer even here. */
const secondsPerKill = 12;
const kills = ['broker killed', 'postmaster killed'] as const;

interface Options {
  readonly seconds: number;
  readonly kills: number;
  readonly seed: number;
}

function options(): Options {
  try {
    const text = { type: 'string' } as const;
    const { values } = parseArgs({
      options: { seconds: text, minutes: text, hours: text, kills: text, seed: text },
    });
    const { seconds, minutes, hours, kills: count, seed } = values;
    const given = [seconds, minutes, hours, count].filter((one) => one !== undefined);
    if (given.length > 1) throw new TypeError('one of --seconds, --minutes, --hours, --kills');
    const chosen = {
      seconds: Number(seconds ?? 0) + 60 * Number(minutes ?? 0) + 3_600 * Number(hours ?? 0),
      kills: Number(count ?? 0),
      seed: seed === undefined ? randomInt(2 ** 30) : Number(seed),
    };
    if (given.length === 0) return { ...chosen, seconds: roundSecondsMax };
    if (!(chosen.seconds > 0 || chosen.kills > 0) || !Number.isSafeInteger(chosen.seed))
      throw new TypeError('not a number');
    return chosen;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(2);
  }
}

/** What is left to do, as the next round; undefined: nothing. */
function nextRound(
  { seconds, kills: wanted, seed }: Options,
  done: readonly ChaosResult[],
): ChaosOptions | undefined {
  const round = { seed: seed + done.length, say: progress() };
  if (wanted === 0) {
    const left = seconds - done.length * roundSecondsMax;
    return left <= 0 ? undefined : { ...round, seconds: Math.min(left, roundSecondsMax) };
  }
  const left = Math.max(...kills.map((kind) => wanted - count(done, kind)));
  if (left <= 0) return undefined;
  const faultsMax = 2 * Math.min(left, roundKillsMax);
  return { ...round, seconds: faultsMax * secondsPerKill, faultsMax, only: kills };
}

/** A line a fault would be too much for hours: one a minute. */
function progress(): ChaosOptions['say'] {
  let [last, faults] = [-Infinity, 0];
  return (line) => {
    faults += 1;
    if (performance.now() - last < 60_000 && !line.startsWith('skipped')) return;
    last = performance.now();
    console.error(`${new Date().toISOString()} ${faults}: ${line}`);
  };
}

function count(done: readonly ChaosResult[], kind: string): number {
  return done.reduce((sum, { faults }) => sum + (faults[kind] ?? 0), 0);
}

/** Of all rounds: of what is counted the sum, of seconds the longest. True when every check held. */
function print(done: readonly ChaosResult[]): boolean {
  const total = (of: (result: ChaosResult) => number) => done.reduce((sum, one) => sum + of(one), 0);
  console.log(`seeds ${done.map(({ seed }) => seed).join(', ')}`);
  for (const kind of [...new Set(done.flatMap((one) => Object.keys(one.faults)))].sort())
    console.log(`        ${count(done, kind)}  ${kind}`);
  console.log(`told    ${total(({ given }) => given)}  credentials given`);
  console.log(`told    ${total(({ ended }) => ended)}  tasks ended by their clients`);
  console.log(`told    ${total(({ refused }) => refused)}  requests that were refused or cut`);
  const back = Math.max(...done.map(({ backAfterSeconds }) => backAfterSeconds));
  console.log(`told    ${back}  seconds from a kill until a request from after it was answered, the longest`);
  const checks = (done[0]?.findings ?? []).map(({ what, atMost }) => printCheck(what, atMost, done));
  return checks.every((held) => held);
}

function printCheck(what: string, atMost: number, done: readonly ChaosResult[]): boolean {
  const found = done.flatMap(({ findings }) => findings.filter((one) => one.what === what));
  const numbers = found.map((one) => one.found);
  const number = atMost > 0 ? Math.max(...numbers) : numbers.reduce((sum, one) => sum + one, 0);
  const examples = found.flatMap((one) => one.examples).slice(0, 3);
  const said = examples.length === 0 ? '' : `: ${examples.join('; ')}`;
  console.log(`${number <= atMost ? 'ok    ' : 'FAILED'}  ${number}  ${what}${said}`);
  return number <= atMost;
}

// An end by signal runs what was left for the exit: brokers, PostgreSQL and the disk of the scene go with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

/** Exit code 0: every check held; 1: one did not; 2: usage. */
const chosen = options();
const done: ChaosResult[] = [];
for (let round = nextRound(chosen, done); round !== undefined; round = nextRound(chosen, done)) {
  const result = await runChaos(round);
  done.push(result);
  if (result.findings.some(({ found, atMost }) => found > atMost)) break;
}
process.exit(print(done) ? 0 : 1);
