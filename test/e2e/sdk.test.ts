import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseId } from '@mayfly/protocol';
import { type Clock, Mayfly, Refused, systemClock, type Task, TaskOver } from '@mayfly/sdk';
import { FakeClock } from '../../packages/sdk/src/testing/fake-clock.ts';
import { selfSigned } from '../../packages/sdk/src/testing/self-signed.ts';
import { rejection, until } from '../../packages/sdk/src/testing/until.ts';
import { startWorld, type World } from './world.ts';

let world: World;
const root = fileURLToPath(new URL('../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'mayfly-sdk-'));
const key = '2026q3/a.pdf';
const arn = `arn:aws:s3:::invoices/${key}`;
const report = 'https://reports.example/2026q3';

beforeAll(async () => {
  world = await startWorld();
}, 60_000);

afterAll(async () => {
  await world.stop();
  rmSync(scratch, { recursive: true });
});

const client = (clock: Clock = systemClock) =>
  new Mayfly({ server: world.url, env: {}, clock, assertion: () => world.workload() });
const open = (clock?: Clock) =>
  client(clock).task({ template: 'invoice-reconcile', params: { quarter: '2026q3' }, objective: 'test' });
const s3For = (task: Task) =>
  new S3Client({
    endpoint: world.file.aws,
    region: 'eu-west-1',
    forcePathStyle: true,
    credentials: task.aws('s3.read', arn),
  });
const read = (s3: S3Client, name = key) => s3.send(new GetObjectCommand({ Bucket: 'invoices', Key: name }));

/** Credentials of agents; the base session that the broker keeps for itself is none. */
/** The broker's own base session is an issuance too; it is of no grant. */
async function exchangesOf(task: Task): Promise<number> {
  const text = 'select id from mayfly_issuances_v1 where task_id = $1 and grant_name is not null';
  return (await world.sql(text, [uuidOf(task)])).length;
}

async function rowOf(task: Task | string): Promise<Record<string, unknown> | undefined> {
  const id = typeof task === 'string' ? task : uuidOf(task);
  const [row] = await world.sql('select state, objective, ref from mayfly_tasks_v1 where id = $1', [id]);
  return row;
}

function uuidOf({ id }: Task): string {
  return parseId('tsk', id) ?? '';
}

test('ten requests of an unmodified S3Client cost one exchange, and so do concurrent first ones', async () => {
  const task = await open();
  const s3 = s3For(task);
  for (let request = 0; request < 10; request += 1)
    expect((await read(s3)).$metadata.httpStatusCode).toBe(200);
  expect(await exchangesOf(task)).toBe(1);
  await task.complete();
  const other = await open();
  await Promise.all([1, 2, 3, 4, 5].map(() => read(s3For(other))));
  expect(await exchangesOf(other)).toBe(1);
  await other.complete();
});

test('the same client asks its provider for each of ten requests: why the answer comes from memory', async () => {
  const task = await open();
  let asked = 0;
  const provider = task.aws('s3.read', arn);
  const credentials = () => {
    asked += 1;
    return provider();
  };
  const s3 = new S3Client({
    endpoint: world.file.aws,
    region: 'eu-west-1',
    forcePathStyle: true,
    credentials,
  });
  for (let request = 0; request < 10; request += 1) await read(s3);
  expect([asked >= 10, await exchangesOf(task)]).toEqual([true, 1]);
  await task.complete();
});

test('a credential with a fifth of its life left is exchanged anew', async () => {
  const clock = new FakeClock(new Date().toISOString());
  const task = await open(clock);
  const s3 = s3For(task);
  await read(s3);
  clock.advance(47_000);
  await read(s3);
  expect(await exchangesOf(task)).toBe(1);
  clock.advance(1_500);
  await read(s3);
  expect(await exchangesOf(task)).toBe(2);
  await task.complete();
});

test('the keys open one object; the end of the task stops provider, signal and keys', async () => {
  const task = await open();
  const s3 = s3For(task);
  await read(s3);
  await expect(read(s3, '2026q3/b.pdf')).rejects.toMatchObject({ name: 'AccessDenied' });
  const { state, total } = await task.complete();
  expect([state, total, task.signal.aborted, task.signal.reason.reason]).toEqual([
    'completed',
    1,
    true,
    'task_ended',
  ]);
  expect((await rejection(read(s3), TaskOver)).reason).toBe('task_ended');
  expect(await exchangesOf(task)).toBe(1);
});

test('suspended by an operator: the next heartbeat aborts the signal with the reason', async () => {
  const clock = new FakeClock(new Date().toISOString());
  const task = await open(clock);
  const bearer = await world.person();
  const suspended = await world.api('POST', `/v1/tasks/${task.id}/suspend`, {
    bearer,
    json: { reason: 'INC-4711' },
  });
  expect(suspended.status).toBe(200);
  expect(task.signal.aborted).toBe(false);
  clock.advance(110_000);
  await until(() => task.signal.aborted, 1_000_000);
  expect(task.signal.reason).toMatchObject({
    name: 'TaskOver',
    reason: 'task_suspended',
    state: 'suspended',
  });
  expect(task.signal.reason.message).toContain('INC-4711');
  expect((await rejection(task.aws('s3.read', arn)(), TaskOver)).reason).toBe('task_suspended');
  await task[Symbol.asyncDispose]();
  expect(await rowOf(task)).toMatchObject({ state: 'cancelled' });
});

test('ended elsewhere: an exchange hears of it and the signal aborts', async () => {
  const task = await open();
  const bearer = await world.person();
  await world.api('POST', `/v1/tasks/${task.id}/end`, { bearer, json: { outcome: 'cancelled' } });
  expect((await rejection(task.aws('s3.read', arn)(), TaskOver)).reason).toBe('task_ended');
  expect(task.signal.aborted).toBe(true);
});

test('a heartbeat renews lease and token on the server', async () => {
  const clock = new FakeClock(new Date().toISOString());
  const task = await open(clock);
  const lease = async () =>
    (await world.sql<{ lease_until: Date }>('select lease_until from task where id = $1', [uuidOf(task)]))[0]
      ?.lease_until;
  const before = await lease();
  clock.advance(110_000);
  for (let turn = 0; turn < 200 && (await lease())?.getTime() === before?.getTime(); turn += 1);
  expect((await lease())?.getTime()).toBeGreaterThan(before?.getTime() ?? Infinity);
  await task.complete();
});

test('a refusal has its reason, an issuance that explains it, and words for the model', async () => {
  const task = await open();
  const error = await rejection(task.token('mail.send', 'https://mail.example/'), Refused);
  expect([error.reason, error.status, error.retryable]).toEqual(['tool_not_granted', 400, false]);
  expect(error.message).toBe(
    `not granted: tool mail.send is not in invoice-reconcile (has: s3.read, report.post). Ask the owner of the template with: mayfly explain ${error.issuanceId} [tool_not_granted]`,
  );
  expect(error.toModelMessage()).toMatch(/^Mayfly refused the tool "mail\.send".*s3\.read, report\.post/);
  const path = `/v1/issuances/${error.issuanceId}/explanation`;
  expect((await world.api('GET', path, { bearer: await world.person() })).body.reason).toBe(
    'tool_not_granted',
  );
  const outside = await rejection(task.aws('s3.read', 'arn:aws:s3:::invoices/2026q4/a.pdf')(), Refused);
  expect([outside.reason, task.signal.aborted]).toEqual(['resource_outside_grant', false]);
  await task.complete();
});

test('an opening that is refused says so, and one by ref finds its task again', async () => {
  const error = await rejection(client().task({ template: 'nobodys' }), Refused);
  expect([error.reason, error.status]).toEqual(['workload_not_matched', 403]);
  const options = { template: 'invoice-reconcile', params: { quarter: '2026q3' }, ref: 'sdk-1' };
  const [one, two] = [await client().task(options), await client().task(options)];
  expect(two.id).toBe(one.id);
  const other = { ...options, params: { quarter: '2026q4' } };
  expect((await rejection(client().task(other), Refused)).reason).toBe('ref_conflict');
  await one.complete();
  await two.complete(); // The same end again: its own heartbeats stop too.
});

test('a tool token is active at its server until the task ends', async () => {
  const task = await open();
  const token = await task.token('report.post', report);
  const active = async () => {
    const answer = await fetch(`${world.url}/introspect`, {
      method: 'POST',
      body: new URLSearchParams({ token: token.accessToken.reveal() }),
      headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
    });
    return Reflect.get(Object(await answer.json()), 'active');
  };
  expect([token.tokenType, token.authorization().startsWith('Bearer eyJ'), await active()]).toEqual([
    'Bearer',
    true,
    true,
  ]);
  await task.complete();
  expect(await active()).toBe(false);
});

test('await using and run end the task on the server, with what is known of how it went', async () => {
  const said = await (async () => {
    await using task = await open();
    await task.complete();
    return task;
  })();
  const unsaid = await (async () => {
    await using task = await open();
    return task;
  })();
  const options = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
  const ran = await client().run(options, async (task) => uuidOf(task));
  let failed = '';
  await expect(
    client().run(options, (task) => {
      failed = uuidOf(task);
      throw new Error('boom');
    }),
  ).rejects.toThrow('boom');
  const states = await Promise.all(
    [said, unsaid, ran, failed].map(async (one) => (await rowOf(one))?.['state']),
  );
  expect(states).toEqual(['completed', 'cancelled', 'completed', 'failed']);
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A program of its own, with nothing of our environment but PATH. */
function run(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ran> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env };
  return new Promise((resolve) => {
    execFile(program, args, { cwd: options.cwd ?? root, env }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 99, out, err });
    });
  });
}

