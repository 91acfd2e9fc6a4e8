import { createHash, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Minter, type MintRequest, Refusal } from '@mayfly/core';
import { type GithubStandin, startGithub } from '@mayfly/standins';
import { outcome } from '../../test/cloud.ts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { githubProvider, githubRequest } from '../../test/small-requests.ts';
import { createGithubMinter } from './minter.ts';
import { enforcementOf, githubBody } from './plan.ts';

let offsetMs = 0;
const now = () => new Date(Date.now() + offsetMs);
let github: GithubStandin;
let key: string;
beforeAll(async () => {
  github = await startGithub({ now });
  const repositories = ['webshop', 'billing'];
  const app = { appId: '123456', owner: 'acme', repositories, permissions: { contents: 'write' } as const };
  key = github.createInstallation({ ...app, installationId: '7890' });
});
afterAll(() => github.close());

const context = () => ({ now: now(), signal: AbortSignal.timeout(20_000) });
function minterFor(
  privateKey: () => Promise<string> = async () => key,
  provider = githubProvider(github.url),
): Minter {
  return createGithubMinter({
    deny: new MemoryDenyStore(now),
    provider: () => provider,
    now,
    report: () => undefined,
    federation: { sign: () => Promise.reject(new Error('not asked for')) },
    files: {
      authority: () => Promise.reject(new Error('not asked for')),
      token: () => Promise.reject(new Error('not asked for')),
      privateKey,
    },
  });
}
const request = (more: Partial<MintRequest> = {}) =>
  githubRequest(githubProvider(github.url), { now: now(), ...more });
const status = async (token: string, path = 'acme/webshop', method = 'GET') =>
  (
    await fetch(`${github.url}/repos/${path}/contents/README.md`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(method === 'PUT' ? { body: '{"content":"eA=="}' } : {}),
    })
  ).status;

test('a token reads its one repository, sees no other, and writes nothing', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  const minted = await minter.mint(plan, context());
  const token = minted.credential.reveal();
  expect([
    await status(token),
    await status(token, 'acme/billing'),
    await status(token, 'acme/webshop', 'PUT'),
  ]).toEqual([200, 404, 403]);
  expect(minted.keyHash).toBe(createHash('sha256').update(token).digest('hex'));
  const lifeSeconds = (minted.expiresAt.getTime() - now().getTime()) / 1000;
  expect(lifeSeconds).toBeGreaterThan(3590);
  expect(minted.expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
});

test('a write token writes, and only there', async () => {
  const minter = minterFor();
  const minted = await minter.mint(minter.plan(request({ actions: ['read', 'write'] })), context());
  const token = minted.credential.reveal();
  expect([await status(token, 'acme/webshop', 'PUT'), await status(token, 'acme/billing', 'PUT')]).toEqual([
    201, 404,
  ]);
});

test('its end is real where the process that made it still runs, and is not said to be where it does not', async () => {
  const [maker, other] = [minterFor(), minterFor()];
  const plan = maker.plan(request());
  const token = (await maker.mint(plan, context())).credential.reveal();
  expect(await other.revoke(plan, context())).toBe('wait-for-expiry');
  expect(await status(token)).toBe(200);
  expect(await maker.revoke(plan, context())).toBe('gone');
  expect(await status(token)).toBe(401);
  expect(await maker.revoke(plan, context())).toBe('gone');
});

test('every token of a plan that was minted twice ends', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  const tokens = [await minter.mint(plan, context()), await minter.mint(plan, context())];
  expect(await minter.revoke(plan, context())).toBe('gone');
  for (const { credential } of tokens) expect(await status(credential.reveal())).toBe(401);
});

test('a token that is not answered, because GitHub lied about it, is ended all the same', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  github.faults.arm({ action: 'create token', mode: 'lie_identity' });
  expect(await outcome(() => minter.mint(plan, context()))).toBe(
    'provider_refused (unknown): the provider answered no token for one repository',
  );
  expect(await minter.revoke(plan, context())).toBe('gone');
  expect(github.ledger().at(-1)).toMatchObject({ action: 'delete token', status: 204 });
});

test('a token is held no longer than it lives', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  await minter.mint(plan, context());
  offsetMs += 3_700_000;
  expect(await minter.revoke(plan, context())).toBe('wait-for-expiry');
});

const notProven =
  'provider_unavailable (unknown): delete installation token: 401, and it may be let in again';

test('a token that GitHub does not know yet is not called gone, and ends when it does', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  github.lag(20);
  const token = (await minter.mint(plan, context())).credential.reveal();
  github.lag(0);
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(notProven);
  offsetMs += 21_000;
  expect(await status(token)).toBe(200);
  expect(await minter.revoke(plan, context())).toBe('gone');
  expect(await status(token)).toBe(401);
});

