import { createServer } from 'node:http';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { Fault, type Minted, type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { bareId } from '@mayfly/protocol';
import {
  account,
  gcpProvider,
  objectRequest,
  prefixRequest,
  startGcpCloud,
  unscopedRequest,
  use,
} from '../../test/gcp-cloud.ts';
import { createGcpMinter } from './minter.ts';

const cloud = await startGcpCloud();
const { gcp } = cloud;
let minter = createGcpMinter(cloud.options);
let since = 0;

afterAll(() => cloud.close());
beforeEach(() => {
  cloud.reset();
  minter = createGcpMinter(cloud.options);
  since = gcp.ledger().length;
});

const plan = (of: (more: Partial<MintRequest>) => MintRequest, more: Partial<MintRequest> = {}) =>
  minter.plan(of({ ...cloud.timed(), ...more }));
const mint = (of: MintPlan, signal?: AbortSignal) => minter.mint(of, cloud.context(signal));
const minted = (of: (more: Partial<MintRequest>) => MintRequest, more: Partial<MintRequest> = {}) =>
  mint(plan(of, more));
const calls = (action: string) => gcp.ledger(since).filter((one) => one.action === action);
async function outcome(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return 'ok';
  } catch (error) {
    if (error instanceof Fault) return `${error.reason} (${error.effect}): ${error.detail}`;
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
}
const url = (of: Minted) => of.credential.reveal();
const status = async (address: string, init: RequestInit = {}) => (await fetch(address, init)).status;
const bearer = (of: Minted) => ({ headers: { authorization: `Bearer ${of.credential.reveal()}` } });

test('a signed URL opens one object by one method, and nothing that is changed in it', async () => {
  const given = await minted(objectRequest);
  const answer = await fetch(url(given));
  expect([answer.status, await answer.text()]).toEqual([200, '2026q3/a.pdf']);
  expect(given.expiresAt).toEqual(cloud.timed().notAfter);
  for (const method of ['PUT', 'DELETE', 'POST'])
    expect([method, await status(url(given), { method })]).toEqual([method, 403]);
  for (const [from, to] of [
    ['a.pdf', 'b.pdf'],
    ['/invoices/', '/payroll/'],
    ['X-Goog-Expires=60', 'X-Goog-Expires=61'],
    ['x-mayfly-issuance=', 'x-mayfly-issuance=x'],
    ['x-mayfly-issuance', 'generation=1&x-mayfly-issuance'],
  ] as const)
    expect([to, await status(url(given).replace(from, to))]).toEqual([to, 403]);
  expect(await status(url(given), { headers: { 'x-goog-user-project': 'x' } })).toBe(403);
});

test('a signed URL ends to the second', async () => {
  const given = await minted(objectRequest);
  const left = given.expiresAt.getTime() - cloud.now().getTime();
  cloud.advance((left - 1) / 1000);
  expect(await status(url(given))).toBe(200);
  cloud.advance(0.001);
  expect(await status(url(given))).toBe(400);
});

test('create writes what is not there, and only with the header that forbids to overwrite', async () => {
  const identifier = 'gs://invoices/2026q3/new å b+(1)~.pdf';
  const given = await minted(objectRequest, { actions: ['create'], identifier });
  const put = (headers: Record<string, string>) =>
    status(url(given), { method: 'PUT', headers, body: 'new' });
  expect(await put({})).toBe(403);
  expect(await put({ 'x-goog-if-generation-match': '1' })).toBe(403);
  expect(
    await put({ 'x-goog-if-generation-match': '0', 'x-goog-copy-source': 'invoices/2026q4/a.pdf' }),
  ).toBe(403);
  expect(await put({ 'x-goog-if-generation-match': '0' })).toBe(200);
  expect(await put({ 'x-goog-if-generation-match': '0' })).toBe(412);
  const written = await minted(objectRequest, { identifier });
  expect(await (await fetch(url(written))).text()).toBe('new');
});

test('write overwrites and delete deletes; neither reads', async () => {
  gcp.putObject('invoices', '2026q3/c.pdf', 'c');
  const identifier = 'gs://invoices/2026q3/c.pdf';
  const writing = await minted(objectRequest, { actions: ['write'], identifier });
  expect(await status(url(writing), { method: 'PUT', body: 'other' })).toBe(200);
  expect(await status(url(writing))).toBe(403);
  const deleting = await minted(objectRequest, { actions: ['delete'], identifier });
  expect(await status(url(deleting))).toBe(403);
  expect(await status(url(deleting), { method: 'DELETE' })).toBe(204);
  expect(await status(url(await minted(objectRequest, { identifier })))).toBe(404);
});

test('a downscoped token reads and lists its prefix, and ends with its source', async () => {
  const given = await minted(prefixRequest);
  const at = (name: string) => use(given, { gcp, name });
  expect(await at('2026q3/a.pdf')).toBe(200);
  expect([await at('2026q4/a.pdf'), await at('2026q3'), await at('')]).toEqual([403, 403, 403]);
  const list = (query: string) => status(`${gcp.url}/storage/v1/b/invoices/o${query}`, bearer(given));
  expect(await list('?prefix=2026q3/')).toBe(200);
  expect(await list('?prefix=2026q3/a')).toBe(200);
  expect([await list(''), await list('?prefix=2026q'), await list('?prefix=2026q4/')]).toEqual([
    403, 403, 403,
  ]);
  expect(await use(given, { gcp, method: 'DELETE' })).toBe(403);
  cloud.advance((given.expiresAt.getTime() - cloud.now().getTime()) / 1000);
  expect(await at('2026q3/a.pdf')).toBe(401);
});

test('a downscoped token that may create neither overwrites nor reads', async () => {
  const given = await minted(prefixRequest, { actions: ['create'] });
  const upload = (name: string) =>
    status(`${gcp.url}/upload/storage/v1/b/invoices/o?uploadType=media&name=${encodeURIComponent(name)}`, {
      ...bearer(given),
      method: 'POST',
      body: 'x',
    });
  expect(await upload(`2026q3/${crypto.randomUUID()}`)).toBe(200);
  expect(await upload('2026q3/a.pdf')).toBe(403);
  expect(await upload('2026q4/new')).toBe(403);
  expect(await use(given, { gcp })).toBe(403);
});

test('Google is sent what the plan says, and its log joins to the issuance', async () => {
  const [object, prefix, unscoped] = [plan(objectRequest), plan(prefixRequest), plan(unscopedRequest)];
  const given = await mint(object);
  await mint(prefix);
  await mint(unscoped);
  await fetch(url(given));
  const issuance = (of: MintPlan) => bareId(of.issuanceId);
  const principal =
    'principal://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/mayfly/subject/mayfly:mint';
  expect(calls('SignBlob')).toMatchObject([
    { principal, resource: account, issuance: issuance(object), status: 200 },
  ]);
  const { scopes, options } = prefix.body;
  expect(calls('GenerateAccessToken')).toMatchObject([
    { principal, resource: account, issuance: issuance(prefix), sent: { scopes, lifetime: '55s' } },
    { principal, resource: unscoped.reach, issuance: issuance(unscoped), sent: { lifetime: '55s' } },
  ]);
  expect(calls('DownscopeToken')).toMatchObject([{ principal: account, sent: { options } }]);
  expect(calls('XmlGET')).toMatchObject([
    { principal: account, resource: 'gs://invoices/2026q3/a.pdf', issuance: issuance(object), status: 200 },
  ]);
});

test('the broker’s own token is asked for once, and opens nothing but service accounts', async () => {
  await Promise.all([minted(objectRequest), minted(prefixRequest), minted(objectRequest)]);
  expect(calls('ExchangeToken')).toMatchObject([
    { sent: { scopes: ['https://www.googleapis.com/auth/iam'] } },
  ]);
  cloud.advance(3539);
  await minted(objectRequest);
  expect(calls('ExchangeToken')).toHaveLength(1);
  cloud.advance(1);
  await minted(objectRequest);
  expect(calls('ExchangeToken')).toHaveLength(2);
});

test('a token of a changed Provider is another one', async () => {
  await minted(objectRequest);
  const { provider } = cloud.timed();
  const endpoints = { ...Object(provider.spec['endpoints']), sts: `${gcp.url}/` };
  const changed = gcpProvider({ endpoints });
  const other = createGcpMinter({ ...cloud.options, provider: () => changed });
  await other.mint(plan(objectRequest), cloud.context());
  expect(calls('ExchangeToken')).toHaveLength(2);
});

test.each([
  [{ mode: 'refuse', status: 400 }, 'provider_refused (none): ExchangeToken: 400'],
  [{ mode: 'refuse', status: 429 }, 'provider_unavailable (none): ExchangeToken: 429'],
  [{ mode: 'refuse', status: 503 }, 'provider_unavailable (none): ExchangeToken: 503'],
  [{ mode: 'applied_and_cut' }, 'provider_unavailable (none): ExchangeToken: UND_ERR_SOCKET'],
] as const)('while the broker is not let in nothing of an agent’s was made: %j', async (fault, said) => {
  gcp.faults.arm({ action: 'ExchangeToken', ...fault });
  expect(await outcome(minted(prefixRequest))).toBe(said);
  expect(calls('ExchangeToken').length).toBeLessThanOrEqual(1);
  expect(await outcome(minted(prefixRequest))).toBe('ok');
});

test.each([
  [{ mode: 'refuse', status: 403 }, 'provider_refused (none): SignBlob: 403'],
  [{ mode: 'refuse', status: 503 }, 'provider_unavailable (unknown): SignBlob: 503'],
  [{ mode: 'cut' }, 'provider_unavailable (unknown): SignBlob: UND_ERR_SOCKET'],
  [
    { mode: 'lie_identity' },
    'provider_refused (unknown): the provider answered something else than a signature',
  ],
] as const)('a signature that is not had is tried once: %j', async (fault, said) => {
  gcp.faults.arm({ action: 'SignBlob', ...fault });
  expect(await outcome(minted(objectRequest))).toBe(said);
  expect(calls('SignBlob').length).toBeLessThanOrEqual(1);
});

test.each([
  [{ mode: 'refuse', status: 400 }, 'provider_refused (unknown): ExchangeToken: 400'],
  [{ mode: 'cut' }, 'provider_unavailable (unknown): ExchangeToken: UND_ERR_SOCKET'],
  [
    { mode: 'lie_identity' },
    'provider_refused (unknown): the provider answered the token that was to be narrowed',
  ],
] as const)('a token that cannot be narrowed is not answered, and was made: %j', async (fault, said) => {
  gcp.faults.arm({ action: 'DownscopeToken', ...fault });
  expect(await outcome(minted(prefixRequest))).toBe(said);
  expect(calls('GenerateAccessToken')).toMatchObject([{ status: 200 }]);
});

test('a mint that comes late asks for less, and at last for nothing', async () => {
  const late = plan(prefixRequest);
  cloud.advance(20);
  const { expiresAt } = await mint(late);
  expect(expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(late.notAfter));
  const [lifetime] = calls('GenerateAccessToken').map(({ sent }) => sent['lifetime']);
  expect(lifetime).toBe('35s');
  cloud.advance(35);
  expect(await outcome(mint(late))).toBe('provider_unavailable (none): no time is left for a token');
});

test('a signal that has gone off calls nothing', async () => {
  const deadline = new AbortController();
  deadline.abort();
  expect(await outcome(mint(plan(objectRequest), deadline.signal))).toBe(
    'provider_unavailable (none): ExchangeToken: AbortError',
  );
  expect(cloud.assertions).toEqual([]);
});

/** Where something has listened; `fetch` itself refuses the ports that never do. */
async function nowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
}

