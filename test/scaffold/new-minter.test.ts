import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeMinter } from '../../scripts/new-minter.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'mayfly-scaffold-'));
const packages = join(copy, 'packages');
const folder = join(packages, 'minters/src/example');

/** The package of minters alone, so that a half-made one never stands in the tree that others test. */
beforeAll(() => {
  mkdirSync(packages);
  for (const part of ['src', 'test', 'package.json'])
    cpSync(join(root, 'packages/minters', part), join(packages, 'minters', part), { recursive: true });
  symlinkSync(join(root, 'packages/minters/node_modules'), join(packages, 'minters/node_modules'));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  cpSync(join(root, 'jest.config.js'), join(copy, 'jest.config.js'));
  writeFileSync(join(copy, 'package.json'), '{ "type": "module" }');
  writeMinter('example', `${packages}/`);
});
afterAll(() => rmSync(copy, { recursive: true }));

function contract() {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const flags = ['--selectProjects', 'unit', '--testPathPatterns', 'src/example', '--json'];
  const run = spawnSync(
    process.execPath,
    ['--experimental-vm-modules', '--no-warnings', jest, '--rootDir', copy, ...flags],
    { cwd: copy, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
  );
  const report: unknown = JSON.parse(run.stdout);
  const count = (name: string) => Number(Reflect.get(Object(report), name));
  return { status: run.status, passed: count('numPassedTests'), failed: count('numFailedTests') };
}

const edit = (file: string, change: (text: string) => string) =>
  writeFileSync(join(folder, file), change(readFileSync(join(folder, file), 'utf8')));

test('a new minter fails its contract until it is done', () => {
  const { status, failed } = contract();
  expect(status).not.toBe(0);
  // Every claim about a plan, about rights and about minting; its mutants die of being unfinished.
  expect(failed).toBeGreaterThan(12);
}, 120_000);

test('with the files of a finished one it holds the contract', () => {
  const finished = join(packages, 'minters/src/github');
  for (const file of readdirSync(finished))
    if (!file.endsWith('.test.ts') || file === 'contract.test.ts')
      cpSync(join(finished, file), join(folder, file));
  const { status, failed, passed } = contract();
  expect([status, failed]).toEqual([0, 0]);
  expect(passed).toBeGreaterThan(30);
}, 120_000);

test('a minter that widens what it sends fails its contract', () => {
  edit('plan.ts', (text) => text.replace('repositories: [repository]', 'repositories: []'));
  expect(contract().status).toBe(1);
}, 60_000);

test('and so does one whose check lets that pass', () => {
  edit('check.ts', (text) =>
    text
      .replace('z.tuple([z.string().regex(/^[A-Za-z0-9._-]{1,100}$/)])', 'z.array(z.string())')
      .replace('checkRepository(body.data, allowed) ??', ''),
  );
  expect(contract().status).toBe(1);
}, 60_000);

test.each(['', 'Upper', 'a', '../x', 'with-dash', 'aws'])('refuses the name %j', (name) => {
  expect(() => writeMinter(name, `${packages}/`)).toThrow(RangeError);
});
