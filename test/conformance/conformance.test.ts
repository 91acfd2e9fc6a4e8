import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { failure } from './case.ts';
import { cases, unseen } from './cases.ts';
import { dropHeader, editJson, onSuccess, onToken } from './mutants/moves.ts';
import { startProxy } from './mutants/proxy.ts';
import { type Ours, startOurs } from './ours.ts';
import { junit, textReport } from './report.ts';
import { type Result, runCases } from './run.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
let ours: Ours;
let dir: string;

beforeAll(async () => {
  ours = await startOurs();
  dir = mkdtempSync(join(tmpdir(), 'conformance-'));
}, 60_000);

afterAll(async () => {
  await ours.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('ours passes every case, and none is skipped', async () => {
  const results = await runCases(cases, ours.profile);
  expect(results.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
  expect(results).toHaveLength(cases.length);
}, 60_000);

/** The command as it stands in package.json, but for the installation. */
function run(...args: string[]): Promise<{ code: number | null; out: string; words: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [here('main.ts'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, words] = ['', ''];
    child.stdout.on('data', (piece: Buffer) => {
      out += piece.toString();
    });
    child.stderr.on('data', (piece: Buffer) => {
      words += piece.toString();
    });
    child.once('close', (code) => resolve({ code, out, words }));
  });
}

function profileFile(change: object = {}): string {
  const file = join(dir, 'profile.json');
  writeFileSync(file, JSON.stringify({ ...ours.profile, ...change }));
  return file;
}

describe('the command', () => {
  test('runs against another server by its profile, endpoints from the metadata, and exits 0', async () => {
    const features = ours.profile.features.filter((name) => name !== 'api');
    const { code, out } = await run(
      '--profile',
      profileFile({ features, endpoints: {} }),
      '--only',
      'A1,H,N1',
    );
    expect(out).toContain('skipped N1     an error of the API');
    expect(out).toContain('the profile has no api');
    expect(out).toMatch(/12 cases: 11 ok, 0 FAILED, 1 skipped/);
    expect(code).toBe(0);
  });

  test('exits 1 when a case fails, in text and JUnit, and shows no token', async () => {
    const worse = editJson(
      (seen, told) => onToken(seen, told) && onSuccess(seen, told),
      (body) => Object.assign(body, { refresh_token: 'x' }),
    );
    const mutant = {
      breaks: 'A1.b',
      says: 'two things',
      answer: async (...[told, seen, tools]: Parameters<typeof worse>) =>
        dropHeader('allow')(await worse(told, seen, tools), seen, tools),
    };
    const proxy = await startProxy(ours.profile, mutant, ours.serverKeyFile);
    const file = join(dir, 'junit.xml');
    const only = ['--only', 'A1.b,B7.b,B8'];
    const { code, out } = await run(
      '--profile',
      profileFile(),
      '--base',
      proxy.base,
      ...only,
      '--junit',
      file,
    );
    await proxy.stop();
    expect(code).toBe(1);
    const failed = [...out.matchAll(/^FAILED\s+(\S+)/gm)].map(([, id]) => id);
    expect(failed).toEqual(['A1.b', 'B7.b']);
    expect(out).toContain('expected no refresh_token; came 200');
    const xml = readFileSync(file, 'utf8');
    expect(xml).toContain('<testsuite name="conformance" tests="4" failures="2" skipped="0">');
    expect(xml.match(/<failure /g)).toHaveLength(2);
    for (const text of [out, xml]) expect(text).not.toMatch(/eyJ/);
  });

  test('lists every case and every line without one', async () => {
    const { code, out } = await run('--list');
    const listed = [...out.matchAll(/^([A-Z][0-9]*(?:\.[a-z])?) /gm)].map(([, id]) => id);
    expect(listed).toEqual([...cases, ...unseen].map(({ id }) => id));
    expect(code).toBe(0);
  });

  test.each([
    ['an unknown case', () => ['--only', 'Z9'], 'no case is called Z9'],
    ['an unknown flag', () => ['--nonsense'], '--nonsense'],
    ['a base without profile', () => ['--base', 'http://127.0.0.1:1'], '--base needs --profile'],
    ['no profile', () => ['--profile', join(dir, 'missing.json')], 'missing.json'],
    ['a bad profile', () => ['--profile', profileFile({ features: ['magic'] })], 'unknown features magic'],
    ['no server', () => ['--profile', profileFile(), '--base', 'http://127.0.0.1:1'], 'ECONNREFUSED'],
  ])('exits 2 for %s', async (_, args, says) => {
    const { code, words } = await run(...args());
    expect(words).toContain(says);
    expect(code).toBe(2);
  });
});

/** The profile has so many lines under each letter. */
const lines = { A: 12, B: 13, C: 8, D: 9, E: 4, F: 8, G: 4, H: 5, I: 4, J: 5, K: 1, L: 10, N: 2, O: 7, P: 4 };

test('each line of the profile has a case, or the reason why not', () => {
  const covered = new Set([...cases, ...unseen].map(({ id }) => id.split('.')[0]));
  const all = Object.entries(lines).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, index) => `${letter}${index + 1}`),
  );
  expect(all.filter((line) => !covered.has(line))).toEqual([]);
  expect([...covered].filter((line) => line !== 'M' && !all.includes(String(line)))).toEqual([]);
});

test('a failure repeats nothing that a server could have been told', () => {
  const told = {
    status: 400,
    headers: {},
    text: '',
    body: { error: 'eyJ.a.b', reason: 'x_y' },
    sent: 'POST /token',
  };
  expect(failure(told, 'a token').message).toBe('sent POST /token; expected a token; came 400 no code x_y');
});

test('a report escapes what a server says', () => {
  const said = { rule: 'a & b', source: 'x', must: 'MUST', seconds: 0.1 } as const;
  const results: Result[] = [
    { ...said, id: 'A1', outcome: 'FAILED', says: 'came <x "y">\u0000' },
    { ...said, id: 'A2', outcome: 'ok' },
    { ...said, id: 'A3', outcome: 'skipped', says: 'no z' },
  ];
  expect(junit(results)).toContain('<failure message="came &lt;x &quot;y&quot;&gt;"/>');
  expect(junit(results)).toContain('name="A1 a &amp; b"');
  expect(textReport(results)).toContain('3 cases: 1 ok, 1 FAILED, 1 skipped');
});

test('the suite knows nothing of Mayfly’s packages', () => {
  const own = /^(ours|documents)\.ts$|\.test\.ts$/;
  const files = readdirSync(here('.'), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((name) => name.endsWith('.ts') && !own.test(name));
  expect(sources.length).toBeGreaterThan(20);
  for (const name of sources) {
    const imported = [...readFileSync(here(name), 'utf8').matchAll(/from '([^']+)'/g)].map(
      ([, from]) => from,
    );
    const foreign = imported.filter((from) => !/^(node:|jose$|\.\.?\/(?!\.\.))/.test(String(from)));
    expect([name, foreign]).toEqual([name, []]);
  }
});
