import { expect, test } from '@jest/globals';
import { formatError, formatFinding, lint, parseDocuments } from '../../index.ts';

const client = '3b1c4c66-5a51-4b4d-8f5c-0f1f2a3b4c5d';
const provider = `apiVersion: mayfly/v1
kind: Provider
metadata: { name: prod-azure }
spec:
  type: azure
  tenant: 6f0d9c1e-2b7a-4c8e-9a43-1d2e3f4a5b6c
  clients: [${client}]
  accounts: [invoices]
`;
const template = (grant: Record<string, unknown>) => `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: https://ci.example, subjects: [job/*], claims: [jti] }
---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: reconcile, owner: team-finance }
spec:
  workloads: [{ issuer: ci, match: { sub: job/reconcile } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  grants: [${JSON.stringify(grant)}]
`;
const grant = {
  name: 'read',
  tool: 'blob.read',
  resource: `https://invoices.blob.core.windows.net/reports/${'$'}{params.quarter}/**`,
  mint: { provider: 'prod-azure', access: 'blob.object' },
  actions: ['read'],
  effects: ['read'],
  ttl: { default: '30s', max: '60s' },
  endsWithin: '60s',
};

/** What parser and linter say, without places. */
function said(...texts: string[]): string[] {
  const { documents, errors } = parseDocuments([{ file: 'f', text: texts.join('---\n') }]);
  const lines = [...errors.map(formatError), ...lint(documents, []).map(formatFinding)];
  return lines.map((line) => line.replace(/^f:\d+:\d+: /, ''));
}

test('a provider with one client and one account, and a grant of one blob, are clean', () => {
  expect(said(provider, template(grant))).toEqual([]);
  expect(said(provider, template({ ...grant, mint: { ...grant.mint, client } }))).toEqual([]);
});

test('a directory may be listed, a blob not', () => {
  const directory = { ...grant, mint: { ...grant.mint, access: 'blob.directory' }, actions: ['list'] };
  expect(said(provider, template(directory))).toEqual([]);
  expect(said(provider, template({ ...grant, actions: ['list'] }))).toEqual([
    'spec.grants[0].actions[0]: ERROR action-unknown: blob.object has no list (has: read, create, write, delete)',
  ]);
});

test.each([
  ['tenant: contoso.onmicrosoft.com', /tenant: .*/, 'spec.tenant: a UUID in lower case'],
  ['clients: []', /clients: .*/, 'spec.clients: '],
  ['accounts: [In-Voices]', /accounts: .*/, 'spec.accounts[0]: the name of a storage account'],
  ['secret: hunter2', /$/, 'spec.secret: '],
  ['  endpoints: { authority: "http://127.0.0.1:4570" }', /$/, 'spec.endpoints.authority: an https origin'],
  ['  endpoints: { blob: "https://127.0.0.1:4570/a" }', /$/, 'spec.endpoints.blob: an https origin'],
])('a provider with %s is refused', (line, place, expected) => {
  const text = provider.replace(place, line.startsWith('secret') ? `  ${line}\n` : `${line}\n`);
  expect(said(text)).toEqual([expect.stringContaining(expected)]);
});

test('names that stand twice, and a missing join to the storage log, are told', () => {
  const twice = provider.replace('[invoices]', '[invoices, invoices]');
  expect(said(`${twice}  correlationId: false\n`)).toEqual([
    'spec.accounts[1]: WARN repeated: invoices stands twice',
    'spec.correlationId: WARN no-correlation-id: storage logs will not name the issuance; only Azurite needs this off',
  ]);
});

test.each([
  [
    'another client',
    { mint: { ...grant.mint, client: 'x' } },
    'mint.client: ERROR client: not one of the clients of provider prod-azure',
  ],
  [
    'a role',
    { mint: { ...grant.mint, role: 'x' } },
    'mint.role: ERROR role: provider prod-azure has no roles',
  ],
  [
    'another account',
    { resource: 'https://payroll.blob.core.windows.net/reports/**' },
    'resource: ERROR account: payroll is not one of the accounts of provider prod-azure',
  ],
  [
    'an account that the caller chooses',
    { resource: `https://${'$'}{params.quarter}.blob.core.windows.net/reports/a` },
    'resource: ERROR resource-form: blob.object takes https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB',
  ],
  [
    'a container that the caller chooses',
    { resource: `https://invoices.blob.core.windows.net/${'$'}{params.quarter}/a` },
    `resource: ERROR caller-chosen-container: the caller would choose the container by ${'$'}{params.quarter}; write the container out`,
  ],
  [
    'a whole container as one blob',
    { resource: 'https://invoices.blob.core.windows.net/reports' },
    'resource: ERROR resource-form: a key must follow the container: https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB',
  ],
  [
    'a life beyond five minutes',
    { ttl: { max: '10m' }, endsWithin: '10m' },
    'ttl: ERROR ttl-range: blob.object lives 5 to 300 s; this one 60 to 600 s',
  ],
  [
    'a promise that no SAS can hold',
    { endsWithin: '10s' },
    'endsWithin: ERROR endsWithin-unreachable: the worst case is 60 s (no single SAS can be taken back, so the longest ttl counts); set ttl.max to 10s or endsWithin to 60s',
  ],
])('a grant with %s is refused', (_, change, expected) => {
  expect(said(provider, template({ ...grant, ...change }))).toEqual([`spec.grants[0].${expected}`]);
});
