import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, opening, startWorld, type World } from './world.ts';

let world: World;
const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const root = fileURLToPath(new URL('../../', import.meta.url));

beforeAll(async () => {
  world = await startWorld();
}, 60_000);

afterAll(() => world.stop());

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function mayfly(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  const all = { PATH: process.env['PATH'] ?? '', MAYFLY_SERVER: world.url, ...env };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', main, ...args],
      { env: all, cwd: root },
      (error, out, err) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 99, out, err });
      },
    );
  });
}

const asWorkload = async () => ({ MAYFLY_ASSERTION: await world.workload() });
const asPerson = async (groups?: string[]) => ({ MAYFLY_ASSERTION: await world.person(groups) });

test('dev token prints an assertion that the broker takes, twice', async () => {
  for (const _ of [1, 2]) {
    const { code, out } = await mayfly(['dev', 'token', '--sub', 'reconciler', '--data-dir', world.dataDir]);
    expect(code).toBe(0);
    expect((await world.exchange(form(out.trim(), opening('from-cli')))).status).toBe(200);
  }
});

test('exchange works as a credential_process and prints only that on standard output', async () => {
  const args = [
    'exchange',
    '--tool',
    's3.read',
    '--resource',
    'arn:aws:s3:::invoices/2026q3/a.pdf',
    '--template',
    'invoice-reconcile',
    '--ref',
    'cp',
    '--param',
    'quarter=2026q3',
  ];
  const { code, out } = await mayfly([...args, '-o', 'credential-process'], await asWorkload());
  expect(code).toBe(0);
  expect(Object.keys(JSON.parse(out))).toEqual([
    'Version',
    'AccessKeyId',
    'SecretAccessKey',
    'SessionToken',
    'Expiration',
  ]);
});

test('an unmodified boto3 takes its keys from mayfly exchange as credential_process', async () => {
  const config = join(world.dataDir, 'aws-config');
  const command = `${process.execPath} --disable-warning=ExperimentalWarning ${main} exchange --tool s3.read --resource arn:aws:s3:::invoices/2026q3/a.pdf --template invoice-reconcile --ref boto --param quarter=2026q3 -o credential-process`;
  writeFileSync(config, `[default]\nregion = eu-west-1\ncredential_process = ${command}\n`);
  const script = `import boto3;print(boto3.client('s3',endpoint_url='${world.file.aws}').get_object(Bucket='invoices',Key='2026q3/a.pdf')['Body'].read().decode().strip())`;
  const token = `${process.execPath} --disable-warning=ExperimentalWarning ${main} dev token --data-dir ${world.dataDir}`;
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? '',
    AWS_CONFIG_FILE: config,
    MAYFLY_SERVER: world.url,
    MAYFLY_ASSERTION_COMMAND: token,
  };
  const ran = await new Promise<string>((resolve) => {
    execFile('python3', ['-c', script], { env }, (error, out, err) =>
      resolve(error === null ? out : String(err)),
    );
  });
  if (/No module named 'boto3'|ENOENT/.test(ran)) return console.log('skipped: boto3 is not installed');
  expect(ran).toBe('invoice 2026q3/a.pdf\n');
  return undefined;
});

test('a refusal ends with 1 and names the reason and the issuance to explain', async () => {
  const args = [
    'exchange',
    '--tool',
    'mail.send',
    '--resource',
    'https://x.example/',
    '--template',
    'invoice-reconcile',
    '--ref',
    'no',
    '--param',
    'quarter=2026q3',
  ];
  const { code, out, err } = await mayfly(args, await asWorkload());
  expect([code, out]).toEqual([1, '']);
  const [issuance = ''] = /isn_[0-9A-Z]{26}/.exec(err) ?? [];
  expect(err).toContain('tool_not_granted');
  const explained = await mayfly(['explain', issuance, '-o', 'json'], await asPerson());
  expect(JSON.parse(explained.out)).toMatchObject({
    decision: 'deny',
    reason: 'tool_not_granted',
    explanation: { failed: 'grant-covers' },
  });
});