const main = join(root, 'apps/cli/src/main.ts');
const quiet = '--disable-warning=ExperimentalWarning';

test('examples/agents/agent.ts runs as a program of its own', async () => {
  const app = join(scratch, 'agent');
  mkdirSync(join(app, 'node_modules/@mayfly'), { recursive: true });
  mkdirSync(join(app, 'node_modules/@aws-sdk'));
  symlinkSync(join(root, 'packages/sdk'), join(app, 'node_modules/@mayfly/sdk'));
  symlinkSync(
    join(root, 'test/node_modules/@aws-sdk/client-s3'),
    join(app, 'node_modules/@aws-sdk/client-s3'),
  );
  cpSync(join(root, 'examples/agents/agent.ts'), join(app, 'agent.ts'));
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
  const { code, out, err } = await run(process.execPath, [quiet, 'agent.ts'], {
    cwd: app,
    env: {
      S3: world.file.aws,
      MAYFLY_SERVER: world.url,
      MAYFLY_ASSERTION_COMMAND: `${process.execPath} ${quiet} ${main} dev token --data-dir ${world.dataDir}`,
    },
  });
  expect([code, err]).toEqual([0, '']);
  const lines = out.trim().split('\n');
  expect(lines).toEqual([
    expect.stringMatching(/^tsk_[0-9A-Z]{26} open, tools: s3\.read, report\.post$/),
    '2026q3/a.pdf invoice 2026q3/a.pdf',
    '2026q3/b.pdf invoice 2026q3/b.pdf',
    expect.stringMatching(/^2026q4\/a\.pdf Mayfly refused the tool "s3\.read"/),
    'report.post Bearer [secret]',
    expect.stringMatching(/^tsk_[0-9A-Z]{26} completed, 3 credentials taken back$/),
  ]);
  expect(await rowOf(parseId('tsk', lines[0]?.split(' ')[0] ?? '') ?? '')).toMatchObject({
    objective: 'reconcile Q3',
  });
});

