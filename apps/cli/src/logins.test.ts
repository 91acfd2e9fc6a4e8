import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { dropLogin, type Environment, loginSource, onlyServer, readLogin, saveLogin } from './logins.ts';

let home: string;
let env: Environment;
const server = 'https://mayfly.example';
const kept = { server, token: 'secret-token', expiresAt: '2026-11-24T13:00:00.000Z' };
const at = (text: string) => () => new Date(text);
const file = () => join(home, 'mayfly', 'logins', `${encodeURIComponent(server)}.json`);

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'mayfly-logins-'));
  env = { XDG_CONFIG_HOME: home };
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

test('a login is kept for its user alone, one a server, and nothing is left beside it', () => {
  saveLogin(env, kept);
  saveLogin(env, { ...kept, server: 'http://127.0.0.1:8080' });
  saveLogin(env, { ...kept, token: 'newer' });
  expect(readLogin(env, server)).toEqual({ ...kept, token: 'newer' });
  expect(readdirSync(join(home, 'mayfly', 'logins'))).toHaveLength(2);
  expect([statSync(file()).mode & 0o777, statSync(join(home, 'mayfly', 'logins')).mode & 0o777]).toEqual([
    0o600, 0o700,
  ]);
  dropLogin(env, server);
  expect(readLogin(env, server)).toBeUndefined();
  expect(readLogin(env, 'http://127.0.0.1:8080')?.token).toBe('secret-token');
});

test('without XDG_CONFIG_HOME, or with a relative one, it lies below ~/.config', () => {
  for (const stated of [undefined, '', 'relative']) {
    const other = { HOME: join(home, 'user'), XDG_CONFIG_HOME: stated };
    saveLogin(other, kept);
    expect(readdirSync(join(home, 'user', '.config', 'mayfly', 'logins'))).toHaveLength(1);
  }
});

test('the source gives the token while it lives, and says what to do otherwise', () => {
  expect(loginSource(env, server).absent()).toBe(`not signed in at ${server}; run mayfly login`);
  saveLogin(env, kept);
  const live = loginSource(env, server, at('2026-11-24T12:00:00Z'));
  expect([live.absent(), live.read()]).toEqual([undefined, 'secret-token']);
  const over = loginSource(env, server, at('2026-11-24T12:59:55Z'));
  expect([over.absent(), over.read()]).toEqual([`expired ${kept.expiresAt}; run mayfly login`, '']);
  expect(loginSource(env, 'https://other.example').absent()).toMatch(/^not signed in/);
});

test('a file that others can read, or that is of another server, gives nothing', () => {
  saveLogin(env, kept);
  chmodSync(file(), 0o644);
  expect(loginSource(env, server).absent()).toMatch(/is open to others/);
  expect(readLogin(env, server)).toBeUndefined();
  chmodSync(file(), 0o600);
  writeFileSync(file(), JSON.stringify({ ...kept, server: 'https://evil.example' }));
  expect(loginSource(env, server).absent()).toMatch(/is unreadable/);
  writeFileSync(file(), '{');
  expect(loginSource(env, server).absent()).toMatch(/is unreadable/);
});

test('one login is the server that is meant, two are not', () => {
  expect(onlyServer(env)).toBeUndefined();
  saveLogin(env, kept);
  expect(onlyServer(env)).toBe(server);
  saveLogin(env, { ...kept, server: 'https://other.example' });
  expect(onlyServer(env)).toBeUndefined();
});
