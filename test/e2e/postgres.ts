import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '@mayfly/store';
import pg from 'pg';
import { freePort } from './world.ts';

/** A PostgreSQL that is not the broker's own: logins as an administrator makes them (docs/install.md). */
export interface ExternalPostgres {
  readonly version: string;
  /** May migrate. */
  readonly ownerUrl: string;
  /** Member of mayfly_app. */
  readonly appUrl: string;
  readonly auditorUrl: string;
  stop(): Promise<void>;
}

/** The oldest PostgreSQL from 15 on that the system's packages have installed, or undefined. */
export function systemPostgres(): string | undefined {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  const [oldest] = readdirSync(root)
    .map(Number)
    .filter((major) => major >= 15)
    .sort((left, right) => left - right);
  return oldest === undefined ? undefined : join(root, String(oldest), 'bin');
}

export async function startSystemPostgres(bin: string): Promise<ExternalPostgres> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-pg-'));
  chmodSync(dir, 0o777); // PostgreSQL never runs as root: as root it runs as its own user, who makes the cluster here.
  const password = join(dir, 'password');
  writeFileSync(password, 'admin-password', { mode: 0o644 });
  const data = join(dir, 'data');
  const user = postgresUser();
  const made = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'admin', '-A', 'scram-sha-256', `--pwfile=${password}`, '-E', 'UTF8', '--locale=C'],
    { ...user, encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const port = await freePort();
  const flags = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''];
  const server = spawn(join(bin, 'postgres'), flags, { ...user, stdio: 'ignore' });
  const url = (login: string, secret: string, database: string) =>
    `postgresql://${login}:${secret}@127.0.0.1:${port}/${database}`;
  const stop = async () => {
    await ended(server);
    rmSync(dir, { recursive: true, force: true });
  };
  // Left running it would keep jest from ending.
  const version = await prepare(url('admin', 'admin-password', 'postgres')).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    version,
    ownerUrl: url('owner', 'owner-password', 'broker'),
    appUrl: url('serve', 'serve-password', 'broker'),
    auditorUrl: url('auditor', 'auditor-password', 'broker'),
    stop,
  };
}

/** The embedded one, used as if it were somebody else's. */
export async function startEmbeddedAsExternal(): Promise<ExternalPostgres> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-pg-'));
  const { ownerUrl, appUrl, auditorUrl, stop } = await startEmbedded({ dataDir, log: () => undefined });
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  const { rows } = await client.query<{ server_version: string }>('show server_version');
  await client.end();
  return {
    version: rows[0]?.server_version ?? '',
    ownerUrl,
    appUrl,
    auditorUrl,
    stop: async () => {
      await stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Waits until it answers, then makes database and logins; answers its version. */
async function prepare(adminUrl: string): Promise<string> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const client = new pg.Client({ connectionString: adminUrl });
    client.on('error', () => undefined);
    try {
      await client.connect();
      for (const statement of [
        `create role owner login createrole password 'owner-password'`,
        'create database broker owner owner',
        'create role mayfly_app nologin',
        'create role mayfly_auditor nologin',
        `create role serve login password 'serve-password' in role mayfly_app`,
        `create role auditor login password 'auditor-password' in role mayfly_auditor`,
      ])
        await client.query(statement);
      const { rows } = await client.query<{ server_version: string }>('show server_version');
      return rows[0]?.server_version ?? '';
    } catch (error) {
      // 57P03: it is starting up.
      const starting = error instanceof pg.DatabaseError && error.code === '57P03';
      if (Date.now() > deadline || (error instanceof pg.DatabaseError && !starting)) throw error;
    } finally {
      await client.end().catch(() => undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function postgresUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
  return { uid: id('-u'), gid: id('-g') };
}

function ended(server: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (server.exitCode !== null) return resolve();
    server.once('exit', () => resolve());
    server.kill('SIGINT'); // Fast shutdown.
  });
}

/** One statement on a connection of its own. */
export async function sql(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}
