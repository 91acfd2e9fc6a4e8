import { expect, test } from '@jest/globals';
import { type MintRequest, Refusal } from '@mayfly/core';
import {
  account,
  gcpProvider,
  objectRequest,
  otherAccount,
  prefixRequest,
  topic,
  unscopedRequest,
} from '../../test/gcp-cloud.ts';
import { grantId, issuanceId, taskId } from '../../test/plans.ts';
import { planGcp } from './plan.ts';

const issuance = '01M844DZQTE40R2081040G2081';
const refusal = (request: MintRequest) => {
  try {
    planGcp(request);
    return 'accepted';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
};

const common = {
  kind: 'gcp',
  purpose: 'agent',
  issuanceId,
  taskId,
  grantId,
  generation: 1,
  provider: 'prod-gcp',
  notAfter: '2026-11-23T12:01:00.000Z',
  reach: account,
  ends: { by: 'expired' },
  enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
};
const canonical = (method: string, more: readonly string[] = []) => {
  const names = ['host', ...more.map((one) => one.split(':')[0])];
  return [
    method,
    '/invoices/2026q3/a.pdf',
    [
      'X-Goog-Algorithm=GOOG4-RSA-SHA256',
      'X-Goog-Credential=finance%40acme-prod.iam.gserviceaccount.com%2F20261123%2Fauto%2Fstorage%2Fgoog4_request',
      'X-Goog-Date=20261123T120000Z',
      'X-Goog-Expires=60',
      `X-Goog-SignedHeaders=${names.join('%3B')}`,
      `x-mayfly-issuance=${issuance}`,
    ].join('&'),
    'host:storage.googleapis.com',
    ...more,
    '',
    names.join(';'),
    'UNSIGNED-PAYLOAD',
  ].join('\n');
};

test.each([
  ['read', ['storage.objects.get'], canonical('GET')],
  ['create', ['storage.objects.create'], canonical('PUT', ['x-goog-if-generation-match:0'])],
  ['write', ['storage.objects.create', 'storage.objects.delete'], canonical('PUT')],
  ['delete', ['storage.objects.delete'], canonical('DELETE')],
] as const)('golden plan: gcs.object %s', (action, nativePermissions, canonicalRequest) => {
  expect(planGcp(objectRequest({ actions: [action] }))).toEqual({
    ...common,
    access: 'gcs.object',
    identifier: 'gs://invoices/2026q3/a.pdf',
    actions: [action],
    nativePermissions,
    issuedTokenType: 'urn:mayfly:token-type:signed-url',
    tokenType: 'N_A',
    body: { access: 'gcs.object', serviceAccount: account, issuance, canonicalRequest },
  });
});

test('golden plan: gcs.prefix read, list and create', () => {
  const plan = planGcp(prefixRequest({ actions: ['read', 'list', 'create'] }));
  const rule = (role: string, expression: string) => ({
    availablePermissions: [`inRole:roles/storage.${role}`],
    availableResource: '//storage.googleapis.com/projects/_/buckets/invoices',
    availabilityCondition: { expression },
  });
  const named = "resource.name.startsWith('projects/_/buckets/invoices/objects/2026q3/')";
  const listed = "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('2026q3/')";
  expect({ ...plan, body: { ...plan.body, options: JSON.parse(String(plan.body['options'])) } }).toEqual({
    ...common,
    access: 'gcs.prefix',
    identifier: 'gs://invoices/2026q3/',
    actions: ['read', 'list', 'create'],
    nativePermissions: ['storage.objects.get', 'storage.objects.list', 'storage.objects.create'],
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    tokenType: 'Bearer',
    body: {
      access: 'gcs.prefix',
      serviceAccount: account,
      issuance,
      scopes: ['https://www.googleapis.com/auth/devstorage.read_write'],
      lifetimeSeconds: 55,
      options: {
        accessBoundary: {
          accessBoundaryRules: [
            rule('objectViewer', named),
            rule('objectViewer', listed),
            rule('objectCreator', named),
          ],
        },
      },
    },
  });
});

test('golden plan: gcp.token says that nothing holds it to its resource', () => {
  expect(planGcp(unscopedRequest())).toEqual({
    ...common,
    reach: otherAccount,
    access: 'gcp.token',
    identifier: topic,
    actions: ['send'],
    nativePermissions: ['https://www.googleapis.com/auth/cloud-platform'],
    enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' },
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    tokenType: 'Bearer',
    body: {
      access: 'gcp.token',
      serviceAccount: otherAccount,
      issuance,
      meantFor: topic,
      scopes: ['https://www.googleapis.com/auth/cloud-platform'],
      lifetimeSeconds: 55,
    },
  });
});

test('a token that only reads has a scope that only reads', () => {
  expect(planGcp(prefixRequest()).body['scopes']).toEqual([
    'https://www.googleapis.com/auth/devstorage.read_only',
  ]);
});

test('the provider’s own address is in the signed host, and mint.serviceAccount picks another ceiling', () => {
  const provider = gcpProvider({ endpoints: { storage: 'http://127.0.0.1:4567' } });
  const mint = { serviceAccount: otherAccount };
  const { body, reach } = planGcp(objectRequest({ provider, mint }));
  expect(String(body['canonicalRequest'])).toContain('\nhost:127.0.0.1:4567\n');
  expect([reach, body['serviceAccount']]).toEqual([otherAccount, otherAccount]);
});

const at = (identifier: string) => objectRequest({ identifier });
const strange =
  'identifier_malformed: the object’s name holds what a URL or a condition would read as another';

test.each([
  [
    'two actions in one URL',
    objectRequest({ actions: ['read', 'write'] }),
    'one_action_only: a signed URL is for one method',
  ],
  ['a listing by URL', objectRequest({ actions: ['list'] }), 'action_outside_grant: gcs.object has no list'],
  ['no action', objectRequest({ actions: [] }), 'action_outside_grant: gcs.object has no '],
  [
    'a prefix as an object',
    at('gs://invoices/2026q3/'),
    'identifier_malformed: gcs.object opens one object, not a prefix',
  ],
  [
    'an object as a prefix',
    prefixRequest({ identifier: 'gs://invoices/2026q3' }),
    'identifier_malformed: gcs.prefix opens one prefix ending in /',
  ],
  [
    'writing under a prefix',
    prefixRequest({ actions: ['write'] }),
    'action_outside_grant: gcs.prefix cannot hold write',
  ],
  [
    'deleting under a prefix',
    prefixRequest({ actions: ['read', 'delete'] }),
    'action_outside_grant: gcs.prefix cannot hold read, delete',
  ],
  ['nothing under a prefix', prefixRequest({ actions: [] }), 'action_outside_grant: gcs.prefix cannot hold '],
  ['a bucket', at('gs://invoices'), 'identifier_malformed: not gs://BUCKET/OBJECT'],
  ['a bucket of capitals', at('gs://Invoices/a'), 'identifier_malformed: not gs://BUCKET/OBJECT'],
  ['another scheme', at('s3://invoices/a'), 'identifier_malformed: not gs://BUCKET/OBJECT'],
  ['a star', at('gs://invoices/2026q3/*'), strange],
  ['a quote', at("gs://invoices/a') || true || ('"), strange],
  ['a backslash', at('gs://invoices/a\\'), strange],
  ['a line end', at('gs://invoices/a\nb'), strange],
  ['a way up', at('gs://invoices/2026q3/../2026q4/a'), strange],
  ['an empty segment', at('gs://invoices//a'), strange],
  ['a lone surrogate', at('gs://invoices/\ud800'), strange],
  ['a name of 1025 bytes', at(`gs://invoices/${'é'.repeat(512)}x`), strange],
  [
    'four seconds for a URL',
    objectRequest({ notAfter: new Date('2026-11-23T12:00:04Z') }),
    'too_little_time_left: 4 s',
  ],
  [
    '29 seconds for a token',
    prefixRequest({ notAfter: new Date('2026-11-23T12:00:29Z') }),
    'too_little_time_left: 29 s',
  ],
  [
    'a service account that is no ceiling',
    objectRequest({ mint: { serviceAccount: 'x@y.iam.gserviceaccount.com' } }),
    'tool_not_granted: service account is not a ceiling of provider prod-gcp',
  ],
  ['another access', objectRequest({ access: 'gcs.bucket' }), 'tool_not_granted: no access row gcs.bucket'],
  [
    'an unscoped token that nobody accepted',
    unscopedRequest({ mint: { serviceAccount: otherAccount } }),
    'tool_not_granted: gcp.token cannot be narrowed; the template must say accept: unscoped and name its service account',
  ],
  [
    'an unscoped token of no account in particular',
    unscopedRequest({ mint: { accept: 'unscoped' } }),
    'tool_not_granted: gcp.token cannot be narrowed; the template must say accept: unscoped and name its service account',
  ],
  [
    'an unscoped token for another site',
    unscopedRequest({ identifier: '//evil.example/x' }),
    'identifier_malformed: not //SERVICE.googleapis.com/NAME',
  ],
])('refuses %s', (_, request, reason) => {
  expect(refusal(request)).toBe(reason);
});

test('a Provider that policy would not have passed is refused', () => {
  expect(refusal(objectRequest({ provider: gcpProvider({ serviceAccounts: [] }) }))).toMatch(
    /^provider_refused: /,
  );
});