test('nothing listens: surely nothing happened', async () => {
  const { provider } = cloud.timed();
  const nobody = { ...Object(provider.spec['endpoints']), iamcredentials: await nowhere() };
  const away = createGcpMinter({ ...cloud.options, provider: () => gcpProvider({ endpoints: nobody }) });
  expect(await outcome(away.mint(plan(objectRequest), cloud.context()))).toBe(
    'provider_unavailable (none): SignBlob: ECONNREFUSED',
  );
});

test('a Provider that is gone mints nothing', async () => {
  const without = createGcpMinter({ ...cloud.options, provider: () => undefined });
  expect(await outcome(without.mint(plan(objectRequest), cloud.context()))).toBe(
    'provider_refused (none): provider prod-gcp is gone',
  );
});

test('taking back calls nobody; the lever that ends everything of an account is for people', async () => {
  const [signed, token] = [await minted(objectRequest), await minted(prefixRequest)];
  const before = gcp.ledger().length;
  expect(await minter.revoke(plan(objectRequest), cloud.context())).toBe('wait-for-expiry');
  expect(gcp.ledger()).toHaveLength(before);
  const both = async () => [await status(url(signed)), await use(token, { gcp })];
  expect(await both()).toEqual([200, 200]);
  gcp.setDisabled(account, true);
  expect(await both()).toEqual([403, 401]);
  expect(await outcome(minted(objectRequest))).toBe('provider_refused (none): SignBlob: 403');
  // Enabled again, what has not expired lives again.
  gcp.setDisabled(account, false);
  expect(await both()).toEqual([200, 200]);
});
