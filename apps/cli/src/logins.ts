import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { IdentitySource } from '@mayfly/sdk';
import { z } from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

const login = z.strictObject({ server: z.string(), token: z.string(), expiresAt: z.iso.datetime() });
export type Login = Readonly<z.output<typeof login>>;

/** A token this short before its end is not shown any more: the request would arrive with a dead one. */
const lastSeconds = 5;

/**
 * Logins of this user: one file a server, mode 0600, below $XDG_CONFIG_HOME/mayfly (~/.config/mayfly). Nothing else of the
 * CLI keeps a secret on disk.
 */
export function saveLogin(env: Environment, kept: Login): void {
  const folder = folderOf(env);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const file = fileOf(env, kept.server);
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify(kept)}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(draft, file);
}

export function dropLogin(env: Environment, server: string): void {
  rmSync(fileOf(env, server), { force: true });
}

/** What is there for this server; `undefined` when there is nothing, or nothing that is safe to use. */
export function readLogin(env: Environment, server: string): Login | undefined {
  const found = look(env, server);
  return typeof found === 'string' ? undefined : found;
}

/** The only server that this user is signed in at: what commands mean when nothing names one. */
export function onlyServer(env: Environment): string | undefined {
  let names: readonly string[];
  try {
    names = readdirSync(folderOf(env));
  } catch {
    return undefined;
  }
  const servers = names
    .filter((name) => name.endsWith('.json'))
    .map((name) => decodeURIComponent(name.slice(0, -5)));
  return servers.length === 1 ? servers[0] : undefined;
}

/** The last of all identity sources (contract.md section 2). */
export function loginSource(
  env: Environment,
  server: string,
  now: () => Date = () => new Date(),
): IdentitySource {
  const usable = () => {
    const found = look(env, server);
    if (typeof found === 'string') return found;
    const leftMs = Date.parse(found.expiresAt) - now().getTime();
    return leftMs > lastSeconds * 1000 ? found : `expired ${found.expiresAt}; run mayfly login`;
  };
  return {
    name: 'mayfly login',
    absent: () => {
      const found = usable();
      return typeof found === 'string' ? found : undefined;
    },
    read: () => {
      const found = usable();
      return typeof found === 'string' ? '' : found.token;
    },
  };
}

function look(env: Environment, server: string): Login | string {
  const file = fileOf(env, server);
  let text: string;
  try {
    // As ssh does with its keys: what others can read may be anybody's.
    if ((statSync(file).mode & 0o077) !== 0) return `${file} is open to others; run mayfly login`;
    text = readFileSync(file, 'utf8');
  } catch {
    return `not signed in at ${server}; run mayfly login`;
  }
  const parsed = login.safeParse(jsonOf(text));
  // A file of another server was put there by somebody else.
  return parsed.success && parsed.data.server === server
    ? parsed.data
    : `${file} is unreadable; run mayfly login`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function folderOf(env: Environment): string {
  const stated = env['XDG_CONFIG_HOME'];
  // XDG Base Directory: a relative path is no path.
  const base = stated?.startsWith('/') ? stated : join(env['HOME'] ?? homedir(), '.config');
  return join(base, 'mayfly', 'logins');
}

function fileOf(env: Environment, server: string): string {
  return join(folderOf(env), `${encodeURIComponent(server)}.json`);
}
