import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Which workspace packages each may import; docs/architecture.md draws it. */
const layers: Readonly<Record<string, readonly string[]>> = {
  'packages/protocol': [],
  'packages/core': ['protocol'],
  'packages/policy': ['core', 'protocol'],
  'packages/audit': ['protocol'],
  'packages/attestors': ['core', 'protocol'],
  'packages/minters': ['core', 'protocol'],
  'packages/store': ['core', 'audit', 'protocol'],
  'packages/sdk': ['protocol'],
  'packages/standins': ['protocol'],
  'packages/testkit': ['core', 'protocol', 'audit'],
  'apps/broker': ['attestors', 'audit', 'core', 'minters', 'policy', 'protocol', 'store'],
  'apps/cli': ['broker', 'audit', 'core', 'policy', 'protocol', 'sdk', 'standins', 'store'],
};
/** Lines of one source file; 250 is already long. */
const fileLinesMax = 400;
const root = fileURLToPath(new URL('..', import.meta.url));

/** Imports against the layers, the Prisma client outside store, files that are too long. Prints and returns what is wrong. */
export function checkLayers(): readonly string[] {
  const problems: string[] = [];
  for (const [folder, allowed] of Object.entries(layers)) {
    for (const file of sources(join(root, folder, 'src'))) {
      const text = readFileSync(file, 'utf8');
      const place = relative(root, file);
      for (const [, name = ''] of text.matchAll(/from '@mayfly\/([a-z]+)'|import\('@mayfly\/([a-z]+)'\)/g))
        if (name !== '' && !allowed.includes(name) && !file.endsWith('.test.ts'))
          problems.push(`${place}: ${folder} may not import @mayfly/${name}`);
      if (folder !== 'packages/store' && text.includes('@prisma/'))
        problems.push(`${place}: only packages/store imports Prisma`);
    }
  }
  for (const folder of ['apps', 'packages', 'scripts', 'test'])
    for (const file of sources(join(root, folder))) {
      const lines = readFileSync(file, 'utf8').split('\n').length - 1;
      if (lines > fileLinesMax)
        problems.push(`${relative(root, file)}: ${lines} lines, at most ${fileLinesMax}`);
    }
  return problems;
}

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (name === 'node_modules' || name === 'generated' || name === 'dist') return [];
    return statSync(path).isDirectory() ? sources(path) : /\.(ts|mjs)$/.test(name) ? [path] : [];
  });
}

if (import.meta.main) {
  const problems = checkLayers();
  for (const problem of problems) console.error(problem);
  process.exit(problems.length === 0 ? 0 : 1);
}
