import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openBrowser } from './browser.ts';
import { confirmCode, enterCode, type Person, passSignIn } from './sign-in.ts';
import { startWorld, type World } from './world.ts';

let world: World;
let home: string;
const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const args = (rest: string[]) => ['--disable-warning=ExperimentalWarning', main, ...rest];

beforeAll(async () => {
  world = await startWorld({ settings: { signInPollInterval: '1s' } });
  home = join(world.dataDir, 'config');
}, 60_000);

afterAll(() => world.stop());

const environment = (more: Record<string, string> = {}) => ({
  PATH: process.env['PATH'] ?? '',
  XDG_CONFIG_HOME: home,
  ...more,
});

function mayfly(
  rest: string[],
  more: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, args(rest), { env: environment(more) }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 99, out, err });
    });
  });
}

interface Started {
  readonly address: string;
  readonly code: string;
  readonly ended: Promise<{ code: number | null; err: string; out: string }>;
}

/** `mayfly login` up to its words to the person. */
async function start(): Promise<Started> {
  const child: ChildProcess = spawn(process.execPath, args(['login', '--server', world.url]), {
    env: environment(),
  });
  let [err, out] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    out += text;
  });
  const ended = new Promise<{ code: number | null; err: string; out: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, err, out }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('close', () => reject(new Error(err)));
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      err += text;
      if (err.includes('compare the code')) resolve();
    });
  });
  return {
    address: /Open (\S+)/.exec(err)?.[1] ?? '',
    code: /code: (\S+)/.exec(err)?.[1] ?? '',
    ended,
  };
}

async function answer({ address }: Started, person: Person = {}): Promise<void> {
  const browser = openBrowser();
  const device = {
    device_code: '',
    user_code: '',
    interval: 1,
    expires_in: 600,
    verification_uri: `${world.url}/device`,
    verification_uri_complete: address,
  };
  await passSignIn(world, browser, { page: await confirmCode(browser, device), person });
}

test('login by the device flow, whoami, and logout, which ends the token at the broker', async () => {
  const started = await start();
  expect(started.code).toMatch(/^[B-Z]{4}-[B-Z]{4}$/);
  expect(started.address).toContain(started.code);
  await answer(started, { groups: 'audit' });
  const { code, err, out } = await started.ended;
  expect([code, out, err.includes(`Signed in at ${world.url}`)]).toEqual([0, '', true]);
  const folder = join(home, 'mayfly', 'logins');
  const [name = ''] = readdirSync(folder);
  expect([statSync(join(folder, name)).mode & 0o777, statSync(folder).mode & 0o777]).toEqual([0o600, 0o700]);
  const { token } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  expect(err).not.toContain(token);
  // Without MAYFLY_SERVER the one login says where.
  const seen = await mayfly(['whoami']);
  expect([seen.code, seen.out]).toEqual([
    0,
    `jane@corp.example (people)  roles: auditor  from RoleBinding auditors
claims: sub="jane@corp.example" groups=["audit"]
by mayfly login at ${world.url}
`,
  ]);
  expect((await mayfly(['audit', 'query', '--type', 'signin.succeeded'])).out).toContain(
    'people/jane@corp.example',
  );
  // Every other source comes first.
  const other = await mayfly(['whoami', '-o', 'json'], { MAYFLY_ASSERTION: await world.workload() });
  expect(JSON.parse(other.out)).toMatchObject({
    identityFrom: 'MAYFLY_ASSERTION',
    identityNotFrom: expect.arrayContaining(['mayfly login: not needed, MAYFLY_ASSERTION comes first']),
  });
  expect((await mayfly(['logout'])).code).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
  expect((await world.api('GET', '/v1/whoami', { bearer: token })).status).toBe(401);
  const after = await mayfly(['whoami'], { MAYFLY_SERVER: world.url });
  expect([after.code, after.err.includes(`mayfly login: not signed in at ${world.url}`)]).toEqual([2, true]);
  expect((await mayfly(['logout'], { MAYFLY_SERVER: world.url })).code).toBe(1);
}, 60_000);

test('a login that is denied ends with 1 and keeps nothing', async () => {
  const started = await start();
  await answer(started, { cancel: true });
  const { code, err } = await started.ended;
  expect([code, err.includes('[sign_in_denied]')]).toEqual([1, true]);
  expect((await mayfly(['whoami'], { MAYFLY_SERVER: world.url })).code).toBe(2);
}, 60_000);

test('login where sign-in is off, or where nobody answers, says so', async () => {
  const off = await startWorld({ settings: { signInIssuer: undefined, signInClientId: undefined } });
  try {
    const { code, err } = await mayfly(['login', '--server', off.url]);
    expect([code, err.includes('[not_found]')]).toEqual([1, true]);
  } finally {
    await off.stop();
  }
  expect((await mayfly(['login', '--server', 'http://127.0.0.1:1'])).code).toBe(3);
  expect((await mayfly(['login', '--server', 'http://mayfly.example'])).code).toBe(2);
}, 60_000);

test('a page that was only opened approves nothing', async () => {
  const started = await start();
  const browser = openBrowser();
  const device = { verification_uri: `${world.url}/device`, verification_uri_complete: started.address };
  const page = await enterCode(browser, {
    device_code: '',
    user_code: '',
    interval: 1,
    expires_in: 600,
    ...device,
  });
  expect(page.text).toContain(started.code);
  expect((await world.sql(`select from sign_in where model = 'Person'`)).length).toBe(0);
  await answer(started);
  expect((await started.ended).code).toBe(0);
}, 60_000);
