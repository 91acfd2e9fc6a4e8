import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { auditEvent } from '@mayfly/core';
import { seededIds } from '@mayfly/testkit';
import pg from 'pg';
import { type Embedded, startEmbedded } from './embedded.ts';
import { migrate } from './migrate.ts';
import { createStore, type Store } from './store.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-high-water-'));
const newId = seededIds({ now: () => new Date() });
const event = () =>
  auditEvent(
    { newId, now: new Date() },
    { type: 'installation.recovery_required', actor: 'mayfly', body: {} },
  );
let embedded: Embedded;
let owner: pg.Client;
let stores: Store[] = [];

beforeAll(async () => {
  if (process.getuid?.() === 0) chmodSync(dataDir, 0o711);
  embedded = await startEmbedded({ dataDir, log: () => undefined });
  await migrate(embedded.ownerUrl);
  owner = new pg.Client({ connectionString: embedded.ownerUrl });
  await owner.connect();
}, 60_000);

beforeEach(async () => {
  for (const store of stores) await store.close();
  stores = [1, 2].map(() =>
    createStore({
      ...{ url: embedded.appUrl, connections: 2, endingConnections: 2, reapAgeSeconds: 60 },
      rowMac: () => Buffer.alloc(32),
      onError: () => undefined,
    }),
  );
  await owner.query('update config_epoch set recovery = null');
});

afterAll(async () => {
  for (const store of stores) await store.close();
  await owner.end();
  await embedded.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const both = (): [Store, Store] => {
  const [one, two] = stores;
  if (one === undefined || two === undefined) throw new Error('two replicas are needed');
  return [one, two];
};
const required = async ({ documents }: Store) => (await documents.readEpoch()).isOlder;

test('two brokers raise one mark, and nothing is wrong', async () => {
  const [one, two] = both();
  const marks: number[] = [];
  for (const { highWater } of [one, two, one]) marks.push((await highWater.advance(event())).mark);
  expect(marks.map((mark) => mark - (marks[0] ?? 0))).toEqual([0, 1, 2]);
  expect([await required(one), await required(two)]).toEqual([false, false]);
});

test('one step back is noticed by the next statement of who knew it, and by all once it was looked at', async () => {
  const [one, two] = both();
  const { mark } = await one.highWater.advance(event());
  await owner.query('update config_epoch set mark = $1', [mark - 1]);
  expect([await required(one), await required(two)]).toEqual([true, false]);
  expect((await one.highWater.advance(event())).recovery).toBe('older');
  expect([await required(one), await required(two)]).toEqual([true, true]);
  const { rows } = await owner.query("select from audit_entry where type = 'installation.recovery_required'");
  await two.highWater.advance(event());
  expect(rows).toHaveLength(1);
});

test('what a process before this one has written down counts, of another database it does not', async () => {
  const [one, two] = both();
  const { installation, recovered, mark } = await one.highWater.advance(event());
  const more = { installation, recovered, mark: mark + 10 };
  expect(await two.highWater.learn({ ...more, installation: '0a1b2c3d-0000-4000-8000-1234567890ab' })).toBe(
    false,
  );
  expect(await two.highWater.learn({ mark: 'much' })).toBe(false);
  expect(await required(two)).toBe(false);
  expect(await two.highWater.learn(more)).toBe(true);
  expect(await required(two)).toBe(true);
});

test('another database beneath a running broker is none that it goes on with', async () => {
  const [one] = both();
  await one.highWater.advance(event());
  const { rows } = await owner.query('select installation from config_epoch');
  await owner.query('update config_epoch set installation = gen_random_uuid()');
  expect(await required(one)).toBe(true);
  await owner.query('update config_epoch set installation = $1', [rows[0].installation]);
  expect(await required(one)).toBe(false);
});

test('a recovery lies above everything that was known, and ends only when no task is open', async () => {
  const [one, two] = both();
  await one.highWater.advance(event());
  expect(await one.recovery.require('asked', event())).toBe(true);
  expect(await two.recovery.require('asked', event())).toBe(false);
  const { epoch } = await one.documents.readEpoch();
  expect(await one.recovery.finish(event())).toBe(true);
  expect([await required(one), await required(two)]).toEqual([false, false]);
  expect((await one.documents.readEpoch()).epoch).toBeGreaterThan(Math.max(epoch, 1_700_000_000_000));
  expect((await two.highWater.advance(event())).recovery).toBeNull();
});