test('the packed package works without type stripping, on the Node of the system', async () => {
  const pack = ['--dir', join(root, 'packages/sdk'), 'pack', '--pack-destination', scratch];
  // As from a terminal: with how the registry is reached, without what `npm test` says to the npm within.
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !/^npm_/.test(name)) env[name] = value;
  const packed = await run('npx', ['--yes', 'pnpm@12.21.0', ...pack], { env });
  expect([packed.code, packed.code === 0 ? '' : packed.out + packed.err]).toEqual([0, '']);
  const app = join(scratch, 'packed');
  const home = join(app, 'node_modules/@mayfly/sdk');
  mkdirSync(home, { recursive: true });
  expect(
    (await run('tar', ['xzf', join(scratch, 'mayfly-sdk-0.1.0.tgz'), '-C', home, '--strip-components=1']))
      .code,
  ).toBe(0);
  const program = `import { Mayfly } from '@mayfly/sdk';
const options = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
const keys = await new Mayfly().run(options, (task) => task.aws('s3.read', '${arn}')());
console.log(process.version, Object.keys(keys).join(), JSON.stringify({ keys }));`;
  writeFileSync(join(app, 'app.mjs'), program);
  const setting = { MAYFLY_SERVER: world.url, MAYFLY_ASSERTION: await world.workload() };
  const { code, out, err } = await run(await systemNode(), ['app.mjs'], { cwd: app, env: setting });
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(
    /^v\d+\.\S+ accessKeyId,secretAccessKey,sessionToken,expiration {"keys":"\[secret\]"}\n$/,
  );
}, 60_000);

