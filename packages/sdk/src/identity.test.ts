import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, expect, test } from '@jest/globals';
import { Misconfigured, NoIdentity, Unavailable } from './errors.ts';
import { createIdentity, type Environment, type IdentityOptions } from './identity.ts';
import { rejection } from './testing/until.ts';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-identity-'));
afterAll(() => rmSync(dir, { recursive: true }));

const nowhere = join(dir, 'no-such-file');
const identity = (env: Environment, more: Partial<IdentityOptions> = {}) =>
  createIdentity({
    env,
    audience: 'https://mayfly.example',
    projectedTokenFile: nowhere,
    productNameFile: nowhere,
    ...more,
  });
const taken = async (env: Environment, more: Partial<IdentityOptions> = {}) => {
  const { token, kind, source } = await identity(env, more).subject();
  return [token.reveal(), kind, source];
};

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

test('the sources are taken in the order of the contract', async () => {
  const projectedTokenFile = file('projected', 'projected.jwt\n');
  const all = {
    MAYFLY_TASK_TOKEN: 'task.token',
    MAYFLY_ASSERTION: 'from.variable',
    MAYFLY_ASSERTION_FILE: file('assertion', ' from.file\n'),
    MAYFLY_ASSERTION_COMMAND: 'echo from.command',
  };
  const option = { assertion: () => 'from.option', projectedTokenFile };
  expect(await taken(all, option)).toEqual(['task.token', 'access_token', 'MAYFLY_TASK_TOKEN']);
  const { MAYFLY_TASK_TOKEN: _1, ...four } = all;
  expect(await taken(four, option)).toEqual(['from.option', 'jwt', 'option assertion']);
  expect(await taken(four, { projectedTokenFile })).toEqual(['from.variable', 'jwt', 'MAYFLY_ASSERTION']);
  const { MAYFLY_ASSERTION: _2, ...three } = four;
  expect(await taken(three, { projectedTokenFile })).toEqual(['from.file', 'jwt', 'MAYFLY_ASSERTION_FILE']);
  const { MAYFLY_ASSERTION_FILE: _3, ...two } = three;
  expect(await taken(two, { projectedTokenFile })).toEqual([
    'from.command',
    'jwt',
    'MAYFLY_ASSERTION_COMMAND',
  ]);
  expect(await taken({}, { projectedTokenFile })).toEqual([
    'projected.jwt',
    'jwt',
    'Kubernetes projected token',
  ]);
});

test('a further source is asked after all others', async () => {
  const lastSource = { name: 'mayfly login', absent: () => undefined, read: () => 'from-login' };
  expect(await taken({}, { lastSource })).toEqual(['from-login', 'jwt', 'mayfly login']);
  const env = { MAYFLY_ASSERTION: 'from.variable' };
  expect(await taken(env, { lastSource })).toEqual(['from.variable', 'jwt', 'MAYFLY_ASSERTION']);
  const absent = { ...lastSource, absent: () => 'not signed in' };
  const { tried } = await rejection(identity({}, { lastSource: absent }).subject(), NoIdentity);
  expect(tried.at(-1)).toEqual({ source: 'mayfly login', taken: false, says: 'not signed in' });
});

test('an assertion is never a task token', async () => {
  const env = { MAYFLY_TASK_TOKEN: 'task.token', MAYFLY_ASSERTION: 'an.assertion' };
  expect((await identity(env).assertion()).token.reveal()).toBe('an.assertion');
  await rejection(identity({ MAYFLY_TASK_TOKEN: 'task.token' }).assertion(), NoIdentity);
});

test('a file is read again, and a command run again, at each use', async () => {
  const path = file('moving', 'first');
  const reads = identity({ MAYFLY_ASSERTION_FILE: path });
  expect((await reads.subject()).token.reveal()).toBe('first');
  writeFileSync(path, 'second');
  expect((await reads.subject()).token.reveal()).toBe('second');
  const runs = identity({
    MAYFLY_ASSERTION_COMMAND: `echo x >> ${join(dir, 'runs')}; wc -l < ${join(dir, 'runs')}`,
  });
  expect((await runs.subject()).token.reveal()).toBe('1');
  expect((await runs.subject()).token.reveal()).toBe('2');
});

test('without any source the error lists each one and why not', async () => {
  const error = await rejection(identity({ MAYFLY_ASSERTION: '' }).subject(), NoIdentity);
  expect([error.reason, error.retryable]).toEqual(['no_identity', false]);
  expect(error.tried.map(({ source, taken: one, says }) => [source, one, says])).toEqual([
    ['MAYFLY_TASK_TOKEN', false, 'not set'],
    ['MAYFLY_ASSERTION', false, 'not set'],
    ['MAYFLY_ASSERTION_FILE', false, 'not set'],
    ['MAYFLY_ASSERTION_COMMAND', false, 'not set'],
    ['SPIFFE Workload API', false, 'SPIFFE_ENDPOINT_SOCKET not set'],
    ['Kubernetes projected token', false, `no ${nowhere}`],
    ['GitHub job token', false, 'ACTIONS_ID_TOKEN_REQUEST_URL not set'],
    ['GitLab job token', false, 'MAYFLY_ID_TOKEN not set'],
    ['Google instance identity', false, "GCE_METADATA_HOST not set, and no machine of Google's"],
  ]);
  expect(error.message).toContain('MAYFLY_ASSERTION_COMMAND: not set');
});

test('a source that is there but fails is not passed over for the next', async () => {
  const next = { MAYFLY_ASSERTION_COMMAND: 'echo never' };
  const unread = await rejection(
    identity({ MAYFLY_ASSERTION_FILE: nowhere, ...next }).subject(),
    Unavailable,
  );
  expect(unread.reason).toBe('identity_unavailable');
  const threw = { assertion: () => Promise.reject(new Error('vault is sealed')) };
  expect((await rejection(identity(next, threw).subject(), Unavailable)).reason).toBe('identity_unavailable');
});

test('a command that fails says its code, and nothing of what it printed', async () => {
  const env = { MAYFLY_ASSERTION_COMMAND: 'echo an.assertion; echo more >&2; exit 7' };
  const error = await rejection(identity(env).subject(), Unavailable);
  expect(error.message).toContain('failed with 7');
  expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(/an\.assertion|more/);
});

test.each(['two words', 'line\nline', 'a'.repeat(16_385), 'quote"'])(
  'what is no token is refused and not quoted (%#)',
  async (value) => {
    const error = await rejection(identity({ MAYFLY_ASSERTION: value }).subject(), Misconfigured);
    expect(error.reason).toBe('assertion_malformed');
    expect(error.message).not.toContain(value);
  },
);

test('the report names the source that is taken and those behind it, and runs no command', async () => {
  const ran = join(dir, 'must-not-exist');
  const env = { MAYFLY_ASSERTION: 'secret.assertion', MAYFLY_ASSERTION_COMMAND: `touch ${ran}` };
  const reports = await identity(env).sources();
  expect(reports.slice(0, 6).map(({ taken: one, says }) => [one, says])).toEqual([
    [false, 'not set'],
    [true, 'taken'],
    [false, 'not set'],
    [false, 'not needed, MAYFLY_ASSERTION comes first'],
    [false, 'SPIFFE_ENDPOINT_SOCKET not set'],
    [false, `no ${nowhere}`],
  ]);
  expect(JSON.stringify(reports)).not.toContain('secret.assertion');
  await rejection(identity({ MAYFLY_ASSERTION_FILE: ran }).subject(), Unavailable);
});
