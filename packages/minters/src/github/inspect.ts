import type { CallContext, Inspection } from '@mayfly/core';
import { z } from 'zod';
import { lying, type Rest, refusalOf } from '../rest/rest.ts';
import { saidBy, tooMuch } from '../said.ts';
import type { MinterServices } from '../services.ts';
import { headersWith, keyOf, signApp } from './app.ts';
import { permissionOf } from './plan.ts';
import type { GithubProvider } from './provider.ts';

const answered = z.object({
  account: z.object({ login: z.string() }),
  permissions: z.record(z.string(), z.string()),
  repository_selection: z.enum(['all', 'selected']),
  suspended_at: z.string().nullish(),
});
type Installation = z.output<typeof answered>;

/** The installation as the App sees it, by one call that makes no token: what it was given, and whether that is too much. */
export async function inspectGithub(
  provider: GithubProvider,
  tools: { readonly services: MinterServices; readonly rest: Rest },
  context: CallContext,
): Promise<readonly Inspection[]> {
  try {
    const { suspended_at, account, ...installation } = await read(provider, tools, context);
    return [
      { subject: 'app', ok: true, says: 'its key is accepted' },
      lookAtInstallation(provider, { suspended_at, account }),
      lookAtPermissions(provider, installation),
      lookAtSelection(provider, installation),
    ];
  } catch (error) {
    return [{ subject: 'app', ok: false, says: `${saidBy(error)}; ${appNeeds(provider)}` }];
  }
}

async function read(
  { name: provider, api, appId, installationId }: GithubProvider,
  { services, rest }: { readonly services: MinterServices; readonly rest: Rest },
  { now, signal }: CallContext,
): Promise<Installation> {
  const name = 'installation';
  const assertion = await signApp(appId, await keyOf(provider, services), now);
  const url = `${api}/app/installations/${installationId}`;
  const answer = await rest.call({ name, method: 'GET', url, headers: headersWith(assertion), signal });
  if (answer.status !== 200) throw refusalOf(name, answer);
  const parsed = answered.safeParse(answer.body);
  if (!parsed.success) throw lying('something that is no installation');
  return parsed.data;
}

function appNeeds({ name, appId, installationId, owner }: GithubProvider): string {
  return `needs MAYFLY_PROVIDER_KEYS=${name}=FILE with a key of App ${appId}, a clock that is right, and installation ${installationId} of that App: gh api /orgs/${owner}/installations`;
}

function lookAtInstallation(
  { owner, installationId }: GithubProvider,
  { account, suspended_at }: Pick<Installation, 'account' | 'suspended_at'>,
): Inspection {
  const subject = 'installation';
  const settings = `https://github.com/organizations/${owner}/settings/installations/${installationId}`;
  if (account.login.toLowerCase() !== owner.toLowerCase())
    return {
      subject,
      ok: false,
      says: `not of ${owner}; the ids are in gh api /orgs/${owner}/installations`,
    };
  if (suspended_at != null) return { subject, ok: false, says: `suspended; unsuspend it at ${settings}` };
  return { subject, ok: true, says: `of ${owner}` };
}

function lookAtPermissions(
  { owner, installationId }: GithubProvider,
  { permissions }: Pick<Installation, 'permissions'>,
): Inspection {
  const subject = 'permissions';
  const used = Object.values(permissionOf);
  const given = used.filter((name) => permissions[name] === 'read' || permissions[name] === 'write');
  const beyond = Object.keys(permissions).filter((name) => !used.includes(name) && name !== 'metadata');
  const settings = `https://github.com/organizations/${owner}/settings/installations/${installationId}`;
  if (beyond.length > 0) {
    // Their names are GitHub's text: only those that look like names are shown.
    const names = beyond.map((name) => (/^[a-z_]{1,60}$/.test(name) ? name : 'an unknown one'));
    return tooMuch(subject, `${names.sort().join(', ')}; nothing here asks for it: take it from the App`);
  }
  if (given.length === 0)
    return {
      subject,
      ok: false,
      says: `none of ${used.join(', ')}; give the App one and accept at ${settings}`,
    };
  return { subject, ok: true, says: given.map((name) => `${name}: ${permissions[name]}`).join(', ') };
}

function lookAtSelection(
  { owner, installationId }: GithubProvider,
  { repository_selection: selection }: Pick<Installation, 'repository_selection'>,
): Inspection {
  const subject = 'repositories';
  if (selection === 'selected') return { subject, ok: true, says: 'selected ones only' };
  const resource = `resource "github_app_installation_repositories" "agents" { installation_id = "${installationId}" ... } with selected_repositories`;
  return tooMuch(subject, `all of ${owner}, also those to come; ${resource}`);
}
