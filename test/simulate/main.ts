import { parseArgs } from 'node:util';
import { corpus } from './corpus.ts';
import { loadThrough } from './graph.ts';
import { type PlantedBug, plantedBugs } from './planted-bugs.ts';

const usage = `usage: npm run simulate -- [--seeds N] [--seed S] [--seconds T] [--trace] [--bug NAME] | --corpus
  runs the seeds S to S+N-1, at most T seconds, and stops at the first that breaks an invariant (exit 1)
  --trace: each step of each run   --bug: with one line of the product made wrong   --corpus: seeds of the past`;

const seedsDefault = 10_000;

interface Order {
  readonly seeds: Iterable<number>;
  readonly seconds: number;
  readonly bug: PlantedBug | null;
  readonly trace: ((text: string) => void) | null;
}

/** A text says what is wrong with the arguments, or that help was asked for. */
function readOrder(): Order | { readonly says: string; readonly code: number } {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      seed: { type: 'string' },
      seconds: { type: 'string' },
      trace: { type: 'boolean' },
      bug: { type: 'string' },
      corpus: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return { says: usage, code: 0 };
  const first = count(values.seed, 1);
  const most = count(values.seeds, values.seed === undefined ? seedsDefault : 1);
  const seconds = count(values.seconds, Number.MAX_SAFE_INTEGER);
  if (![first, most, seconds].every(Number.isSafeInteger)) return { says: usage, code: 2 };
  const bug = plantedBugs.find(({ name }) => name === values.bug) ?? null;
  if (values.bug !== undefined && bug === null)
    return { says: `no such bug; there are ${plantedBugs.map(({ name }) => name).join(', ')}`, code: 2 };
  const seeds = values.corpus ? corpus.map(({ seed }) => seed) : upFrom(first, most);
  return { seeds, seconds, bug, trace: values.trace ? console.log : null };
}

function count(text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : /^[0-9]{1,15}$/.test(text) ? Number.parseInt(text, 10) : Number.NaN;
}

function* upFrom(first: number, most: number): Generator<number> {
  for (let seed = first; seed < first + most; seed += 1) yield seed;
}

async function main(): Promise<number> {
  let order: ReturnType<typeof readOrder>;
  try {
    order = readOrder();
  } catch (error) {
    return say(`${error instanceof Error ? error.message : String(error)}\n${usage}`, 2);
  }
  return 'says' in order ? say(order.says, order.code) : runSeeds(order);
}

async function runSeeds({ seeds, seconds, bug, trace }: Order): Promise<number> {
  loadThrough(bug);
  // Only now: the graph is loaded once, as it is or with the bug.
  const { simulate } = await import('./simulation.ts');
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  const secondsSince = () => (performance.now() - startedMs) / 1000;
  let [first, done, steps, minted] = [0, 0, 0, 0];
  for (const seed of seeds) {
    if (secondsSince() >= seconds) break;
    if (done === 0) first = seed;
    const run = await simulate(seed, { trace });
    done += 1;
    steps += run.steps;
    minted += run.minted;
    if (run.problem === null) continue;
    console.log(`seed ${seed}: ${run.problem}`);
    const again = `npm run simulate -- --seed ${seed} --trace${bug === null ? '' : ` --bug ${bug.name}`}`;
    return say(`found after ${done} seeds; see it again: ${again}`, 1);
  }
  const rate = Math.round(done / secondsSince());
  const { user, system } = process.cpuUsage(cpu);
  // On a machine that others use as well, the second figure is that of one core.
  const perCore = Math.round((done * 1_000_000) / (user + system));
  const sizes = `${steps} steps, ${minted} credentials`;
  return say(
    `${done} seeds from ${first} hold: ${sizes}, ${rate} seeds/s, ${perCore} per second of one core`,
    0,
  );
}

function say(line: string, code: number): number {
  console.log(line);
  return code;
}

process.exitCode = await main();
