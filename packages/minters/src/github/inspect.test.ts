import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Inspection } from '@mayfly/core';
import { type GithubStandin, type InstallationSeed, startGithub } from '@mayfly/standins';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { githubProvider } from '../../test/small-requests.ts';
import { createGithubMinter } from './minter.ts';

let github: GithubStandin;
beforeEach(async () => {
  github = await startGithub();
});
afterEach(() => github.close());

const seed: InstallationSeed = {
  ...{ appId: '123456', installationId: '7890', owner: 'acme', repositories: ['webshop'] },
  permissions: { contents: 'write', issues: 'read' },
};

async function inspected(more: Partial<InstallationSeed> = {}, given?: string) {
  const key = github.createInstallation({ ...seed, ...more });
  const provider = githubProvider(github.url);
  const minter = createGithubMinter({
    deny: new MemoryDenyStore(() => new Date()),
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
    federation: { sign: () => Promise.reject(new Error('not asked for')) },
    files: {
      authority: () => Promise.reject(new Error('not asked for')),
      token: () => Promise.reject(new Error('not asked for')),
      privateKey: async () => given ?? key,
    },
  });
  const context = { now: new Date(), signal: AbortSignal.timeout(20_000) };
  const found = (await minter.inspect?.(provider, context)) ?? [];
  // No token was made to look.
  expect(github.ledger()).toEqual([]);
  return found;
}

const failed = (found: readonly Inspection[]) => found.filter(({ ok }) => !ok);

test('an installation as the docs set it up', async () => {
  expect(await inspected()).toEqual([
    { subject: 'app', ok: true, says: 'its key is accepted' },
    { subject: 'installation', ok: true, says: 'of acme' },
    { subject: 'permissions', ok: true, says: 'contents: write, issues: read' },
    { subject: 'repositories', ok: true, says: 'selected ones only' },
  ]);
});

test('permissions that nothing here asks for are too much', async () => {
  const permissions = { contents: 'read', administration: 'write', workflows: 'write' } as const;
  expect(failed(await inspected({ permissions }))).toEqual([
    {
      subject: 'permissions',
      ok: false,
      says: 'too much: administration, workflows; nothing here asks for it: take it from the App',
    },
  ]);
});

test('an App without a permission that templates could give says which there are', async () => {
  expect(failed(await inspected({ permissions: {} }))).toEqual([
    {
      subject: 'permissions',
      ok: false,
      says: 'none of contents, pull_requests, issues; give the App one and accept at https://github.com/organizations/acme/settings/installations/7890',
    },
  ]);
});

test('an installation on all repositories, also those to come, is too much', async () => {
  expect(failed(await inspected({ selection: 'all' }))).toEqual([
    {
      subject: 'repositories',
      ok: false,
      says: expect.stringContaining('too much: all of acme, also those to come; '),
    },
  ]);
});

const needs =
  'needs MAYFLY_PROVIDER_KEYS=acme-github=FILE with a key of App 123456, a clock that is right, and installation 7890 of that App: gh api /orgs/acme/installations';

test('the key of another App is refused, and the line of the configuration is printed', async () => {
  const other = github.createInstallation({ ...seed, appId: '1', installationId: '1' });
  expect(await inspected({}, other)).toEqual([
    { subject: 'app', ok: false, says: `installation: 401; ${needs}` },
  ]);
});

test('what is no key is said to be none, and nothing of it is shown', async () => {
  expect(await inspected({}, 'SECRET')).toEqual([
    {
      subject: 'app',
      ok: false,
      says: `no private key for provider acme-github (providerKeys); ${needs}`,
    },
  ]);
});

test('a suspended installation is seen', async () => {
  const key = github.createInstallation(seed);
  github.suspend('7890');
  // The same seed again would lift it.
  const provider = githubProvider(github.url);
  const services = {
    deny: new MemoryDenyStore(() => new Date()),
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
    federation: { sign: () => Promise.reject(new Error('not asked for')) },
    files: {
      authority: () => Promise.reject(new Error('not asked for')),
      token: () => Promise.reject(new Error('not asked for')),
      privateKey: async () => key,
    },
  };
  const context = { now: new Date(), signal: AbortSignal.timeout(20_000) };
  const found = await createGithubMinter(services).inspect?.(provider, context);
  expect(failed(found ?? [])).toEqual([
    {
      subject: 'installation',
      ok: false,
      says: 'suspended; unsuspend it at https://github.com/organizations/acme/settings/installations/7890',
    },
  ]);
});

test.each([
  ['throttled', { mode: 'refuse', status: 429 }, 'app', 'installation: 429; '],
  ['cut', { mode: 'cut' }, 'app', 'installation: UND_ERR_SOCKET; '],
  ['another owner’s', { mode: 'lie_identity' }, 'installation', 'not of acme; '],
] as const)('an answer that is %s is no installation', async (_, fault, subject, says) => {
  github.faults.arm({ action: 'get installation', ...fault });
  expect(failed(await inspected())).toEqual([{ subject, ok: false, says: expect.stringContaining(says) }]);
});
