import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Embedded, findEmbedded, startEmbedded } from './embedded.ts';

let dataDir: string;
let database: Embedded;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'mayfly-embedded-'));
  chmodSync(dataDir, 0o711);
  database = await startEmbedded({ dataDir, log: () => undefined });
}, 60_000);

afterEach(async () => {
  await database.stop();
  rmSync(dataDir, { recursive: true, force: true });
}, 60_000);

const pid = () => database.pid ?? Number.NaN;
const isAlive = () => existsSync(`/proc/${pid()}`);

test('it runs until it is stopped, and stopping twice is as stopping once', async () => {
  expect([findEmbedded(dataDir)?.pid, isAlive()]).toEqual([pid(), true]);
  await expect(startEmbedded({ dataDir, log: () => undefined })).rejects.toThrow('runs already');
  await database.stop();
  expect([findEmbedded(dataDir), isAlive()]).toEqual([undefined, false]);
  await database.stop();
}, 60_000);

test.each(['SIGINT', 'SIGKILL'] as const)(
  'one that ended by %s before is stopped',
  async (signal) => {
    process.kill(pid(), signal); // What Ctrl-C in a terminal sends to the whole group; what a crash is.
    while (isAlive()) await wait(5); // As a zombie too, so until its exit was seen here.
    await database.stop();
    expect(findEmbedded(dataDir)).toBeUndefined();
  },
  60_000,
);
