import { createHash } from 'node:crypto';
import { BlobClient } from '@azure/storage-blob';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Minter } from '@mayfly/core';
import { type AzureCloud, answerOf, moved, startAzureCloud } from '../../test/azure.ts';
import { outcome } from '../../test/cloud.ts';
import { printedSeed, seeded } from '../../test/plans.ts';
import { createAzureMinter } from './minter.ts';

let cloud: AzureCloud;
let minter: Minter;

beforeAll(async () => {
  cloud = await startAzureCloud();
  minter = createAzureMinter(cloud.options);
});
afterAll(() => cloud.close());
afterEach(() => cloud.azure.faults.clear());

const fresh = () => createAzureMinter(cloud.options);
const mint = (of: Minter, signal?: AbortSignal) =>
  outcome(() => of.mint(of.plan(cloud.request()), cloud.context(signal)));

test('the credential is a URL that opens one blob for reading, and nothing beside it', async () => {
  const url = await cloud.url(minter, cloud.request());
  expect((await new BlobClient(url).downloadToBuffer()).toString()).toBe('2026q3/a.pdf');
  expect(await answerOf(moved(url, 'a.pdf', 'b.pdf'))).toBe('403 AuthenticationFailed');
  expect(await answerOf(moved(url, '/reports/', '/payroll/'))).toBe('403 AuthenticationFailed');
  expect(await answerOf(moved(url, '/invoices/', '/archive/'))).toBe('403 AuthenticationFailed');
  for (const method of ['PUT', 'DELETE'])
    expect(await answerOf(url, method)).toBe('403 AuthorizationPermissionMismatch');
  expect(await answerOf(url.replace('sp=r', 'sp=rw'))).toBe('403 AuthenticationFailed');
});

test('a directory opens what is below it and its listing, and neither namesake nor parent', async () => {
  const url = await cloud.url(minter, cloud.directory());
  const at = (name: string) => answerOf(moved(url, '/2026q3', `/${name}`));
  expect([await at('2026q3/a.pdf'), await at('2026q3/b.pdf')]).toEqual(['200', '200']);
  for (const name of ['2026q4/a.pdf', '2026q33/a.pdf', 'a.pdf'])
    expect(await at(name)).toBe('403 AuthenticationFailed');
  const list = (prefix: string) =>
    answerOf(`${moved(url, '/2026q3', '')}&restype=container&comp=list&prefix=${prefix}`);
  expect(await list('2026q3/')).toBe('200');
  for (const prefix of ['2026q4/', '2026q3', '']) expect(await list(prefix)).toBe('403 AuthenticationFailed');
});

test('the credential is dead after its seconds, though its key lives', async () => {
  const late = await startAzureCloud(cloud.azure.certificate);
  try {
    const url = await cloud.url(createAzureMinter(late.options), late.request());
    expect(await answerOf(url)).toBe('200');
    late.advance(61);
    expect(await answerOf(url)).toBe('403 AuthenticationFailed');
  } finally {
    await late.close();
  }
});

test('storage’s log joins to the issuance, and ours to the signature', async () => {
  const plan = minter.plan(cloud.request());
  const minted = await minter.mint(plan, cloud.context());
  const url = minted.credential.reveal();
  await answerOf(url);
  expect(cloud.azure.ledger().at(-1)).toMatchObject({ correlationId: plan.issuanceId, status: 200 });
  const signature = new URL(url).searchParams.get('sig') ?? '';
  expect(minted.keyHash).toBe(createHash('sha256').update(signature).digest('hex'));
  expect(minted.expiresAt.toISOString()).toBe(plan.notAfter);
  expect(JSON.stringify(minted) + String(minted.credential)).not.toContain(signature);
});

