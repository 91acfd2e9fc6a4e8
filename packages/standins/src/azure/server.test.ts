import { ClientAssertionCredential } from '@azure/identity';
import {
  BlobClient,
  BlobSASPermissions,
  BlobServiceClient,
  generateBlobSASQueryParameters,
  SASProtocol,
  type UserDelegationKey,
} from '@azure/storage-blob';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type LocalIssuer, startIssuer } from '../issuer/issuer.ts';
import { selfSigned } from '../tls/self-signed.ts';
import { trust } from '../tls/trust.ts';
import { type AzureStandin, startAzure } from './server.ts';

const certificate = selfSigned();
const subject = 'mayfly:prod-azure:mint';
const audience = 'api://AzureADTokenExchange';
const rights = ['read', 'list', 'create', 'write', 'delete'] as const;
let issuer: LocalIssuer;
let azure: AzureStandin;
let client: string;
let offsetMs: number;

beforeAll(async () => {
  trust(certificate);
  issuer = await startIssuer();
});
afterAll(() => issuer.close());
beforeEach(async () => {
  offsetMs = 0;
  azure = await startAzure({ certificate, now: () => new Date(Date.now() + offsetMs) });
  azure.createAccount('invoices', { hierarchical: true });
  azure.createAccount('flat');
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf'])
    for (const account of ['invoices', 'flat']) azure.putBlob(account, `reports/${name}`, name);
  client = azure.createApp({
    issuer: issuer.issuer,
    subject,
    assignments: ['invoices', 'flat'].flatMap((account) => [
      { account, rights: ['delegate'] as const },
      { account, container: 'reports', rights },
    ]),
  });
});
afterEach(() => azure.close());

const assertion = (more: Partial<Parameters<LocalIssuer['assertion']>[0]> = {}) =>
  issuer.assertion({ subject, audience, alg: 'RS256', ...more });

function credential(sign: () => Promise<string> = assertion, of = client): ClientAssertionCredential {
  return new ClientAssertionCredential(azure.tenant, of, sign, {
    authorityHost: azure.url,
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: 0 },
  });
}
const service = (account = 'invoices', with_ = credential()) =>
  new BlobServiceClient(`${azure.url}/${account}`, with_, { retryOptions: { maxTries: 1 } });
const keyOf = (account?: string, seconds = 120) =>
  service(account).getUserDelegationKey(
    new Date(Date.now() - 60_000),
    new Date(Math.ceil(Date.now() / 1000) * 1000 + seconds * 1000),
  );

interface Sas {
  readonly account?: string;
  readonly blobName?: string;
  readonly isDirectory?: boolean;
  readonly permissions?: string;
  readonly seconds?: number;
  readonly correlationId?: string;
}
function sas(key: UserDelegationKey, more: Sas = {}): string {
  const { account = 'invoices', permissions = 'r', seconds = 60, blobName = '2026q3/a.pdf', ...rest } = more;
  return generateBlobSASQueryParameters(
    {
      containerName: 'reports',
      blobName,
      permissions: BlobSASPermissions.parse(permissions),
      expiresOn: new Date(Date.now() + seconds * 1000),
      protocol: SASProtocol.Https,
      version: '2023-11-03',
      ...rest,
    },
    key,
    account,
  ).toString();
}
const status = async (
  query: string,
  name = '2026q3/a.pdf',
  { method = 'GET', account = 'invoices' } = {},
) => {
  const init =
    method === 'PUT' ? { method, body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } } : { method };
  const answer = await fetch(`${azure.url}/${account}/reports/${name}?${query}`, init);
  return answer.status === 403 ? `403 ${answer.headers.get('x-ms-error-code')}` : answer.status;
};

test('the unmodified client reads one blob with a SAS of a key that a federated assertion gave', async () => {
  const query = sas(await keyOf());
  const blob = new BlobClient(`${azure.url}/invoices/reports/2026q3/a.pdf?${query}`);
  expect((await blob.downloadToBuffer()).toString()).toBe('2026q3/a.pdf');
});

