import type { AccessRow } from './row.ts';

const blobs = {
  provider: 'azure',
  start: '^https://[a-z0-9]{3,24}\\.blob\\.core\\.windows\\.net/',
  head: { what: 'container', form: '^[a-z0-9](?:-?[a-z0-9]){0,62}$' },
  tail: 'key',
  enforcedBy: 'provider',
  conditions: {},
  // Below 5 s the clocks of Azure and the broker decide more than the life; a leaked one is worth at most 300 s.
  lifeSeconds: { min: 5, max: 300 },
  ends: 'expired (no single SAS can be taken back)',
  worst: 'no single SAS can be taken back, so the longest ttl counts',
} as const;

/** Permissions are the letters of the signed `sp`. */
export const azureAccess: readonly AccessRow[] = [
  {
    ...blobs,
    access: 'blob.object',
    resource: 'https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB',
    size: 'one',
    permissions: { read: ['r'], create: ['c'], write: ['w'], delete: ['d'] },
  },
  {
    ...blobs,
    access: 'blob.directory',
    resource: 'https://ACCOUNT.blob.core.windows.net/CONTAINER/DIRECTORY/',
    size: 'prefix',
    permissions: { read: ['r'], list: ['l'], create: ['c'], write: ['w'], delete: ['d'] },
  },
];
