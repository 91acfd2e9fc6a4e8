import type { AccessRow } from './row.ts';

/** A permission of GitHub Apps as an access: read and write of one repository. */
function ofRepository(access: string, permission: string): AccessRow {
  return {
    access,
    provider: 'github',
    resource: 'https://github.com/OWNER/REPOSITORY',
    start: '^https://github\\.com/',
    head: { what: 'owner', form: '^[A-Za-z0-9-]{1,39}$' },
    tail: 'path',
    size: 'one',
    permissions: {
      read: [`${permission}:read`, 'metadata:read'],
      write: [`${permission}:write`, 'metadata:read'],
    },
    conditions: {},
    mechanism: 'installation token for one repository and one permission',
    enforcedBy: 'provider',
    // Every installation token lives one hour from when GitHub makes it, never less: with a minute for the way.
    lifeSeconds: { min: 3660, max: 7200 },
    ends: 'deleted where the replica that made it still holds it, else expired after its hour',
    worst: 'only the token itself can end itself and none is stored, so its hour counts',
  };
}

export const githubAccess: readonly AccessRow[] = [
  ofRepository('github.repository', 'contents'),
  ofRepository('github.pull-requests', 'pull_requests'),
  ofRepository('github.issues', 'issues'),
];
