import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './world.ts';

/** Debian's place; undefined where the package is not installed. */
export function pgbouncerProgram(): string | undefined {
  return ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((path) => existsSync(path));
}

export interface PgBouncer {
  readonly version: string;
  /** The same login and database, through it. */
  readonly url: string;
  stop(): Promise<void>;
}

const startSecondsMax = 10;

/** A real PgBouncer before this database, in transaction mode, with so few server connections that they must be shared. */
export async function startPgBouncer(program: string, databaseUrl: string, size: number): Promise<PgBouncer> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-pgbouncer-'));
  chmodSync(dir, 0o755);
  const { hostname, port: serverPort, username, password, pathname } = new URL(databaseUrl);
  const database = pathname.slice(1);
  const port = await freePort();
  const login = decodeURIComponent(username);
  const secret = decodeURIComponent(password);
  const md5 = createHash('md5').update(`${secret}${login}`).digest('hex');
  writeFileSync(join(dir, 'users'), `"${login}" "md5${md5}"\n`, { mode: 0o644 });
  const config = `[databases]
${database} = host=${hostname} port=${serverPort} dbname=${database} user=${login} password='${secret}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = md5
auth_file = ${join(dir, 'users')}
pool_mode = transaction
default_pool_size = ${size}
server_round_robin = 1
`;
  writeFileSync(join(dir, 'pgbouncer.ini'), config, { mode: 0o644 });
  // It refuses to run as root.
  const asUser = process.getuid?.() === 0 ? ['-u', 'postgres'] : [];
  const child = spawn(program, [...asUser, join(dir, 'pgbouncer.ini')], { stdio: 'ignore' });
  await answers(port, child);
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  return {
    version: /[0-9]+\.[0-9.]+/.exec(stdout)?.[0] ?? 'unknown',
    url: url.href,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit');
        child.kill('SIGTERM');
        await gone;
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  const until = Date.now() + startSecondsMax * 1000;
  while (!(await isOpen(port))) {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}`);
    if (Date.now() > until) throw new Error('pgbouncer does not answer');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.end());
  });
}
