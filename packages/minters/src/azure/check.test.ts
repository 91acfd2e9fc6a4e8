import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { azureProvider, blobRequest, directoryRequest, otherClient, tenant } from '../../test/azure.ts';
import { mutationsOf } from '../../test/mutations.ts';
import { type Allowed, allowedFor, taskId } from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { planAzure } from './plan.ts';

const endpoints = { authority: 'https://127.0.0.1:4570', blob: 'https://127.0.0.1:4571' };
const requests: readonly (readonly [string, MintRequest])[] = [
  ['read of one blob', blobRequest()],
  ['everything of one blob', blobRequest({ actions: ['read', 'create', 'write', 'delete'] })],
  ['by another client', blobRequest({ mint: { client: otherClient } })],
  ['read and list of a directory', directoryRequest()],
  ['a blob at an emulator', blobRequest({ provider: azureProvider({ endpoints, correlationId: false }) })],
];

const check = (plan: unknown, request: MintRequest, more: Partial<Allowed> = {}) =>
  checkPlan(plan as MintPlan, allowedFor(request, more)); // Broken plans are the point of this suite.
const withBody = (plan: MintPlan, body: object) => ({ ...plan, body: { ...plan.body, ...body } });
const withSas = (plan: MintPlan, change: (sas: string) => string) =>
  withBody(plan, { sas: change(String(plan.body['sas'])) });

test.each(requests)('passes what the planner makes: %s', (_, request) => {
  expect(check(planAzure(request), request)).toBeNull();
});

test.each(requests)('no single change of what is sent passes: %s', (_, request) => {
  const plan = planAzure(request);
  const mutations = mutationsOf(plan.body, ['body']);
  expect(mutations.length).toBeGreaterThan(40);
  const passed = mutations.filter(({ value }) => check({ ...plan, body: value }, request) === null);
  // A key that lives shorter opens nothing more.
  expect(passed.map(({ name }) => name)).toEqual(['body.keySeconds: one less']);
});