test('a key is asked for once for all who wait, kept for those who come later, and never longer than six minutes', async () => {
  const own = fresh();
  const [keys, tokens] = [cloud.calls('GetUserDelegationKey'), cloud.calls('Token')];
  const urls = await Promise.all(Array.from({ length: 20 }, () => cloud.url(own, cloud.request())));
  urls.push(await cloud.url(own, cloud.directory()));
  expect([cloud.calls('GetUserDelegationKey') - keys, cloud.calls('Token') - tokens]).toEqual([1, 1]);
  expect(new Set(urls).size).toBe(21);
  for (const url of urls) {
    const ends = Date.parse(new URL(url).searchParams.get('ske') ?? '');
    expect(ends - cloud.now().getTime()).toBeLessThanOrEqual(360_000);
  }
  // Another account, and another client, each have a key of their own; the token is that of the client.
  const identifier = 'https://archive.blob.core.windows.net/reports/2026q3/a.pdf';
  expect(await answerOf(await cloud.url(own, cloud.request({ identifier })))).toBe('200');
  expect([cloud.calls('GetUserDelegationKey') - keys, cloud.calls('Token') - tokens]).toEqual([2, 1]);
  const [, second] = cloud.provider.spec['clients'] as string[]; // As the test made it.
  await cloud.url(own, cloud.request({ mint: { client: second } }));
  expect([cloud.calls('GetUserDelegationKey') - keys, cloud.calls('Token') - tokens]).toEqual([3, 2]);
});

test('a key that would end before the credential is not used for it', async () => {
  const late = await startAzureCloud(cloud.azure.certificate);
  try {
    const own = createAzureMinter(late.options);
    const at = (seconds: number) => new Date((Math.floor(late.now().getTime() / 1000) + seconds) * 1000);
    await late.url(own, late.request());
    late.advance(60);
    await late.url(own, late.request({ notAfter: at(299) }));
    expect(late.calls('GetUserDelegationKey')).toBe(1);
    late.advance(2);
    await late.url(own, late.request({ notAfter: at(300) }));
    expect(late.calls('GetUserDelegationKey')).toBe(2);
  } finally {
    await late.close();
  }
});

test('each client gets tokens of its own, though the library’s cache ignores who asks', async () => {
  const own = fresh();
  const [first, second] = cloud.provider.spec['clients'] as string[]; // As the test made it.
  const oidOf = async (client: string | undefined) =>
    new URL(await cloud.url(own, cloud.request({ mint: { client } }))).searchParams.get('skoid');
  const [one, two, again] = [await oidOf(first), await oidOf(second), await oidOf(first)];
  expect(one).not.toBe(two);
  expect(again).toBe(one);
  // Nothing of a grant stands in an assertion, so a cached token is as good as a new one.
  expect(new Set(cloud.signed)).toEqual(new Set(['api://AzureADTokenExchange']));
});

const failures = [
  ['refused', { mode: 'refuse', status: 403 }, 'provider_refused (none)', '403'],
  ['refused as malformed', { mode: 'refuse', status: 400 }, 'provider_refused (none)', '400'],
  ['throttled', { mode: 'refuse', status: 429 }, 'provider_unavailable (none)', '429'],
  ['not applied and failed', { mode: 'refuse', status: 500 }, 'provider_unavailable (unknown)', '500'],
  ['busy', { mode: 'refuse', status: 503 }, 'provider_unavailable (unknown)', '503'],
  [
    'applied and failed',
    { mode: 'applied_and_failed', status: 500 },
    'provider_unavailable (unknown)',
    '500',
  ],
  ['cut before', { mode: 'cut' }, 'provider_unavailable (unknown)', 'no answer'],
  ['applied and cut', { mode: 'applied_and_cut' }, 'provider_unavailable (unknown)', 'no answer'],
] as const;

test.each(failures)(
  'a key %s: the fault says what may exist, and the next one works',
  async (_, fault, reason, what) => {
    const own = fresh();
    const calls = cloud.calls('GetUserDelegationKey');
    cloud.azure.faults.arm({ action: 'GetUserDelegationKey', ...fault });
    expect(await mint(own)).toBe(`${reason}: Get User Delegation Key: ${what}`);
    const applied = fault.mode.startsWith('applied') ? 1 : 0;
    expect(cloud.calls('GetUserDelegationKey') - calls).toBe(applied);
    expect(await answerOf(await cloud.url(own, cloud.request()))).toBe('200');
  },
);

