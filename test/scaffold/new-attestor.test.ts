import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeAttestor } from '../../scripts/new-attestor.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'mayfly-scaffold-'));
const packages = join(copy, 'packages');
const folder = join(packages, 'attestors/src/buildkite');

/** The package of attestors alone, so that a half-made one never stands in the tree that others test. */
beforeAll(() => {
  mkdirSync(packages);
  for (const part of ['src', 'test', 'package.json'])
    cpSync(join(root, 'packages/attestors', part), join(packages, 'attestors', part), { recursive: true });
  symlinkSync(join(root, 'packages/attestors/node_modules'), join(packages, 'attestors/node_modules'));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  cpSync(join(root, 'jest.config.js'), join(copy, 'jest.config.js'));
  writeFileSync(join(copy, 'package.json'), '{ "type": "module" }');
  writeAttestor('buildkite', `${packages}/`);
});
afterAll(() => rmSync(copy, { recursive: true }));

function contract() {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const flags = ['--selectProjects', 'unit', '--testPathPatterns', 'src/buildkite', '--json'];
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

test('a new attestor fails its contract until it is done, and not after', () => {
  const unfinished = contract();
  expect(unfinished.status).not.toBe(0);
  expect(unfinished.failed).toBeGreaterThan(unfinished.passed);

  const oidc = readFileSync(join(packages, 'attestors/src/oidc/attestor.ts'), 'utf8');
  edit('attestor.ts', () => oidc.replaceAll('createOidcAttestor', 'createBuildkiteAttestor'));
  const withoutPage = contract();
  expect([withoutPage.status, withoutPage.failed]).toEqual([1, 1]);

  edit('golden.json', (text) =>
    text.replace('the page of the provider that shows this token', 'https://a.example'),
  );
  const done = contract();
  expect([done.status, done.failed]).toEqual([0, 0]);
  expect(done.passed).toBe(unfinished.failed + unfinished.passed);
}, 120_000);

test('an attestor that forgets a check fails its contract', () => {
  edit('attestor.ts', (text) =>
    text.replace('await verifyJwt(assertion, {', 'await verifyJwt(assertion.trim(), {'),
  );
  const { status, failed } = contract();
  expect([status, failed]).toEqual([1, 1]);
}, 60_000);

test.each(['', 'Upper', 'a', '../x', 'with-dash', 'oidc'])('refuses the name %j', (name) => {
  expect(() => writeAttestor(name, `${packages}/`)).toThrow(RangeError);
});
