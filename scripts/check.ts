import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string) => join(root, 'node_modules', '.bin', name);
const node = bin('node');
const jest = ['--experimental-vm-modules', '--no-warnings', join(root, 'node_modules/jest/bin/jest.js')];

/** What `pnpm check` is: under a minute, the first thing that CI runs. Every step runs, so that all news come at once. */
const steps: readonly (readonly [name: string, program: string, args: readonly string[]])[] = [
  ['format and lint', bin('biome'), ['check', '.']],
  ['layers and file sizes', node, [join(root, 'scripts/check-layers.ts')]],
  ['types', bin('tsc'), ['-p', root]],
  ['generated pages', node, [join(root, 'scripts/generate.ts'), '--check']],
  ['unit tests', node, [...jest, '--selectProjects', 'unit']],
];

let failed = 0;
for (const [name, program, args] of steps) {
  const started = Date.now();
  const { status, stdout, stderr } = spawnSync(program, [...args], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (status === 0) continue;
  failed += 1;
  console.log(stdout, stderr);
}
process.exit(failed === 0 ? 0 : 1);
