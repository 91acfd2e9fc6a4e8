import { parseArgs } from 'node:util';
import { loadThrough } from './graph.ts';
import { plantedBugs } from './planted-bugs.ts';

const usage =
  'usage: npm run simulate -- [--seeds N] [--seed S] [--seconds T] [--trace] [--bug NAME]\n' +
  '  runs the seeds S to S+N-1; stops at the first that breaks an invariant, and says how to see it again';

const seedsDefault = 10_000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      seed: { type: 'string' },
      seconds: { type: 'string' },
      trace: { type: 'boolean' },
      bug: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return say(usage, 0);
  const first = count(values.seed, 1);
  const seeds = count(values.seeds, values.seed === undefined ? seedsDefault : 1);
  const seconds = count(values.seconds, Number.MAX_SAFE_INTEGER);
  const bug = plantedBugs.find(({ name }) => name === values.bug) ?? null;
  if (values.bug !== undefined && bug === null)
    return say(`no such bug; there are ${plantedBugs.map(({ name }) => name).join(', ')}`, 2);
  if (![first, seeds, seconds].every(Number.isSafeInteger)) return say(usage, 2);
  loadThrough(bug);
  const { simulate } = await import('./simulation.ts');
  const trace = values.trace ? console.log : null;
  const startedMs = performance.now();
  const secondsSince = () => (performance.now() - startedMs) / 1000;
  let [done, steps, minted] = [0, 0, 0];
  for (let seed = first; seed < first + seeds && secondsSince() < seconds; seed += 1) {
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
  return say(`${done} seeds from ${first} hold: ${steps} steps, ${minted} credentials, ${rate} seeds/s`, 0);
}

function count(text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : /^[0-9]{1,15}$/.test(text) ? Number.parseInt(text, 10) : Number.NaN;
}

function say(line: string, code: number): number {
  console.log(line);
  return code;
}

process.exitCode = await main();