test.each([
  ['lie_longer', 'a key that lives longer than asked for'],
  ['lie_identity', 'a key of another tenant'],
] as const)('a Storage that %s is not believed, and nothing is kept', async (mode, what) => {
  const own = fresh();
  cloud.azure.faults.arm({ action: 'GetUserDelegationKey', mode });
  expect(await mint(own)).toBe(`provider_refused (unknown): the provider answered ${what}`);
  expect(await mint(own)).toBe('ok');
});

test.each([
  ['refused', { mode: 'refuse', status: 401, code: 'AADSTS700213' }, 'provider_refused'],
  ['away', { mode: 'refuse', status: 503 }, 'provider_unavailable'],
  ['cut', { mode: 'cut' }, 'provider_unavailable'],
] as const)(
  'an Entra that is %s: nothing was asked of Storage, and its text stays out',
  async (_, fault, reason) => {
    const own = fresh();
    const calls = cloud.calls('GetUserDelegationKey');
    for (const action of ['Token']) cloud.azure.faults.arm({ action, ...fault });
    const told = await mint(own);
    expect(told).toMatch(new RegExp(`^${reason} \\(none\\): Entra token: \\w+$`));
    expect(told).not.toContain('AADSTS');
    expect(cloud.calls('GetUserDelegationKey')).toBe(calls);
    expect(await mint(own)).toBe('ok');
  },
);

test('who gives up does so alone: the others get the key that was asked for', async () => {
  const own = fresh();
  const release = cloud.azure.faults.arm({ action: 'GetUserDelegationKey', mode: 'hold' });
  const deadline = new AbortController();
  const { holding } = cloud.azure;
  const first = mint(own, deadline.signal);
  await holding;
  const second = mint(own);
  deadline.abort();
  expect(await first).toBe('provider_unavailable (unknown): Get User Delegation Key: no answer');
  release();
  expect(await second).toBe('ok');
});

test('a provider that is gone is a fault before any call', async () => {
  const own = createAzureMinter({ ...cloud.options, provider: () => undefined });
  const plan = own.plan(cloud.request());
  expect(await outcome(() => own.mint(plan, cloud.context()))).toBe(
    'provider_refused (none): provider prod-azure is gone',
  );
});

const scopes = 40;
test(`what ${scopes} generated scopes open never exceeds what was asked for`, async () => {
  const below = seeded(printedSeed('azure scopes'));
  const pick = <One>(list: readonly [One, ...One[]]): One => list[below(list.length)] ?? list[0];
  const verbs = ['read', 'create', 'write', 'delete'] as const;
  const paths = ['d/x', 'd/y', 'd/e/x', 'dd/x', 'x'] as const;
  for (let round = 0; round < scopes; round += 1) {
    for (const path of paths) cloud.azure.putBlob('invoices', `reports/${path}`, path);
    const actions = verbs.filter(() => below(2) === 0);
    if (actions.length === 0) actions.push('read');
    const whole = below(2) === 0;
    const name = whole ? pick(['d', 'd/e', 'dd']) : pick(paths);
    const identifier = `https://invoices.blob.core.windows.net/reports/${name}${whole ? '/' : ''}`;
    const make = whole ? cloud.directory : cloud.request;
    const url = await cloud.url(minter, make({ identifier, actions }));
    for (const path of paths) {
      const inside = whole ? path.startsWith(`${name}/`) : path === name;
      const at = `${cloud.azure.url}/invoices/reports/${path}?${url.split('?')[1]}`;
      for (const [method, needed] of [
        ['GET', 'read'],
        ['PUT', 'write'],
        ['DELETE', 'delete'],
      ] as const) {
        const opened = (await answerOf(at, method)).startsWith('2');
        expect([identifier, actions, path, method, opened]).toEqual([
          ...[identifier, actions, path, method],
          inside && actions.includes(needed),
        ]);
      }
    }
  }
});
