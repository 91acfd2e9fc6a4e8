import { ClientAssertionCredential } from '@azure/identity';
import {
  BlobSASPermissions,
  BlobServiceClient,
  generateBlobSASQueryParameters,
  SASProtocol,
  type UserDelegationKey,
} from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  type AzureStandin,
  type Azurite,
  type LocalIssuer,
  selfSigned,
  startAzure,
  startAzurite,
  startIssuer,
  trust,
} from '@mayfly/standins';

/** Our stand-in beside Microsoft's Azurite: the same SAS, the same request, the same status. */
const certificate = selfSigned();
const subject = 'mayfly:prod-azure:mint';
let issuer: LocalIssuer;
let azure: AzureStandin;
let azurite: Azurite;
let owner: ClientAssertionCredential;
let nobody: ClientAssertionCredential;

beforeAll(async () => {
  trust(certificate);
  issuer = await startIssuer();
  azure = await startAzure({ certificate });
  azurite = await startAzurite({ account: 'invoices', certificate });
  azure.createAccount('invoices', { hierarchical: true });
  const rights = ['read', 'list', 'create', 'write', 'delete', 'delegate'] as const;
  const clientOf = (assignments: Parameters<AzureStandin['createApp']>[0]['assignments']) =>
    new ClientAssertionCredential(
      azure.tenant,
      azure.createApp({ issuer: issuer.issuer, subject, assignments }),
      () => issuer.assertion({ subject, audience: 'api://AzureADTokenExchange', alg: 'RS256' }),
      { authorityHost: azure.url, disableInstanceDiscovery: true },
    );
  owner = clientOf([{ account: 'invoices', rights }]);
  nobody = clientOf([{ account: 'invoices', rights: ['delegate'] }]);
  // The stand-in has containers as they are needed, and no call that makes one.
  await new BlobServiceClient(`${azurite.url}/invoices`, owner).createContainer('reports');
}, 60_000);

afterAll(async () => {
  await Promise.all([issuer?.close(), azure?.close(), azurite?.close()]);
});

interface Case {
  readonly permissions?: string;
  readonly method?: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Asked for with the SAS of `2026q3/a.pdf`. */
  readonly name?: string;
  readonly seconds?: number;
  readonly startsIn?: number;
  readonly sas?: {
    readonly correlationId?: string;
    readonly isDirectory?: boolean;
    readonly blobName?: string;
  };
  readonly change?: (query: string) => string;
  readonly signer?: 'nobody';
}

const cases: Readonly<Record<string, Case>> = {
  'the blob, read': {},
  'its head': { method: 'HEAD' },
  'its neighbour': { name: '2026q3/b.pdf' },
  'a blob that starts alike': { name: '2026q3/a.pdfx' },
  'a write with read': { method: 'PUT' },
  'a deletion with read': { method: 'DELETE' },
  'a write with write': { permissions: 'w', method: 'PUT' },
  'a read with write': { permissions: 'w' },
  'an overwrite with create': { permissions: 'c', method: 'PUT' },
  'a creation with create': {
    ...{ permissions: 'c', method: 'PUT', name: '2026q3/new.pdf', sas: { blobName: '2026q3/new.pdf' } },
  },
  'a deletion with delete': { permissions: 'd', method: 'DELETE' },
  'nothing is there': { name: '2026q3/absent.pdf', sas: { blobName: '2026q3/absent.pdf' } },
  'more letters': { change: (query) => query.replace('sp=r', 'sp=rw') },
  'a later end': { change: (query) => query.replace(/se=20\d\d/, 'se=2099') },
  'http as well': { change: (query) => query.replace('spr=https', 'spr=https%2Chttp') },
  'another version': { change: (query) => query.replace('sv=2023-11-03', 'sv=2021-12-02') },
  'a container': { change: (query) => query.replace('sr=b', 'sr=c') },
  'another signature': { change: (query) => query.replace(/sig=..../, 'sig=AAAA') },
  'no signature': { change: (query) => query.replace(/&sig=[^&]*/, '') },
  'an unknown parameter more': { change: (query) => `${query}&other=1` },
  'an end that is past': { seconds: -5 },
  'a start to come': { startsIn: 60 },
  'a key of another end': { change: (query) => query.replace(/ske=20\d\d/, 'ske=2099') },
  'a correlation id': { sas: { correlationId: '019ab000-0000-7000-8000-000000000001' } },
  'a directory': { sas: { isDirectory: true, blobName: '2026q3' } },
  'a signer without a role': { signer: 'nobody' },
};

/** What Azurite does otherwise than Azure is documented to: [stand-in, Azurite]. Grows only with an ADR. */
const knownDifferences: Readonly<Record<string, readonly [number, number]>> = {
  // It signs an empty one.
  'a correlation id': [200, 403],
  // It has no hierarchical namespace.
  'a directory': [200, 403],
  // It knows no roles.
  'a signer without a role': [403, 200],
};

const keys = new Map<string, Promise<UserDelegationKey>>();
function keyOf(url: string, signer: 'owner' | 'nobody'): Promise<UserDelegationKey> {
  const known = keys.get(url + signer);
  if (known !== undefined) return known;
  const service = new BlobServiceClient(`${url}/invoices`, signer === 'owner' ? owner : nobody);
  const made = service.getUserDelegationKey(new Date(Date.now() - 60_000), new Date(Date.now() + 600_000));
  keys.set(url + signer, made);
  return made;
}

async function statusAt(url: string, of: Case): Promise<number> {
  const { permissions = 'r', method = 'GET', name = '2026q3/a.pdf', seconds = 60, startsIn } = of;
  const key = await keyOf(url, of.signer ?? 'owner');
  const query = generateBlobSASQueryParameters(
    {
      ...{ containerName: 'reports', blobName: '2026q3/a.pdf', version: '2023-11-03' },
      permissions: BlobSASPermissions.parse(permissions),
      expiresOn: new Date(Date.now() + seconds * 1000),
      ...(startsIn === undefined ? {} : { startsOn: new Date(Date.now() + startsIn * 1000) }),
      protocol: SASProtocol.Https,
      ...of.sas,
    },
    key,
    'invoices',
  ).toString();
  const init =
    method === 'PUT' ? { method, body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } } : { method };
  const answer = await fetch(`${url}/invoices/reports/${name}?${of.change?.(query) ?? query}`, init);
  await answer.arrayBuffer();
  return answer.status;
}

async function seed(): Promise<void> {
  const container = new BlobServiceClient(`${azurite.url}/invoices`, owner).getContainerClient('reports');
  await container.getBlockBlobClient('2026q3/new.pdf').deleteIfExists();
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf']) {
    azure.putBlob('invoices', `reports/${name}`, name);
    await container.getBlockBlobClient(name).upload(name, name.length);
  }
}

test.each(Object.keys(cases))('stand-in and Azurite answer alike: %s', async (name) => {
  await seed();
  const of = cases[name] ?? {};
  const both = [await statusAt(azure.url, of), await statusAt(azurite.url, of)];
  const [ours] = both;
  expect(both).toEqual(knownDifferences[name] ?? [ours, ours]);
});

test('every known difference is of a case', () => {
  expect(Object.keys(cases)).toEqual(expect.arrayContaining(Object.keys(knownDifferences)));
});
