import { BlobSASPermissions, generateBlobSASQueryParameters, SASProtocol } from '@azure/storage-blob';
import { expect, test } from '@jest/globals';
import { Secret } from '@mayfly/core';
import { blobRequest, directoryRequest, tenant } from '../../test/azure.ts';
import { issuanceId, notAfter } from '../../test/plans.ts';
import { planAzure } from './plan.ts';
import { signSas } from './sas.ts';

const value = Buffer.alloc(32, 7).toString('base64');
const key = {
  objectId: '5d3e6e88-7c73-4d6f-8b7e-2b3c4d5e6f70',
  tenantId: tenant,
  startsOn: '2026-11-23T11:59:00Z',
  expiresOn: '2026-11-23T12:06:00Z',
  service: 'b',
  version: '2023-11-03',
  value: new Secret(value),
};
const theirs = {
  signedObjectId: key.objectId,
  signedTenantId: key.tenantId,
  signedStartsOn: new Date(key.startsOn),
  signedExpiresOn: new Date(key.expiresOn),
  signedService: key.service,
  signedVersion: key.version,
  value,
};

const requests = {
  'a blob, read': blobRequest(),
  'a blob, everything': blobRequest({ actions: ['read', 'create', 'write', 'delete'] }),
  'a blob with every character that is allowed': blobRequest({
    identifier: "https://invoices.blob.core.windows.net/reports/Az09._~!$&'()+,;=:@-/x",
  }),
  'a directory': directoryRequest({ actions: ['read', 'write'] }),
};

test.each(Object.entries(requests))('signs as Microsoft’s own library does: %s', (_, request) => {
  const { body, nativePermissions } = planAzure(request);
  const resource = String(body['resource']);
  const { query, signature } = signSas(String(body['sas']), { resource, key });
  const [, , account = '', containerName = '', ...rest] = resource.split('/');
  const expected = generateBlobSASQueryParameters(
    {
      containerName,
      blobName: rest.join('/'),
      isDirectory: request.access === 'blob.directory',
      permissions: BlobSASPermissions.parse(nativePermissions.join('')),
      expiresOn: notAfter,
      protocol: SASProtocol.Https,
      version: '2023-11-03',
      correlationId: issuanceId,
    },
    theirs,
    account,
  );
  const sorted = (text: string) => [...new URLSearchParams(text)].sort();
  expect(sorted(query)).toEqual(sorted(expected.toString()));
  expect(signature).toBe(expected.signature);
});

test('every field and the name are signed', () => {
  const { body } = planAzure(blobRequest());
  const [sas, resource] = [String(body['sas']), String(body['resource'])];
  const { signature } = signSas(sas, { resource, key });
  const others = [
    signSas(sas, { resource: `${resource}x`, key }),
    signSas(sas.replace('sp=r', 'sp=rw'), { resource, key }),
    signSas(sas.replace('12%3A01', '13%3A01'), { resource, key }),
    signSas(sas.replace('spr=https', 'spr=https%2Chttp'), { resource, key }),
    signSas(sas.replace('sr=b', 'sr=c'), { resource, key }),
    signSas(sas.replace(issuanceId, tenant), { resource, key }),
    ...(['objectId', 'tenantId', 'startsOn', 'expiresOn', 'version'] as const).map((name) =>
      signSas(sas, { resource, key: { ...key, [name]: `${key[name]}x` } }),
    ),
  ].map((one) => one.signature);
  expect(new Set([signature, ...others]).size).toBe(others.length + 1);
});