test('a token of a suspended installation is not called gone, however late, and ends when that is let in', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  const token = (await minter.mint(plan, context())).credential.reveal();
  github.suspend('7890');
  offsetMs += 61_000;
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(notProven);
  github.unsuspend('7890');
  expect(await status(token)).toBe(200);
  expect(await minter.revoke(plan, context())).toBe('gone');
  expect(await status(token)).toBe(401);
});

test('an end whose answer was lost is one a minute after the mint, when GitHub says so again', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  const token = (await minter.mint(plan, context())).credential.reveal();
  github.faults.arm({ action: 'delete token', mode: 'applied_and_cut' });
  expect(await outcome(() => minter.revoke(plan, context()))).toMatch(/^provider_unavailable \(unknown\)/);
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(notProven);
  offsetMs += 61_000;
  github.faults.arm({ action: 'get installation', mode: 'refuse', status: 404 });
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(notProven);
  expect(await minter.revoke(plan, context())).toBe('gone');
  expect(await status(token)).toBe(401);
});

test('a suspended installation gives nothing, and what it gave is not called gone', async () => {
  const [installationId, appId] = ['7891', '123457'];
  const own = github.createInstallation({
    ...{ appId, installationId, owner: 'acme', repositories: ['webshop'], permissions: { contents: 'read' } },
  });
  const provider = githubProvider(github.url, { appId, installationId });
  const minter = minterFor(async () => own, provider);
  const plan = minter.plan(request({ provider }));
  await minter.mint(plan, context());
  github.suspend(installationId);
  expect(await outcome(() => minter.mint(minter.plan(request({ provider })), context()))).toBe(
    'provider_refused (none): installation token: 403',
  );
  expect(await outcome(() => minter.revoke(plan, context()))).toBe(notProven);
});

test.each([
  [
    'no key',
    () => Promise.reject(new Error('SECRET')),
    'no private key for provider acme-github (providerKeys)',
  ],
  ['what is no key', async () => 'SECRET', 'no private key for provider acme-github (providerKeys)'],
])('says nothing about the file with %s', async (_, privateKey, detail) => {
  const minter = minterFor(privateKey);
  const told = await outcome(() => minter.mint(minter.plan(request()), context()));
  expect(told).toBe(`provider_unavailable (none): ${detail}`);
});

test('a key of another App is refused by GitHub', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const minter = minterFor(async () => String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  expect(await outcome(() => minter.mint(minter.plan(request()), context()))).toBe(
    'provider_refused (none): installation token: 401',
  );
});

test('a Provider that has moved shows neither key nor token to the new place', async () => {
  const minter = minterFor();
  const plan = minter.plan(request());
  for (const spec of [
    { endpoints: { api: 'http://127.0.0.1:1' } },
    { appId: '2' },
    { installationId: '2' },
  ]) {
    const moved = minterFor(async () => key, githubProvider(github.url, spec));
    expect(await outcome(() => moved.mint(plan, context()))).toBe(
      'provider_refused (none): provider acme-github is gone or has moved',
    );
  }
});

test.each([
  ['another owner', { identifier: 'https://github.com/other/webshop' }, 'tool_not_granted'],
  ['another host', { identifier: 'https://gitlab.com/acme/webshop' }, 'identifier_malformed'],
  ['an owner alone', { identifier: 'https://github.com/acme' }, 'identifier_malformed'],
  ['a path beyond', { identifier: 'https://github.com/acme/webshop/pulls' }, 'identifier_malformed'],
  [
    'the other name of a repository',
    { identifier: 'https://github.com/acme/webshop.git' },
    'identifier_malformed',
  ],
  ['a dot segment', { identifier: 'https://github.com/acme/..' }, 'identifier_malformed'],
  ['another access', { access: 'github.actions' }, 'tool_not_granted'],
  ['a member of the prototype', { access: 'constructor' }, 'tool_not_granted'],
  ['another verb', { actions: ['delete'] as const }, 'tool_not_granted'],
  ['no verb', { actions: [] }, 'tool_not_granted'],
])('plans nothing for %s', (_, more, reason) => {
  const plan = () => minterFor().plan(request(more));
  expect(plan).toThrow(Refusal);
  expect(plan).toThrow(expect.objectContaining({ reason }));
});

test('a plan that names no repository or no permission says that nobody but the broker would hold it', () => {
  const body = githubBody.parse(minterFor().plan(request()).body);
  const held = { resource: 'provider', actions: 'provider', ttl: 'provider' };
  expect(enforcementOf(body)).toEqual(held);
  expect(enforcementOf({ ...body, repositories: [] })).toEqual({ ...held, resource: 'broker' });
  expect(enforcementOf({ ...body, permissions: {} })).toEqual({ ...held, actions: 'broker' });
});

test('plans nothing for a task that ends before a token of GitHub would', () => {
  const notAfter = new Date(now().getTime() + 3_599_000);
  expect(() => minterFor().plan(request({ notAfter }))).toThrow(
    expect.objectContaining({ reason: 'too_little_time_left' }),
  );
});
