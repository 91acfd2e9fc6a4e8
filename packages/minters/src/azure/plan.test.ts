import { expect, test } from '@jest/globals';
import type { MintRequest } from '@mayfly/core';
import {
  azureProvider,
  blobRequest,
  client,
  directoryRequest,
  otherClient,
  tenant,
} from '../../test/azure.ts';
import { outcome } from '../../test/cloud.ts';
import { issuanceId } from '../../test/plans.ts';
import { enforcementOf, planAzure } from './plan.ts';

test('a plan holds all that is sent but key and signature', () => {
  const { body, ...told } = planAzure(blobRequest());
  expect(body).toEqual({
    tenant,
    client,
    account: 'invoices',
    url: 'https://invoices.blob.core.windows.net/reports/2026q3/a.pdf',
    resource: '/blob/invoices/reports/2026q3/a.pdf',
    sas: `sp=r&se=2026-11-23T12%3A01%3A00Z&spr=https&sv=2023-11-03&sr=b&scid=${issuanceId}`,
    keySeconds: 360,
  });
  expect(told).toMatchObject({
    nativePermissions: ['r'],
    notAfter: '2026-11-23T12:01:00.000Z',
    reach: 'invoices',
    ends: { by: 'expired' },
    enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
    issuedTokenType: 'urn:mayfly:token-type:azure-sas',
    tokenType: 'N_A',
  });
});

test('a directory is named by its depth, without its last slash', () => {
  const { body } = planAzure(
    directoryRequest({ identifier: 'https://invoices.blob.core.windows.net/reports/2026/q3/' }),
  );
  expect(body['url']).toBe('https://invoices.blob.core.windows.net/reports/2026/q3');
  expect(body['resource']).toBe('/blob/invoices/reports/2026/q3');
  expect(body['sas']).toContain('&sr=d&sdd=2&');
});

test.each([
  [['read'], 'r'],
  [['create'], 'c'],
  [['write'], 'w'],
  [['delete'], 'd'],
  [['delete', 'write', 'read', 'create'], 'rcwd'],
] as const)('%j are the letters %s, in the order of Azure', (actions, letters) => {
  expect(planAzure(blobRequest({ actions })).body['sas']).toMatch(new RegExp(`^sp=${letters}&`));
});

test('a listed directory says so, and a blob cannot be listed', async () => {
  expect(planAzure(directoryRequest()).nativePermissions).toEqual(['r', 'l']);
  const listed = () => planAzure(blobRequest({ actions: ['read', 'list'] }));
  expect(await outcome(listed)).toBe('tool_not_granted: blob.object has no such action');
  expect(await outcome(() => planAzure(blobRequest({ actions: [] })))).toBe(
    'tool_not_granted: blob.object has no such action',
  );
});

test('at an endpoint that the document names, the account is a path; without correlation id it is left out', () => {
  const endpoints = { authority: 'https://127.0.0.1:4570', blob: 'https://127.0.0.1:4571' };
  const { body } = planAzure(blobRequest({ provider: azureProvider({ endpoints, correlationId: false }) }));
  expect(body['url']).toBe('https://127.0.0.1:4571/invoices/reports/2026q3/a.pdf');
  expect(body['resource']).toBe('/blob/invoices/reports/2026q3/a.pdf');
  expect(body['sas']).not.toContain('scid');
});

test('the grant may pick another client of the provider, and no foreign one', async () => {
  const of = (chosen: string) => planAzure(blobRequest({ mint: { client: chosen } }));
  expect(of(otherClient).body['client']).toBe(otherClient);
  expect(await outcome(() => of(tenant))).toBe(
    'tool_not_granted: client is not a ceiling of provider prod-azure',
  );
});

const host = 'https://invoices.blob.core.windows.net';
test.each([
  ['a foreign account', 'https://payroll.blob.core.windows.net/reports/a', 'tool_not_granted'],
  ['another host', 'https://invoices.blob.core.windows.net.evil.example/reports/a', 'identifier_malformed'],
  ['plain http', 'http://invoices.blob.core.windows.net/reports/a', 'identifier_malformed'],
  ['a container alone', `${host}/reports`, 'identifier_malformed'],
  ['a whole container', `${host}/reports/`, 'identifier_malformed'],
  ['a short container', `${host}/re/a`, 'identifier_malformed'],
  ['a query', `${host}/reports/a?sp=rw`, 'identifier_malformed'],
  ['a fragment', `${host}/reports/a#b`, 'identifier_malformed'],
  ['an encoded slash', `${host}/reports/a%2Fb`, 'identifier_malformed'],
  ['an encoded dot', `${host}/reports/%2e%2e/b`, 'identifier_malformed'],
  ['a way up', `${host}/reports/../payroll/a`, 'identifier_malformed'],
  ['a dot alone', `${host}/reports/./a`, 'identifier_malformed'],
  ['a name that Azure would shorten', `${host}/reports/a.`, 'identifier_malformed'],
  ['a directory that Azure would shorten', `${host}/reports/a./b`, 'identifier_malformed'],
  ['an empty segment', `${host}/reports//a`, 'identifier_malformed'],
  ['a backslash', `${host}/reports/a\\b`, 'identifier_malformed'],
  ['a star', `${host}/reports/*`, 'identifier_malformed'],
  ['a space', `${host}/reports/a b`, 'identifier_malformed'],
  ['a letter beyond ASCII', `${host}/reports/ä`, 'identifier_malformed'],
  ['a line break after it', `${host}/reports/a\n`, 'identifier_malformed'],
  ['a name beyond Azure’s length', `${host}/reports/${'a'.repeat(1024)}`, 'identifier_malformed'],
  ['a directory', `${host}/reports/a/`, 'identifier_malformed'],
])('%s is no blob', async (_, identifier, reason) => {
  expect(await outcome(() => planAzure(blobRequest({ identifier })))).toMatch(new RegExp(`^${reason}: `));
});

test('a blob is no directory', async () => {
  const wrong = () => planAzure(directoryRequest({ identifier: `${host}/reports/a` }));
  expect(await outcome(wrong)).toMatch(/^identifier_malformed: /);
});

test.each<[string, Partial<MintRequest>, string]>([
  [
    'with less than five seconds left',
    { notAfter: new Date('2026-11-23T12:00:04Z') },
    'too_little_time_left: 4 s',
  ],
  ['of another access', { access: 's3.object' }, 'tool_not_granted: no access s3.object'],
  [
    'at a provider of another form',
    { provider: azureProvider({ tenant: 'x' }) },
    'provider_refused: provider prod-azure: tenant: Invalid UUID',
  ],
])('a request %s is refused', async (_, more, expected) => {
  expect(await outcome(() => planAzure(blobRequest(more)))).toBe(expected);
});

test('what a SAS does not say, nobody but the broker holds', () => {
  const { sas } = planAzure(blobRequest()).body;
  const without = (name: string) => enforcementOf(String(sas).replace(new RegExp(`(^|&)${name}=[^&]*`), ''));
  const all = { resource: 'provider', actions: 'provider', ttl: 'provider' };
  expect(without('sr')).toEqual({ ...all, resource: 'broker' });
  expect(without('sp')).toEqual({ ...all, actions: 'broker' });
  expect(without('se')).toEqual({ ...all, ttl: 'broker' });
  // A SAS for a container opens all of it.
  expect(enforcementOf(String(sas).replace('sr=b', 'sr=c')).resource).toBe('broker');
});
