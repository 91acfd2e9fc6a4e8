import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fault } from '@mayfly/core';
import pg from 'pg';
import { describeLoss } from './database.ts';

const folder = fileURLToPath(new URL('../../../prisma/migrations/', import.meta.url));

/** The migrations cannot go on; says what to do. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

export interface MigrationResult {
  /** Names, in order. */
  readonly applied: readonly string[];
  readonly pending: readonly string[];
}

/**
 * Applies prisma/migrations in order, each in its own transaction, with a ledger as Prisma keeps it
 * (`_prisma_migrations`: checksum = SHA-256 of the file). Two at once wait for each other at the ledger's lock.
 * With `plan` nothing is changed and `pending` tells what would be.
 */
export async function migrate(url: string, options: { plan?: boolean } = {}): Promise<MigrationResult> {
  const client = new pg.Client({ connectionString: url, application_name: 'mayfly migrate' });
  client.on('error', () => undefined); // A lost connection fails the statement that waits for it.
  try {
    await client.connect();
  } catch (cause) {
    throw new Fault('database_unavailable', { effect: 'none', detail: describeLoss(cause), cause });
  }
  try {
    if (options.plan) return { applied: [], pending: (await pendingOf(client)).map(({ name }) => name) };
    await inTransaction(client, () => makeLedger(client));
    await ensureRoles(client);
    const applied: string[] = [];
    for (;;) {
      const name = await inTransaction(client, () => applyNext(client));
      if (name === undefined) return { applied, pending: [] };
      applied.push(name);
    }
  } finally {
    await client.end();
  }
}

interface MigrationFile {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/** Any number that no other program is likely to take: "mayf". */
const ledgerLock = 0x6d617966;

const ledger = `create table if not exists _prisma_migrations (
  id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null,
  logs text, rolled_back_at timestamptz, started_at timestamptz not null default now(), applied_steps_count integer not null default 0)`;

function readFiles(): MigrationFile[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(folder, name, 'migration.sql'));
      return {
        name,
        sql: bytes.toString('utf8'),
        checksum: createHash('sha256').update(bytes).digest('hex'),
      };
    });
}

async function applyNext(client: pg.Client): Promise<string | undefined> {
  await client.query('lock table _prisma_migrations in exclusive mode');
  const [next] = await pendingOf(client);
  if (next === undefined) return undefined;
  await client.query(next.sql);
  await client.query(
    `insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) values ($1, $2, $3, now(), 1)`,
    [randomUUID(), next.checksum, next.name],
  );
  return next.name;
}

async function pendingOf(client: pg.Client): Promise<MigrationFile[]> {
  const { rows } = await client.query<{ there: boolean }>(
    `select to_regclass('_prisma_migrations') is not null as there`,
  );
  const done = rows[0]?.there ? await readLedger(client) : new Map<string, string>();
  return readFiles().filter(({ name, checksum }) => {
    const stored = done.get(name);
    if (stored !== undefined && stored !== checksum)
      throw new MigrationError(
        `migration ${name} was edited after it was applied; restore the file of the release`,
      );
    return stored === undefined;
  });
}

async function readLedger(client: pg.Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ migration_name: string; checksum: string; finished_at: Date | null }>(
    'select migration_name, checksum, finished_at from _prisma_migrations where rolled_back_at is null',
  );
  for (const { migration_name: name, finished_at: finished } of rows)
    if (finished === null)
      throw new MigrationError(`migration ${name} is unfinished; see _prisma_migrations`);
  return new Map(rows.map(({ migration_name: name, checksum }) => [name, checksum]));
}

/** `create table if not exists` of two at once fails in one of them: they take turns, for this transaction only. */
async function makeLedger(client: pg.Client): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1)', [ledgerLock]);
  await client.query(ledger);
}

async function inTransaction<T>(client: pg.Client, run: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await run();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** Roles belong to the whole server, so they are made outside the ledger, where they are missing. */
async function ensureRoles(client: pg.Client): Promise<void> {
  for (const role of ['mayfly_app', 'mayfly_auditor']) {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
    if (rowCount !== 0) continue;
    try {
      await client.query(`create role ${role} nologin`);
    } catch (cause) {
      if (cause instanceof pg.DatabaseError && cause.code === '42710') continue; // Another migrate made it.
      const help = `ask an administrator to run: create role ${role} nologin`;
      throw new MigrationError(`this login may not create the role ${role}; ${help}`, { cause });
    }
  }
}