test('one letter for one blob opens neither the neighbour nor another verb', async () => {
  const query = sas(await keyOf());
  expect(await status(query)).toBe(200);
  expect(await status(query, '2026q3/b.pdf')).toBe('403 AuthenticationFailed');
  expect(await status(query, '2026q3/a.pdf', { account: 'flat' })).toBe('403 AuthenticationFailed');
  for (const method of ['PUT', 'DELETE'])
    expect(await status(query, '2026q3/a.pdf', { method })).toBe('403 AuthorizationPermissionMismatch');
  expect(await status('', '2026q3/a.pdf')).toBe(401);
});

test('create makes what is absent and overwrites nothing', async () => {
  const query = sas(await keyOf(), { blobName: 'new', permissions: 'c' });
  expect(await status(query, 'new', { method: 'PUT' })).toBe(201);
  expect(await status(query, 'new', { method: 'PUT' })).toBe('403 AuthorizationPermissionMismatch');
});

test('a SAS of which anything was changed is none', async () => {
  const query = sas(await keyOf(), { correlationId: '019ab000-0000-7000-8000-000000000001' });
  const fields = [...new URLSearchParams(query)];
  expect(fields.map(([name]) => name)).toContain('scid');
  for (const [name, value] of fields) {
    const changed = new URLSearchParams(query);
    changed.set(name, `${value}x`);
    expect([name, await status(changed.toString())]).toEqual([name, '403 AuthenticationFailed']);
    const without = new URLSearchParams(fields.filter(([one]) => one !== name));
    expect([name, await status(without.toString())]).toEqual([name, '403 AuthenticationFailed']);
    expect(await status(`${query}&${name}=${encodeURIComponent(value)}`)).toBe('403 AuthenticationFailed');
  }
  // What Azure does not know it does not sign and does not mind.
  expect(await status(`${query}&other=1`)).toBe(200);
});

test('a SAS ends with itself or with its key, whichever comes first', async () => {
  const key = await keyOf('invoices', 30);
  const [short, long] = [sas(key, { seconds: 10 }), sas(key, { seconds: 600 })];
  expect([await status(short), await status(long)]).toEqual([200, 200]);
  offsetMs = 11_000;
  expect([await status(short), await status(long)]).toEqual(['403 AuthenticationFailed', 200]);
  offsetMs = 32_000;
  expect(await status(long)).toBe('403 AuthenticationFailed');
});

test('a directory opens what is below it, by depth, and only where directories exist', async () => {
  const key = await keyOf();
  const query = sas(key, { blobName: '2026q3', isDirectory: true });
  expect([await status(query, '2026q3/a.pdf'), await status(query, '2026q3/b.pdf')]).toEqual([200, 200]);
  for (const name of ['2026q4/a.pdf', '2026q3', '2026q33/a.pdf'])
    expect(await status(query, name)).toBe('403 AuthenticationFailed');
  expect(await status(query.replace('sdd=1', 'sdd=0'), '2026q4/a.pdf')).toBe('403 AuthenticationFailed');
  const list = (prefix: string) => status(`${query}&restype=container&comp=list&prefix=${prefix}`, '');
  expect(await list('2026q3/')).toBe('403 AuthorizationPermissionMismatch');
  for (const prefix of ['2026q4/', '2026q3', '']) expect(await list(prefix)).toBe('403 AuthenticationFailed');
  const flat = sas(await keyOf('flat'), { account: 'flat', blobName: '2026q3', isDirectory: true });
  expect(await status(flat, '2026q3/a.pdf', { account: 'flat' })).toBe('403 AuthenticationFailed');
});

test('a SAS gives no more than its signer may, and a revoked key gives nothing', async () => {
  const reader = azure.createApp({
    issuer: issuer.issuer,
    subject,
    assignments: [
      { account: 'invoices', rights: ['delegate'] },
      { account: 'invoices', container: 'reports', rights: ['read'] },
    ],
  });
  const of = service('invoices', credential(assertion, reader));
  const key = await of.getUserDelegationKey(new Date(Date.now() - 60_000), new Date(Date.now() + 60_000));
  const query = sas(key, { permissions: 'rd' });
  expect(await status(query, '2026q3/a.pdf', { method: 'DELETE' })).toBe(
    '403 AuthorizationPermissionMismatch',
  );
  expect(await status(query)).toBe(200);
  azure.revokeUserDelegationKeys('invoices');
  expect(await status(query)).toBe('403 AuthenticationFailed');
  expect(await status(sas(await keyOf()))).toBe(200);
});

