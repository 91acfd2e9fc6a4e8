import { actions } from '@mayfly/protocol';
import type { AccessRow } from './row.ts';

const bucket = { what: 'bucket', form: '^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$' };
/** A quote or an escape in a condition, or what a URL hides. */
const keyRefused = "['`]|[\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}]";
const nothingTakesBack = 'nothing takes back one credential, so the longest ttl counts';
const expires = 'expired (disabling the service account ends everything of it at once)';

export const gcpAccess: readonly AccessRow[] = [
  {
    // A signed URL for one method: an exchange asks for exactly one verb.
    access: 'gcs.object',
    provider: 'gcp',
    resource: 'gs://BUCKET/OBJECT',
    start: '^gs://',
    head: bucket,
    tail: 'key',
    keyRefused,
    size: 'one',
    permissions: {
      read: ['storage.objects.get'],
      create: ['storage.objects.create'],
      write: ['storage.objects.create', 'storage.objects.delete'],
      delete: ['storage.objects.delete'],
    },
    // The request has to carry the header, which is signed.
    conditions: { create: { 'x-goog-if-generation-match': '0' } },
    mechanism: 'V4 signed URL for one method',
    enforcedBy: 'provider',
    // 5 s to make one request with it; 300 s keeps what a leaked one is worth below five minutes.
    lifeSeconds: { min: 5, max: 300 },
    ends: expires,
    worst: nothingTakesBack,
  },
  {
    // No write and no delete: who may overwrite at Google may delete, and no role deletes alone. `gcs.object` has both.
    access: 'gcs.prefix',
    provider: 'gcp',
    resource: 'gs://BUCKET/PREFIX/',
    start: '^gs://',
    head: bucket,
    tail: 'key',
    keyRefused,
    size: 'prefix',
    permissions: {
      read: ['storage.objects.get'],
      list: ['storage.objects.list'],
      create: ['storage.objects.create'],
    },
    conditions: { list: { 'storage.googleapis.com/objectListPrefix': 'PREFIX/' } },
    mechanism: 'access token with a Credential Access Boundary',
    enforcedBy: 'provider',
    // 30 s: no shorter access token was tried. 3600 s is what Google gives without an organisation policy.
    lifeSeconds: { min: 30, max: 3600 },
    ends: expires,
    worst: nothingTakesBack,
  },
  {
    // Opens all that its service account may: only where the template says `accept: unscoped` (docs/adr/0013).
    access: 'gcp.token',
    provider: 'gcp',
    resource: '//SERVICE.googleapis.com/NAME',
    start: '^//',
    head: { what: 'service', form: '^[a-z0-9-]{1,63}\\.googleapis\\.com$' },
    tail: 'path',
    size: 'one',
    permissions: Object.fromEntries(
      actions.map((verb) => [verb, ['https://www.googleapis.com/auth/cloud-platform']]),
    ),
    conditions: {},
    mechanism: 'access token of its service account, narrowed by nothing',
    enforcedBy: 'nobody',
    lifeSeconds: { min: 30, max: 3600 },
    ends: expires,
    worst: nothingTakesBack,
  },
];
