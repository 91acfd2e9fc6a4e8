import { actions } from '@mayfly/protocol';
import type { AccessRow } from './row.ts';

export const tokenAccess: readonly AccessRow[] = [
  {
    access: 'token',
    provider: 'token',
    resource: 'https://HOST/PATH',
    start: '^https://',
    head: { what: 'host', form: '^[a-z0-9.-]+(?::[0-9]{1,5})?$' },
    tail: 'path',
    size: 'one',
    permissions: Object.fromEntries(actions.map((verb) => [verb, [verb]])),
    conditions: {},
    mechanism: 'at+jwt for one resource server, which asks or verifies',
    enforcedBy: 'tool server',
    lifeSeconds: { min: 5, max: 3600 },
    worst: 'the longest ttl',
    ends: 'denied (introspection answers inactive), or expired where the server verifies offline',
  },
];