test.each(requests)('no single change of a field of the SAS passes: %s', (_, request) => {
  const plan = planAzure(request);
  const fields = [...new URLSearchParams(String(plan.body['sas']))];
  const mutations = mutationsOf(fields);
  expect(mutations.length).toBeGreaterThan(60);
  const passed = mutations.filter(({ value }) => {
    if (!Array.isArray(value) || !value.every((pair) => Array.isArray(pair))) return false;
    const sas = value.map(([name, text]) => `${name}=${encodeURIComponent(text)}`).join('&');
    return sas !== plan.body['sas'] && check(withBody(plan, { sas }), request) === null;
  });
  expect(passed.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of what the log is told passes: %s', (_, request) => {
  const plan = planAzure(request);
  const { body: _body, ...told } = plan;
  // No SAS names a generation.
  const harmless = /^((ends|enforcement): one key more|: one key more|generation: |: without generation)/;
  const passed = mutationsOf(told).filter(({ value }) => {
    try {
      return check({ ...Object(value), body: plan.body }, request) === null;
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  expect(passed.map(({ name }) => name).filter((name) => !harmless.test(name))).toEqual([]);
});

const blobs: readonly [string, (plan: MintPlan) => unknown, string][] = [
  [
    'another letter',
    (plan) => withSas(plan, (sas) => sas.replace('sp=r', 'sp=rw')),
    'permission w exceeds the actions',
  ],
  [
    'a listing of one blob',
    (plan) => withSas({ ...plan, actions: ['read'] }, (sas) => sas.replace('sp=r', 'sp=rl')),
    'permission l exceeds the actions',
  ],
  [
    'a longer life',
    (plan) => withSas(plan, (sas) => sas.replace('12%3A01', '12%3A02')),
    'se is later than allowed',
  ],
  [
    'a shorter life than is told',
    (plan) => withSas(plan, (sas) => sas.replace('12%3A01', '12%3A00')),
    'se is not the end of the plan',
  ],
  [
    'a whole container',
    (plan) => withSas(plan, (sas) => sas.replace('sr=b', 'sr=c')),
    'sas: not in its one spelling',
  ],
  [
    'a directory',
    (plan) => withSas(plan, (sas) => sas.replace('sr=b', 'sr=d&sdd=1')),
    'sr is of another size',
  ],
  [
    'http as well',
    (plan) => withSas(plan, (sas) => sas.replace('spr=https', 'spr=https%2Chttp')),
    'sas: not in its one spelling',
  ],
  [
    'no protocol',
    (plan) => withSas(plan, (sas) => sas.replace('&spr=https', '')),
    'sas: not in its one spelling',
  ],
  [
    'an end that stands twice',
    (plan) => withSas(plan, (sas) => sas.replace('&spr', '&se=2027-01-01T00%3A00%3A00Z&spr')),
    'sas: not in its one spelling',
  ],
  [
    'an identifier of a stored policy',
    (plan) => withSas(plan, (sas) => `${sas}&si=everything`),
    'sas: not in its one spelling',
  ],
  [
    'another issuance',
    (plan) => withSas(plan, (sas) => sas.replace(/scid=.*/, `scid=${taskId}`)),
    'scid does not name the issuance',
  ],
  [
    'no issuance',
    (plan) => withSas(plan, (sas) => sas.replace(/&scid=.*/, '')),
    'scid does not name the issuance',
  ],
  [
    'the neighbour signed',
    (plan) => withBody(plan, { resource: '/blob/invoices/reports/2026q3/b.pdf' }),
    'the signed resource is not the one thing asked for',
  ],
  [
    'another container',
    (plan) => withBody(plan, { resource: '/blob/invoices/payroll/2026q3/a.pdf' }),
    'the signed resource is not the one thing asked for',
  ],
  [
    'another account',
    (plan) => withBody(plan, { account: 'archive', resource: '/blob/archive/reports/2026q3/a.pdf' }),
    'the identifier is in another account',
  ],
  [
    'a foreign account',
    (plan) => withBody(plan, { account: 'payroll' }),
    'account is not a ceiling of the provider',
  ],
  [
    'another host',
    (plan) => withBody(plan, { url: 'https://evil.example/reports/2026q3/a.pdf' }),
    'the URL is not the one thing asked for',
  ],
  [
    'another client than the grant’s',
    (plan) => withBody(plan, { client: otherClient }),
    'client is not the one that the grant names',
  ],
  [
    'a foreign client',
    (plan) => withBody(plan, { client: tenant }),
    'client is not a ceiling of the provider',
  ],
  ['another tenant', (plan) => withBody(plan, { tenant: otherClient }), 'tenant is not that of the provider'],
  ['a key for a day', (plan) => withBody(plan, { keySeconds: 86_400 }), 'body: not the known form'],
  [
    'a better end than Azure has',
    (plan) => ({ ...plan, ends: { by: 'denied', guaranteedSeconds: 5 } }),
    'no single SAS can be taken back',
  ],
  [
    'a smaller reach than Azure has',
    (plan) => ({ ...plan, reach: plan.issuanceId }),
    'reach is not the account',
  ],
];

test.each(blobs)('a mutant with %s dies', (_, change, expected) => {
  const request = blobRequest();
  expect(check(change(planAzure(request)), request)).toBe(expected);
});

test('a mutant with the directory above dies', () => {
  const request = directoryRequest({
    identifier: 'https://invoices.blob.core.windows.net/reports/2026/q3/',
  });
  const plan = planAzure(request);
  expect(check(plan, request)).toBeNull();
  const above = withSas(plan, (sas) => sas.replace('sdd=2', 'sdd=1'));
  expect(check(above, request)).toBe('sdd is another depth');
  const both = withBody(above, { resource: '/blob/invoices/reports/2026' });
  expect(check(both, request)).toBe('the signed resource is not the one thing asked for');
});

test('a life beyond every SAS dies, though it was decided so', () => {
  const notAfter = new Date('2026-11-23T13:00:00Z');
  const request = blobRequest({ notAfter });
  expect(check(planAzure(request), request)).toBe('lives longer than any SAS');
});

test.each([
  ['outside the grant', 'https://invoices.blob.core.windows.net/reports/2026q4/**'],
  ['in another container', 'https://invoices.blob.core.windows.net/payroll/**'],
])('a blob %s dies', (_, resource) => {
  const request = blobRequest();
  expect(check(planAzure(request), request, { resource })).toBe('the identifier lies outside the grant');
});

test.each([
  ['a name that Azure shortens', '2026q3/a.', 'Azure would read another name'],
  ['an empty segment', '2026q3//a', 'Azure would read another name'],
  ['an encoded slash', '2026q3%2Fa', 'the identifier is no plain URL'],
  ['a way up', '2026q3/../a', 'the identifier is no plain URL'],
])('%s dies, whoever planned it', (_, name, expected) => {
  const identifier = `https://invoices.blob.core.windows.net/reports/${name}`;
  const request = blobRequest();
  const plan = { ...planAzure(request), identifier };
  const body = { url: identifier, resource: `/blob/invoices/reports/${name}` };
  const resource = 'https://invoices.blob.core.windows.net/reports/**';
  expect(check(withBody(plan, body), { ...request, identifier }, { resource })).toBe(expected);
});