test('task open, show, heartbeat and end', async () => {
  const opened = await mayfly(
    ['task', 'open', '--template', 'invoice-reconcile', '--param', 'quarter=2026q3', '-o', 'json'],
    await asWorkload(),
  );
  const { id, taskToken } = JSON.parse(opened.out);
  const env = { MAYFLY_TASK: id, MAYFLY_TASK_TOKEN: taskToken };
  expect(JSON.parse((await mayfly(['task', 'show', '-o', 'json'], env)).out)).toMatchObject({
    id,
    state: 'open',
  });
  expect(JSON.parse((await mayfly(['task', 'heartbeat', '-o', 'json'], env)).out).taskToken).toEqual(
    expect.any(String),
  );
  expect(JSON.parse((await mayfly(['task', 'end', '-o', 'json'], env)).out)).toMatchObject({
    state: 'completed',
  });
});

test('lint, plan and apply: exit codes as terraform has them', async () => {
  const good = join(world.dataDir, 'good.yaml');
  const bad = join(world.dataDir, 'bad.yaml');
  const text =
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: cli-made }\nspec: { roles: [auditor], subjects: [{ issuer: people, match: { groups: x } }] }\n';
  writeFileSync(good, text);
  writeFileSync(bad, text.replace('roles', 'rolse'));
  expect((await mayfly(['lint', good])).code).toBe(0);
  const linted = await mayfly(['lint', bad]);
  expect([linted.code, linted.out]).toEqual([
    1,
    expect.stringContaining('bad.yaml:4:9: spec.rolse: unknown key; did you mean roles?'),
  ]);
  expect((await mayfly(['plan', good, '--set', 'cli'], await asPerson())).code).toBe(2);
  expect((await mayfly(['apply', good, '--set', 'cli', '--yes'], await asPerson(['audit']))).code).toBe(1);
  expect((await mayfly(['apply', good, '--set', 'cli', '--yes'], await asPerson())).code).toBe(0);
  expect((await mayfly(['plan', good, '--set', 'cli'], await asPerson())).code).toBe(0);
  expect((await mayfly(['get', 'bindings', '-o', 'name'], await asPerson())).out).toContain('cli-made');
});

test('get, whoami, audit query, freeze and thaw', async () => {
  expect(JSON.parse((await mayfly(['whoami', '-o', 'json'], await asPerson())).out)).toMatchObject({
    workload: 'people/jane@corp.example',
    people: true,
  });
  expect((await mayfly(['get', 'issuances'], await asPerson())).out).toContain('ID');
  expect((await mayfly(['audit', 'query', '--type', 'task.opened'], await asPerson())).out).toContain(
    'task.opened',
  );
  const ofTemplate = ['--template', 'cli-only', '--reason', 'INC'];
  expect((await mayfly(['freeze', ...ofTemplate], await asPerson())).out).toContain('cli-only');
  expect((await mayfly(['thaw', ...ofTemplate], await asPerson())).code).toBe(0);
  expect((await mayfly(['freeze', '--reason', 'INC'], await asPerson())).code).toBe(0);
  expect((await mayfly(['thaw', '--reason', 'over'], await asPerson())).code).toBe(0);
});

test('what a server command lacks is said in a sentence with what to set, and is 2; an absent database is 3', async () => {
  const free = { MAYFLY_LISTEN: '127.0.0.1:0', MAYFLY_OPS_LISTEN: '127.0.0.1:0' };
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-cli-'));
  chmodSync(dir, 0o755); // As root, PostgreSQL runs as a user of its own, who must enter it.
  const kek = join(dir, 'kek');
  writeFileSync(kek, randomBytes(32).toString('base64'), { mode: 0o600 });
  const external = {
    ...free,
    DATABASE_URL: 'postgresql://u:hunter2@127.0.0.1:1/x',
    MAYFLY_KEY_ENCRYPTION_KEY: kek,
  };
  const bad: [Record<string, string>, number, string][] = [
    [{ DATABASE_URL: 'localhost/mayfly' }, 2, 'DATABASE_URL'],
    [external, 3, 'ECONNREFUSED'],
    [{ ...free, MAYFLY_DATA_DIR: join(dir, 'a'), MAYFLY_BUNDLE: join(dir, 'nowhere') }, 2, 'nowhere'],
    [
      { ...free, MAYFLY_DATA_DIR: join(dir, 'a'), MAYFLY_LISTEN: new URL(world.url).host },
      2,
      'MAYFLY_LISTEN',
    ],
  ];
  for (const [env, code, word] of bad) {
    const ran = await mayfly(['serve'], { ...env, MAYFLY_LOG_LEVEL: 'error' });
    expect([ran.code, ran.err]).toEqual([code, expect.stringContaining(word)]);
    expect(ran.err + ran.out).not.toMatch(/hunter2|\bat .*\.ts:\d/);
  }
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

test('a form of output that cannot show the credential is refused before anything is minted', async () => {
  const minted = () => world.sql("select count(*) n from audit_entry where type = 'exchange.intended'");
  const before = await minted();
  const args = [
    ...['exchange', '-o', 'header', '--tool', 's3.read', '--resource', 'arn:aws:s3:::invoices/2026q3/a.pdf'],
    ...['--template', 'invoice-reconcile', '--ref', 'form', '--param', 'quarter=2026q3'],
  ];
  const ran = await mayfly(args, await asWorkload());
  expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('unsupported_token_type')]);
  expect(await minted()).toEqual(before);
});

