import { type Enforcement, type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { bareId, tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { parseGithubProvider } from './provider.ts';

/** Of every installation token, counted by GitHub from when it makes it. */
export const tokenSeconds = 3_600;

/** Exactly what will be sent to `POST /app/installations/ID/access_tokens`, and to which. */
export const githubBody = z.strictObject({
  api: z.string(),
  appId: z.string(),
  installationId: z.string(),
  owner: z.string(),
  repositories: z.array(z.string()),
  permissions: z.record(z.string(), z.enum(['read', 'write'])),
});
export type GithubBody = z.output<typeof githubBody>;

/** What each access needs of the App; nothing else is ever asked for. */
export const permissionOf: Readonly<Record<string, string>> = {
  'github.repository': 'contents',
  'github.pull-requests': 'pull_requests',
  'github.issues': 'issues',
};

/** Pure: an installation token for one repository with the permissions of the verbs and no other. */
export function planGithub(request: MintRequest): MintPlan {
  const { issuanceId, taskId, grantId, generation, identifier, access, actions, notAfter, now } = request;
  const provider = parseGithubProvider(request.provider);
  const { owner, repository } = splitRepository(identifier);
  if (owner !== provider.owner)
    throw new Refusal('tool_not_granted', { detail: `not of the owner of provider ${provider.name}` });
  const body: GithubBody = {
    api: provider.api,
    appId: provider.appId,
    installationId: provider.installationId,
    owner,
    repositories: [repository],
    permissions: permissionsFor(access, actions),
  };
  const lifeSeconds = (notAfter.getTime() - now.getTime()) / 1000;
  if (lifeSeconds < tokenSeconds)
    throw new Refusal('too_little_time_left', { detail: `${Math.floor(lifeSeconds)} s` });
  return {
    ...{ kind: 'github', purpose: 'agent', issuanceId, taskId, grantId, generation },
    provider: provider.name,
    access,
    identifier,
    actions,
    nativePermissions: Object.entries(body.permissions).map(([name, level]) => `${name}:${level}`),
    notAfter: notAfter.toISOString(),
    reach: `mf-${bareId(issuanceId)}`,
    // Without a guarantee: only the token can end itself, it is kept in one replica's memory, and that may die.
    ends: { by: 'deleted' },
    enforcement: enforcementOf(body),
    issuedTokenType: tokenType.accessToken,
    tokenType: 'Bearer',
    body,
  };
}

/** Read from what is sent: GitHub gives every repository and every permission where none is named. */
export function enforcementOf({ repositories, permissions }: GithubBody): Enforcement {
  const by = (held: boolean) => (held ? 'provider' : 'broker');
  const named = Object.keys(permissions).length > 0;
  return { resource: by(repositories.length === 1), actions: by(named), ttl: 'provider' };
}

function splitRepository(identifier: string): { owner: string; repository: string } {
  const [, owner = '', repository = ''] =
    /^https:\/\/github\.com\/([A-Za-z0-9-]{1,39})\/([A-Za-z0-9._-]{1,100})$/.exec(identifier) ?? [];
  // GitHub takes `.git` for the same repository: one thing has one name here.
  if (owner === '' || /^\.{1,2}$|\.git$/i.test(repository))
    throw new Refusal('identifier_malformed', { detail: 'not https://github.com/OWNER/REPOSITORY' });
  return { owner, repository };
}

function permissionsFor(access: string, actions: readonly string[]): GithubBody['permissions'] {
  const permission = Object.hasOwn(permissionOf, access) ? permissionOf[access] : undefined;
  const known = actions.length > 0 && actions.every((action) => action === 'read' || action === 'write');
  if (permission === undefined || !known)
    throw new Refusal('tool_not_granted', { detail: `${access} has read and write only` });
  return { [permission]: actions.includes('write') ? 'write' : 'read', metadata: 'read' };
}
