import type { AccessRow } from './row.ts';

const blobs = {
  provider: 'azure',
  start: '^https://[a-z0-9]{3,24}\\.blob\\.core\\.windows\\.net/',
  head: { what: 'container', form: '^[a-z0-9](?:-?[a-z0-9]){2,62}$' },
  tail: 'key',
  mechanism: 'user delegation SAS',
  // What stands for itself in a URL; Azure drops a dot at the end of a name.
  keyRefused: "[^A-Za-z0-9._~!$&'()+,;=:@*/-]|\\.(?:/|$)",
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
  {
    access: 'servicebus.queue',
    provider: 'azure',
    resource: 'https://NAMESPACE.servicebus.windows.net/QUEUE',
    start: '^https://[a-z](?:-?[a-z0-9]){5,49}\\.servicebus\\.windows\\.net/',
    head: { what: 'queue', form: '^[a-z0-9](?:[a-z0-9._-]{0,258}[a-z0-9])?$' },
    tail: 'none',
    size: 'one',
    // Rights of the queue's own rule, one for each verb; its SAS carries one of them.
    permissions: { send: ['Send'], receive: ['Listen'] },
    conditions: {},
    mechanism: 'SAS of a rule of the queue with that right alone',
    enforcedBy: 'provider',
    lifeSeconds: blobs.lifeSeconds,
    ends: 'expired (a new key for the rule ends every SAS of it)',
    worst: blobs.worst,
  },
];