test('usage is 2, an unreachable broker is 3, help and version are 0', async () => {
  expect((await mayfly(['exchange'])).code).toBe(2);
  expect((await mayfly(['whoami'])).code).toBe(2);
  expect(
    (await mayfly(['whoami'], { MAYFLY_ASSERTION: 'x', MAYFLY_SERVER: 'http://127.0.0.1:1' })).code,
  ).toBe(3);
  expect((await mayfly(['get', 'templates', '--state', 'open'])).err).toContain('does not filter by --state');
  expect((await mayfly(['get', 'tasks', '--limit', 'many'])).code).toBe(2);
  expect((await mayfly(['serve'], { DATABASE_URL: 'postgresql://x' })).code).toBe(2);
  expect((await mayfly(['serve'], { MAYFLY_LISTEN: '0.0.0.0:8080' })).code).toBe(2);
  for (const args of [
    ['--help'],
    ['version', '-o', 'json'],
    ['access'],
    ['schema', 'provider'],
    ['config', 'schema'],
    ['task', '--help'],
  ])
    expect((await mayfly(args)).code).toBe(0);
});

test('revoke counts, ends and watches; it names exactly one thing, and needs the role', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('revoked-by-cli')));
  const named = ['--task', body.issuance.task, '--reason', 'INC', '-o', 'json'];
  const counted = await mayfly(['revoke', ...named, '--dry-run'], await asPerson());
  expect([counted.code, JSON.parse(counted.out)]).toMatchObject([0, { dryRun: true, total: 1 }]);
  expect((await mayfly(['revoke', ...named], await asPerson(['audit']))).code).toBe(1);
  expect((await mayfly(['revoke', '--reason', 'INC'], await asPerson())).code).toBe(2);
  expect((await mayfly(['revoke', ...named, '--issuer', 'x'], await asPerson())).code).toBe(2);
  const state = async () =>
    (await world.api('GET', `/v1/tasks/${body.issuance.task}`, { bearer: await world.person() })).body.state;
  expect(await state()).toBe('open');
  const watched = await mayfly(['revoke', ...named, '--watch'], await asPerson());
  expect([watched.code, JSON.parse(watched.out)]).toMatchObject([
    0,
    { state: 'done', ended: 1, credentials: { pending: 0 } },
  ]);
  expect(await state()).toBe('cancelled');
}, 30_000);

test('task signal prints the verdict: of a call, and of an observation', async () => {
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' }, ref: 'signalled' };
  const { body } = await world.api('POST', '/v1/tasks', { bearer: await world.workload(), json });
  const signal = async (...args: string[]) => {
    const ran = await mayfly(['task', 'signal', body.id, ...args, '-o', 'json'], await asWorkload());
    return ran.code === 0 ? JSON.parse(ran.out) : ran.code;
  };
  const call = [
    '--tool',
    's3.read',
    '--identifier',
    'arn:aws:s3:::invoices/2026q3/a.pdf',
    '--action',
    'read',
  ];
  expect(await signal(...call)).toMatchObject({ verdict: 'ok', act: null, state: 'open' });
  expect(await signal('--verdict', 'fine', '--note', 'x')).not.toBe(0);
  const suspended = await signal('--verdict', 'suspended', '--note', 'a prompt told me to stop');
  expect(suspended).toMatchObject({ id: body.id, verdict: 'suspended', act: 'suspend', state: 'suspended' });
});