test('a key is for whoever may delegate, in the future, and for seven days at most', async () => {
  const said = (run: Promise<unknown>) =>
    run.then(
      () => 'ok',
      (error: unknown) => String(Reflect.get(Object(error), 'code')),
    );
  const nobody = azure.createApp({ issuer: issuer.issuer, subject, assignments: [] });
  const at = (seconds: number) => new Date(Date.now() + seconds * 1000);
  const without = service('invoices', credential(assertion, nobody));
  expect(await said(without.getUserDelegationKey(at(0), at(60)))).toBe('AuthorizationPermissionMismatch');
  expect(await said(service().getUserDelegationKey(at(-60), at(-1)))).toBe('InvalidXmlDocument');
  expect(await said(service().getUserDelegationKey(at(0), at(8 * 86_400)))).toBe('InvalidXmlDocument');
  expect(await said(service().getUserDelegationKey(at(0), at(6 * 86_400)))).toBe('ok');
});

test.each([
  ['of another subject', { subject: 'mayfly:other:mint' }, 'AADSTS700213'],
  ['for another audience', { audience: 'sts.amazonaws.com' }, 'AADSTS700212'],
  ['that has expired', { lifetimeSeconds: -600 }, 'AADSTS700024'],
  ['without RS256', { alg: 'ES256' as const }, 'AADSTS700027'],
])('Entra refuses an assertion %s', async (_, more, code) => {
  const asked = credential(() => assertion(more)).getToken('https://storage.azure.com/.default');
  await expect(asked).rejects.toThrow(code);
});

test('Entra refuses an assertion of another issuer, an unsigned one, another scope and another app', async () => {
  const other = await startIssuer();
  try {
    const scope = 'https://storage.azure.com/.default';
    const foreign = () => other.assertion({ subject, audience, alg: 'RS256' });
    await expect(credential(foreign).getToken(scope)).rejects.toThrow('AADSTS700213');
    const unsigned = async () => `${(await assertion()).split('.').slice(0, 2).join('.')}.AAAA`;
    await expect(credential(unsigned).getToken(scope)).rejects.toThrow('AADSTS700027');
    const vault = credential().getToken('https://vault.azure.net/.default');
    await expect(vault).rejects.toThrow('AADSTS70011');
    await expect(credential(assertion, azure.tenant).getToken(scope)).rejects.toThrow('AADSTS700016');
  } finally {
    await other.close();
  }
});

test('a fault is applied or not, and the ledger says which', async () => {
  const keys = () => azure.ledger().filter(({ operation }) => operation === 'GetUserDelegationKey').length;
  for (const [mode, applied] of [
    ['cut', 0],
    ['refuse', 0],
    ['applied_and_failed', 1],
    ['applied_and_cut', 1],
  ] as const) {
    const before = keys();
    azure.faults.arm({ action: 'GetUserDelegationKey', mode });
    await expect(keyOf()).rejects.toThrow();
    expect([mode, keys() - before]).toEqual([mode, applied]);
  }
});

test('the ledger names issuance and principal, and holds no secret', async () => {
  const key = await keyOf();
  const scid = '019ab000-0000-7000-8000-000000000001';
  const query = sas(key, { correlationId: scid });
  await status(query);
  const found = azure.ledger().at(-1);
  expect(found).toMatchObject({ operation: 'GetBlob', correlationId: scid, status: 200 });
  expect(found?.principal).toBe(key.signedObjectId);
  const text = JSON.stringify(azure.ledger());
  for (const secret of [key.value, new URLSearchParams(query).get('sig')]) expect(text).not.toContain(secret);
});
