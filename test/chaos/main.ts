import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

const usage = 'npm run chaos -- [--minutes N | --seconds N] [--seed S]';

/** Exit code 0: every check held; 1: one did not; 2: usage. */
function options(): { seconds: number; seed?: number } {
  try {
    const { values } = parseArgs({
      options: { minutes: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string' } },
    });
    const seconds =
      values.seconds === undefined ? Number(values.minutes ?? '10') * 60 : Number(values.seconds);
    const seed = values.seed === undefined ? undefined : Number(values.seed);
    if (!(seconds > 0) || (seed !== undefined && !Number.isSafeInteger(seed)))
      throw new TypeError('not a number');
    return { seconds, ...(seed === undefined ? {} : { seed }) };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(2);
  }
}

const { findings, ...rest } = await runChaos({ ...options(), say: (line) => console.error(line) });
console.log(JSON.stringify(rest, null, 2));
for (const { what, found, atMost, examples } of findings)
  console.log(
    `${found <= atMost ? 'ok    ' : 'FAILED'}  ${found}  ${what}${examples.length === 0 ? '' : `: ${examples.join('; ')}`}`,
  );
process.exit(findings.every(({ found, atMost }) => found <= atMost) ? 0 : 1);