/** A Node that is not the one of node_modules, where there is one: usually older. */
async function systemNode(): Promise<string> {
  const own = (path: string) => path.includes('node_modules');
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !own(folder))
    .map((folder) => join(folder, 'node'));
  return found.find((path) => existsSync(path)) ?? process.execPath;
}

test('the CLI speaks as the sdk does: its refusals, its sources, MAYFLY_CA_FILE', async () => {
  const cli = (args: string[], env: Record<string, string>) =>
    run(process.execPath, [quiet, main, ...args], { env });
  const ask = [
    'exchange',
    '--tool',
    'mail.send',
    '--resource',
    'https://x.example/',
    '--template',
    'invoice-reconcile',
    '--ref',
    'cli-sdk',
    '--param',
    'quarter=2026q3',
  ];
  const refused = await cli(ask, { MAYFLY_SERVER: world.url, MAYFLY_ASSERTION: await world.workload() });
  expect([refused.code, refused.out]).toEqual([1, '']);
  expect(refused.err).toMatch(
    /^not granted: tool mail\.send is not in invoice-reconcile\. Ask the owner of the template with: mayfly explain isn_[0-9A-Z]{26} \[tool_not_granted\]\n$/,
  );
  const { key: tlsKey, cert } = selfSigned();
  const caFile = join(scratch, 'ca.pem');
  writeFileSync(caFile, cert);
  const server = createServer({ key: tlsKey, cert }, (_, response) =>
    response.end('{"workload":"people/x"}'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = `https://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  const whoami = ['whoami', '-o', 'json'];
  const known = await cli(whoami, { MAYFLY_SERVER: url, MAYFLY_ASSERTION: 'x', MAYFLY_CA_FILE: caFile });
  expect(JSON.parse(known.out)).toMatchObject({
    workload: 'people/x',
    server: url,
    identityFrom: 'MAYFLY_ASSERTION',
  });
  const unknown = await cli(whoami, { MAYFLY_SERVER: url, MAYFLY_ASSERTION: 'x' });
  expect([unknown.code, unknown.err.includes('[tls_untrusted]')]).toEqual([3, true]);
  server.close();
  const nowhere = await cli(whoami, { MAYFLY_SERVER: 'http://10.0.0.1', MAYFLY_ASSERTION: 'x' });
  expect([nowhere.code, nowhere.err.includes('[server_plain_http]')]).toEqual([2, true]);
}, 60_000);
