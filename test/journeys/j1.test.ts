import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { findEmbedded } from '@mayfly/store';
import { freePort } from '../e2e/world.ts';

/** J1: a newcomer types `npm start`, and in a second terminal what it has printed. */
const root = fileURLToPath(new URL('../../', import.meta.url));
let dir: string;
let dataDir: string;
let dev: ChildProcess;
let printed = '';

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mayfly-j1-'));
  chmodSync(dir, 0o711);
  dataDir = join(dir, 'data');
  const [port, opsPort] = [await freePort(), await freePort()];
  const flags = ['--listen', `127.0.0.1:${port}`, '--ops-listen', `127.0.0.1:${opsPort}`];
  dev = spawn('npm', ['start', '--silent', '--', '--data-dir', dataDir, ...flags], {
    cwd: root,
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    dev.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      printed += chunk;
      if (printed.includes('Ctrl-C stops everything.')) resolve();
    });
    dev.once('exit', (code) => reject(new Error(`npm start ended with ${code}: ${printed}`)));
  });
}, 120_000);

afterAll(() => {
  if (dev.exitCode === null && dev.signalCode === null) process.kill(-(dev.pid ?? 0), 'SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

function bash(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('bash', ['-c', command], { cwd: root }, (error, out, err) =>
      error === null ? resolve(out) : reject(new Error(err)),
    );
  });
}

/** The commands that were printed, with their continuation lines. */
const commands = () =>
  [...printed.matchAll(/^ {2}(curl (?:.*\\\n)*.*)$/gm)].map(([, command = '']) => command);

test('the demo shows its six steps, each as held', () => {
  const lines = printed.split('\n');
  expect(lines[0]).toMatch(/^Mayfly dev {2}\(Node 24\.[0-9.]+, PostgreSQL 18 embedded, data in .*\)$/);
  const steps = lines.slice(1, 7);
  const outcomes = [
    /^ {2}1 allowed {6}s3\.read {2}arn:aws:s3:::invoices\/2026q3\/a\.pdf +200 by the stand-in S3$/,
    /^ {2}2 neighbour {4}same keys, \.\.\.\/2026q4\/a\.pdf +403 by the stand-in S3$/,
    /^ {2}3 not granted {2}tool mail\.send +invalid_target \/ tool_not_granted$/,
    /^ {2}4 task end {5}tsk_[0-9A-Z]{26} completed +denied in [0-9]+ ms, worst case [0-9]+ s$/,
    /^ {2}5 same keys {4}[0-9]+ s of life left +403 by the stand-in S3$/,
    /^ {2}6 audit {8}.* +([0-9]+) of \1 events verified, ([0-9]+) of \2 credentials joined$/,
  ];
  for (const [index, outcome] of outcomes.entries()) expect(steps[index]).toMatch(outcome);
});

test('the printed curl works as printed, twice, and the task ends with what it answered', async () => {
  const [exchange = '', end = ''] = commands();
  const first = JSON.parse(await bash(exchange));
  expect(Object.keys(JSON.parse(first.access_token))).toContain('SecretAccessKey');
  const second = JSON.parse(await bash(exchange));
  expect([second.issuance.task, second.task_token]).toEqual([first.issuance.task, undefined]);
  const ended = await bash(end.replace('TASK_TOKEN', first.task_token).replace('TASK', first.issuance.task));
  expect(JSON.parse(ended)).toMatchObject({ state: 'completed', ending: { total: 2 } });
  expect(JSON.parse(await bash(exchange)).reason).toBe('task_ended');
}, 60_000);

test('the issuances can be read with the CLI of the clone, by a person’s assertion', async () => {
  const [, url = ''] = /^broker (\S+)/m.exec(printed) ?? [];
  const token = `npm run -s mayfly -- dev token --person --sub jane@corp.example --claim groups=platform --data-dir ${dataDir}`;
  const env = `MAYFLY_SERVER=${url} MAYFLY_ASSERTION_COMMAND='${token}'`;
  const table = await bash(`${env} npm run -s mayfly -- get issuances`);
  expect(table).toMatch(/^ID +STATE +WORKLOAD/);
  expect(table).toMatch(/isn_[0-9A-Z]{26} +ended +local\/reconciler +s3\.read/);
  const [refused = ''] = /isn_[0-9A-Z]{26}(?= +refused)/.exec(table) ?? [];
  const explained = await bash(`${env} npm run -s mayfly -- explain ${refused}`);
  expect(explained).toContain('reason: t');
}, 60_000);

test('Ctrl-C ends it and leaves no process', async () => {
  const database = findEmbedded(dataDir)?.pid ?? 0;
  expect(existsSync(`/proc/${database}`)).toBe(true);
  const end = new Promise((resolve) => dev.once('exit', resolve));
  // As a terminal does it: to the whole group.
  process.kill(-(dev.pid ?? 0), 'SIGINT');
  await end; // npm and its shell die of the signal at once; what they started drains.
  const deadline = Date.now() + 30_000;
  const left = () => bash(`pgrep -f '[/]${dataDir.slice(1)}' || true`);
  while ((await left()) !== '' && Date.now() < deadline);
  expect(await left()).toBe('');
  expect(existsSync(`/proc/${database}`)).toBe(false);
}, 60_000);
