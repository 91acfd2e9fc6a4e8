import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startWorld, type World } from './world.ts';

let world: World;
const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

beforeAll(async () => {
  world = await startWorld({ scopedSessions: false });
}, 60_000);
afterAll(() => world.stop());

interface Row {
  readonly check: string;
  readonly ok: boolean;
  readonly says: string;
}

/** The rows about providers of `mayfly doctor` on this machine, beside the running broker; and its exit code. */
function doctor(): Promise<{ code: number; rows: Row[] }> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    MAYFLY_DATA_DIR: world.dataDir,
    MAYFLY_LISTEN: new URL(world.url).host,
  };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [main, 'doctor', '-o', 'json'], { env }, (error, out, err) => {
      if (out === '') return reject(new Error(err));
      const rows: Row[] = JSON.parse(out);
      const code = error === null ? 0 : Number(error.code);
      return resolve({ code, rows: rows.filter(({ check }) => check.startsWith('provider ')) });
    });
  });
}

test('doctor looks at every provider where it is, and says what it can do', async () => {
  const since = world.clouds.aws.ledger().length;
  expect(await doctor()).toEqual({
    code: 0,
    rows: [
      {
        check: 'provider local-aws: mint finance',
        ok: true,
        says: 'may be assumed, and not without a SourceIdentity',
      },
      {
        check: 'provider local-aws: canary finance',
        ok: true,
        says: 'can be read, so a denial can be seen to be felt',
      },
      {
        check: 'provider local-aws: scoped sessions',
        ok: true,
        says: 'not there: each credential is a session whose policy carries its end',
      },
      {
        check: 'provider local-aws: revoke finance',
        ok: true,
        says: 'its deny document can be read (none), sourceIdentity',
      },
      { check: 'provider local-aws: boundary finance', ok: true, says: 'is mayfly-boundary' },
    ],
  });
  // Every session that was made to look may do nothing, or read the canary, or is the reaper's.
  const made = world.clouds.aws
    .ledger(since)
    .filter(
      ({ eventName, responseElements }) => eventName.startsWith('AssumeRole') && responseElements !== null,
    )
    .map(({ requestParameters }) => [
      String(requestParameters['roleArn']).split('/').at(-1),
      /"Effect":"Deny"|mayfly-canary"/.exec(String(requestParameters['policy']))?.[0],
    ]);
  expect(made).toEqual([
    ['finance', '"Effect":"Deny"'],
    ['finance', 'mayfly-canary"'],
    ['reaper', undefined],
  ]);
});

test('a reaper that is refused fails the doctor, and the statement that is missing is printed', async () => {
  world.clouds.aws.faults.arm({ action: 'GetRolePolicy', mode: 'refuse', status: 403, code: 'AccessDenied' });
  const { code, rows } = await doctor();
  expect(code).toBe(1);
  expect(rows.filter(({ ok }) => !ok)).toEqual([
    {
      check: 'provider local-aws: revoke finance',
      ok: false,
      says: expect.stringContaining('reaper needs {"Effect":"Allow","Action":["iam:PutRolePolicy"'),
    },
  ]);
});
