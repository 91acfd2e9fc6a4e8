import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Mayfly } from '@mayfly/sdk';
import { type LiveAws, tryAws } from '../../scripts/live/aws.ts';
import { allowedKey, startWorld, type World } from './world.ts';

let world: World;
/** Its credentials end by nothing but time. */
let undenied: World;
const folder = mkdtempSync(join(tmpdir(), 'mayfly-live-'));

beforeAll(async () => {
  world = await startWorld();
  undenied = await startWorld({
    edit: (text) =>
      text
        .replace('revoke: deny-policy', 'revoke: none')
        .replaceAll('ttl: { default: 60s', 'ttl: { default: 30s'),
  });
}, 60_000);
afterAll(async () => {
  await Promise.all([world.stop(), undenied.stop()]);
  rmSync(folder, { recursive: true });
});

const neighbour = allowedKey.replace('2026q3', '2026q4');

async function tried(more: Partial<LiveAws> = {}, at = world) {
  const lines: string[] = [];
  const held = await tryAws({
    mayfly: new Mayfly({ server: at.url, env: {}, assertion: () => at.workload() }),
    ...{ template: 'invoice-reconcile', params: { quarter: '2026q3' }, tool: 's3.read' },
    ...{ allowed: allowedKey, neighbour, region: 'eu-west-1', endpoint: at.file.aws, skipExpiry: true },
    ...more,
    say: (line) => void lines.push(line),
  });
  return { held, lines };
}

// Two at once: each waits for the end of keys of 30 s.
test('the script for a real account holds on the stand-in, and finds out where nothing denies', async () => {
  const [sound, lax] = await Promise.all([tried({ skipExpiry: false }), tried({}, undenied)]);
  expect([sound.held, sound.lines]).toEqual([
    true,
    [
      'held   another task reads the object: 200',
      'held   the object: 200',
      'held   its neighbour: 403',
      'held   another action, a listing: 403',
      expect.stringMatching(/^held {3}[0-9.]+ s after the end of its task, with [1-9][0-9]* s left: 403$/),
      'held   the other task’s session, not ended: 200',
      expect.stringMatching(/^held {3}-?[0-9.]+ s after its own end: 40[03]$/),
    ],
  ]);
  expect(lax.held).toBe(false);
  expect(lax.lines).toContainEqual(expect.stringMatching(/^FAILED .* s after the end of its task/));
}, 120_000);

test('it says which step does not hold, and what it skips', async () => {
  const { held, lines } = await tried({ neighbour: allowedKey });
  expect(held).toBe(false);
  expect(lines.filter((line) => !line.startsWith('held'))).toEqual([
    'FAILED its neighbour: 200, not 403',
    'skipped the expiry of a session: --skip-expiry',
  ]);
}, 60_000);

test('as a program it ends with 1 where a step does not hold, and with 2 and its usage without arguments', async () => {
  const script = fileURLToPath(new URL('../../scripts/live/aws.ts', import.meta.url));
  const run = async (args: readonly string[]) => {
    // A fresh one for each task: this issuer's are good for once.
    const file = join(folder, 'assertions');
    writeFileSync(file, `${await world.workload()}\n${await world.workload()}\n`);
    const env = {
      ...{ PATH: process.env['PATH'], MAYFLY_SERVER: world.url },
      MAYFLY_ASSERTION_COMMAND: `head -n 1 ${file}; sed -i 1d ${file}`,
    };
    return promisify(execFile)(process.execPath, ['--no-warnings', script, ...args], { env }).then(
      ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
      (error: unknown) => {
        const { code, stdout, stderr } = Object(error);
        return { code, stdout, stderr };
      },
    );
  };
  expect(await run([])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--allowed arn:aws:s3:::'),
  });
  expect(await run(['--bogus'])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^Unknown option '--bogus'.*\n.*--template NAME/s),
  });
  const args = ['--template', 'invoice-reconcile', '--param', 'quarter=2026q3', '--tool', 's3.read'];
  const places = ['--allowed', allowedKey, '--neighbour', allowedKey, '--region', 'eu-west-1'];
  const failed = await run([...args, ...places, '--endpoint', world.file.aws, '--skip-expiry']);
  expect(failed).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/FAILED its neighbour.*not every step held\n$/s),
  });
}, 60_000);
