import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Embedded, migrate, startEmbedded } from '@mayfly/store';
import pg from 'pg';
import { type PgBouncer, pgbouncerProgram, startPgBouncer } from './pgbouncer.ts';
import { startReplica } from './replica.ts';
import { s3Status } from './s3.ts';
import { form, opening, startWorld, until, type World } from './world.ts';

const program = pgbouncerProgram();
if (program === undefined) console.log('skipped: PgBouncer is not installed (Debian: pgbouncer)');

(program === undefined ? describe.skip : describe)('PgBouncer in transaction mode', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-pooled-'));
  let database: Embedded;
  let pooler: PgBouncer;
  let world: World;
  let replica: Awaited<ReturnType<typeof startReplica>>;

  beforeAll(async () => {
    chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
    database = await startEmbedded({ dataDir: join(dir, 'data'), log: () => undefined });
    await migrate(database.ownerUrl);
    // Far fewer than the connections of two brokers.
    pooler = await startPgBouncer(program ?? '', database.appUrl, 3);
    const keyEncryptionKey = join(dir, 'key-encryption-key');
    writeFileSync(keyEncryptionKey, randomBytes(32).toString('base64'), { mode: 0o600 });
    world = await startWorld({
      databaseUrl: pooler.url,
      keyEncryptionKey,
      settings: { dataDir: join(dir, 'world') },
    });
    replica = await startReplica(world, { databaseUrl: pooler.url, keyEncryptionKey });
  }, 90_000);

  afterAll(async () => {
    await replica.stop();
    await world.stop();
    await pooler.stop();
    await database.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  test('it does hand transactions of one connection to several servers, none of which it was told of', async () => {
    const [one, other] = [pooler.url, pooler.url].map((url) => new pg.Client({ connectionString: url }));
    if (one === undefined || other === undefined) throw new Error('no connection');
    await one.connect();
    await other.connect();
    const servers = new Set<number>();
    for (let round = 0; round < 6; round += 1) {
      await other.query('begin');
      const { rows } = await one.query<{ pid: number }>('select pg_backend_pid() as pid');
      servers.add(rows[0]?.pid ?? 0);
      await other.query('commit');
    }
    expect(servers.size).toBeGreaterThan(1);
    expect(servers.has(Number(Reflect.get(one, 'processID')))).toBe(false);
    await one.end();
    await other.end();
  });

  test('two brokers behind it open, exchange and end at once: each is answered once, and what ends is confirmed', async () => {
    const urls = [world.url, replica.url];
    const refs = Array.from({ length: 60 }, (_, index) => `pooled-${index}`);
    const given = await Promise.all(
      refs.map(async (ref, index) => {
        const body = new URLSearchParams(form(await world.workload(), opening(ref)));
        const answer = await fetch(`${urls[index % 2]}/token`, { method: 'POST', body });
        // biome-ignore lint/suspicious/noExplicitAny: the body of one route
        return { status: answer.status, body: (await answer.json()) as any };
      }),
    );
    expect(new Set(given.map(({ status, body }) => `${status} ${body.reason ?? ''}`))).toEqual(
      new Set(['200 ']),
    );
    const [first] = given;
    expect(await s3Status(world, first?.body.access_token, '2026q3/a.pdf')).toBe(200);
    const ended = await Promise.all(
      given.map(({ body }, index) =>
        fetch(`${urls[index % 2]}/v1/tasks/${body.issuance.task}/end`, {
          method: 'POST',
          headers: { authorization: `Bearer ${body.task_token}`, 'content-type': 'application/json' },
          body: JSON.stringify({ outcome: 'completed' }),
        }).then(({ status }) => status),
      ),
    );
    expect(new Set(ended)).toEqual(new Set([200]));
    const left = async () =>
      Number((await world.sql(`select count(*) as n from work where state = 'revoking'`))[0]?.['n']);
    expect(await until(left, (n) => n === 0)).toBe(0);
    for (const { body } of given) expect(await s3Status(world, body.access_token, '2026q3/a.pdf')).toBe(403);
    const rows = await world.sql<{ n: string }>(
      'select count(*) as n from issuance_delivery d join issuance i on i.id = d.issuance_id where i.purpose = $1',
      ['agent'],
    );
    expect(Number(rows[0]?.n)).toBe(refs.length);
  }, 60_000);

  test('the log has no statement that was lost', async () => {
    const [row] = await world.sql<{ n: number }>(
      `select count(*)::int as n from audit_entry where type = 'exchange.refused'`,
    );
    expect(row?.n).toBe(0);
  });
});
