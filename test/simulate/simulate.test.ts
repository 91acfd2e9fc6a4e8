import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { patchedSource } from './graph.ts';
import { plantedBugs } from './planted-bugs.ts';

/** Each bug must be found within these, and without a bug none of these may break anything. */
const seedsMax = 10_000;

const flags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=64'];

/** A process of its own: a module graph is loaded once, with or without a bug. */
async function simulate(...args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  const child = spawn(process.execPath, [...flags, main, ...args]);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, output };
}

test('a seed is a run: its trace comes out the same', async () => {
  for (const seed of ['7', '76', '498']) {
    const [one, two] = await Promise.all([
      simulate('--seed', seed, '--trace'),
      simulate('--seed', seed, '--trace'),
    ]);
    expect(one.output.split('\n').length).toBeGreaterThan(20);
    expect(withoutRate(one.output)).toBe(withoutRate(two.output));
  }
});

function withoutRate(output: string): string {
  return output.replace(/[0-9]+ seeds\/s.*/, '');
}

test('seeds that broke something once break nothing', async () => {
  expect(await simulate('--corpus')).toMatchObject({ code: 0 });
});

test('the product as it is breaks nothing in the seeds that find the bugs', async () => {
  const { code, output } = await simulate('--seed', '1', '--seeds', `${seedsMax}`);
  expect(output).toContain(`${seedsMax} seeds from 1 hold`);
  expect(code).toBe(0);
}, 120_000);

test('nor in seeds that nobody has seen', async () => {
  const { code, output } = await simulate(
    '--seed',
    `${randomInt(2 ** 31)}`,
    '--seeds',
    '1000000',
    '--seconds',
    '8',
  );
  expect(output).toMatch(/^[0-9]+ seeds from [0-9]+ hold/);
  expect(code).toBe(0);
});

describe('one line of the product made wrong is found', () => {
  test.each(plantedBugs.map(({ name, breaks }) => [name, breaks] as const))(
    '%s',
    async (name, breaks) => {
      const { code, output } = await simulate('--bug', name, '--seed', '1', '--seeds', `${seedsMax}`);
      expect(output).toMatch(new RegExp(`^seed [0-9]+: ${breaks}`));
      expect(code).toBe(1);
    },
    120_000,
  );
});

test('a bug whose line is not there any more, or is there twice, is no bug that passes', () => {
  const file = 'packages/core/src/reap.ts';
  expect(() => patchedSource({ file, line: 'return notThere();', becomes: '' })).toThrow(
    'is not there any more',
  );
  expect(() => patchedSource({ file, line: '}', becomes: '' })).toThrow('more than once');
});

test('what is no seed or no bug is said so', async () => {
  for (const args of [
    ['--seed', '-1'],
    ['--seeds', 'many'],
    ['--bug', 'none-of-them'],
  ])
    expect(await simulate(...args)).toMatchObject({ code: 2 });
});
