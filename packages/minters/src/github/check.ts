import type { MintPlan, PlanCheck } from '@mayfly/core';
import { parseId } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from plan.ts: this reads what would be sent and shares no code with what makes it.
const sent = z.strictObject({
  api: z.url(),
  appId: z.string(),
  installationId: z.string().regex(/^[0-9]+$/),
  owner: z.string(),
  // GitHub gives a token for every repository of the installation where none is named.
  repositories: z.tuple([z.string().regex(/^[A-Za-z0-9._-]{1,100}$/)]),
  // Likewise every permission of the App.
  permissions: z.record(z.string(), z.enum(['read', 'write'])),
});
type Sent = z.output<typeof sent>;
type Allowed = Parameters<PlanCheck>[1];

/** Which permission each access may name beside `metadata`; one that is not here is never sent. */
const permissionsOf: ReadonlyMap<string, string> = new Map([
  ['github.repository', 'contents'],
  ['github.pull-requests', 'pull_requests'],
  ['github.issues', 'issues'],
]);

export const checkGithubPlan: PlanCheck = (plan, allowed) => {
  const body = sent.safeParse(plan.body);
  if (!body.success) return 'body: not the known form, or for more than one repository';
  return (
    checkInstallation(body.data, allowed) ??
    checkRepository(body.data, allowed) ??
    checkPermissions(body.data, plan) ??
    checkPromises(plan)
  );
};

function checkInstallation({ api, appId, installationId, owner }: Sent, { provider }: Allowed) {
  const { endpoints } = provider.spec;
  const configured = Reflect.get(Object(endpoints), 'api') ?? 'https://api.github.com';
  if (api !== String(configured).replace(/\/$/, '')) return 'the API is not that of the provider';
  if (appId !== provider.spec['appId']) return 'the App is not that of the provider';
  if (installationId !== provider.spec['installationId'])
    return 'the installation is not that of the provider';
  return owner === provider.spec['owner'] ? null : 'the owner is not the ceiling of the provider';
}

function checkRepository({ owner, repositories: [repository] }: Sent, { identifier, resource }: Allowed) {
  if (/^\.+$|\.git$/i.test(repository)) return 'the repository has another name';
  if (`https://github.com/${owner}/${repository}` !== identifier)
    return 'the repository is not the one asked for';
  return insidePattern(resource, identifier) ? null : 'the repository lies outside the grant';
}

function checkPermissions({ permissions }: Sent, plan: MintPlan): string | null {
  const main = permissionsOf.get(plan.access);
  for (const [name, level] of Object.entries(permissions)) {
    if (name === 'metadata' && level === 'read') continue;
    if (name !== main) return `permission ${name} is not that of the access`;
    if (level === 'write' && !plan.actions.includes('write')) return `${name} exceeds the actions`;
  }
  if (main === undefined || permissions[main] === undefined || permissions['metadata'] === undefined)
    return 'a permission is missing';
  if (permissions[main] === 'read' && plan.actions.join() !== 'read') return 'the actions are not those sent';
  const said = Object.entries(permissions).map(([name, level]) => `${name}:${level}`);
  return JSON.stringify(said) === JSON.stringify(plan.nativePermissions)
    ? null
    : 'permissions are not those of the plan';
}

/** What the caller and the log are told must not be better than what GitHub holds. */
function checkPromises({ ends, enforcement, issuedTokenType, tokenType, reach, issuanceId }: MintPlan) {
  if (ends.by !== 'expired' && (ends.by !== 'deleted' || Object.keys(ends).length > 1))
    return 'ends is better than the provider can hold';
  const { resource, actions, ttl } = enforcement;
  if (resource !== 'provider' || actions !== 'provider' || ttl !== 'provider')
    return 'enforcement is not what is sent';
  const id = reach.replace(/^mf-/, '');
  if (!reach.startsWith('mf-') || !/^[0-9A-Z]{26}$/.test(id) || parseId('isn', id) !== issuanceId)
    return 'the reach is not that of the issuance';
  return issuedTokenType === 'urn:ietf:params:oauth:token-type:access_token' && tokenType === 'Bearer'
    ? null
    : 'token type is not that of a bearer token';
}
