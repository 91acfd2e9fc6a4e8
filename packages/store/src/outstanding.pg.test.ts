import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Embedded, startEmbedded } from './embedded.ts';
import { migrate } from './migrate.ts';

/** So many credentials are outstanding in each of two lanes, and three of one are due. Few, and a planner reads them all. */
const outstanding = 100_000;
const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-outstanding-'));
let embedded: Embedded;
let client: pg.Client;

beforeAll(async () => {
  if (process.getuid?.() === 0) chmodSync(dataDir, 0o711);
  embedded = await startEmbedded({ dataDir, log: () => undefined });
  await migrate(embedded.ownerUrl);
  client = new pg.Client({ connectionString: embedded.ownerUrl });
  await client.connect();
  await client.query(
    `insert into work (id, kind, lane, task_id, intended_at, state, due_at, not_after, reach, ends_by)
     select uuidv7(), 'issuance', lane, uuidv7(), now(), 'delivered',
       now() + make_interval(secs => case when n <= 3 and lane = 'aws' then -60 else 3600 end), now() + interval '1 hour', 'mf-' || n, 'denied'
     from generate_series(1, $1::int) n, unnest(array['aws', 'gcp']) lane`,
    [outstanding],
  );
  await client.query('vacuum analyze work');
  // Workers count apart.
  await client.query('set max_parallel_workers_per_gather = 0');
}, 60_000);

afterAll(async () => {
  await client.end();
  await embedded.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const rowsRead = async () => {
  const { rows } = await client.query<{ n: number }>(
    `select (coalesce(idx_tup_fetch, 0) + seq_tup_read)::int as n from pg_stat_xact_user_tables where relname = 'work'`,
  );
  return rows[0]?.n ?? Number.NaN;
};

/** Rows of `work` that this read, and what it answered. */
async function reads(text: string): Promise<{ rows: unknown[]; read: number }> {
  await client.query('begin');
  try {
    const before = await rowsRead();
    const { rows } = await client.query(text);
    return { rows, read: (await rowsRead()) - before };
  } finally {
    await client.query('rollback');
  }
}

test.each([
  ['a claim', "select id from claim_work('aws', 100)", 3],
  ['a claim where nothing is due', "select id from claim_work('gcp', 100)", 0],
  ['a look at what is due', 'select due_lanes()', 1],
  ['what the metrics tell', 'select * from queue_status() where due = 3', 1],
  ['what was denied too widely', 'select * from deny_untold()', 0],
  ['a claim of a revocation', 'select claim_revocation(100, 5)', 1],
])('%s reads what is due, not what is outstanding', async (_, text, found) => {
  const { rows, read } = await reads(text);
  expect(rows).toHaveLength(found);
  expect(read).toBeLessThan(50);
});

test('a count of all does read all, by the same measure', async () => {
  expect((await reads("select count(*) from work where state = 'delivered'")).read).toBeGreaterThanOrEqual(
    outstanding,
  );
});
