import { createHash } from 'node:crypto';
import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import { z } from 'zod';
import { createRest, lying, type Rest, refusalOf } from '../rest/rest.ts';
import type { MinterServices } from '../services.ts';
import { headersWith, keyOf, signApp } from './app.ts';
import { type Held, HeldTokens } from './held-tokens.ts';
import { inspectGithub } from './inspect.ts';
import { type GithubBody, githubBody, planGithub, tokenSeconds } from './plan.ts';
import { parseGithubProvider } from './provider.ts';

/** Clocks of GitHub and ours. */
const lieSeconds = 30;
/** A token that was just made may be refused for seconds where GitHub has not heard of it yet; well beyond that. */
const lagMs = 60_000;

/**
 * GitHub: an installation token for one repository. There is no federation here, so the App's private key is the one
 * stored secret of this project, and the operator stores it (docs/adr/0010). Only a token can delete itself
 * (`DELETE /installation/token`): it is held in memory for that until it expires, and nowhere else.
 */
export function createGithubMinter(services: MinterServices): Minter {
  const rest = createRest();
  const held = new HeldTokens();
  return {
    kind: 'github',
    local: false,
    plan: planGithub,
    mint: async (plan, context) => {
      const body = githubBody.parse(plan.body);
      refuseMoved(plan, services);
      const asked = await ask(body, { plan, services, rest, context });
      // Also one that is not answered: it may exist, and then it must end.
      const token = tokenIn(asked);
      const until = new Date(context.now.getTime() + (tokenSeconds + lieSeconds) * 1000);
      if (token !== undefined) held.keep(plan.issuanceId, token, { until, now: context.now });
      return answer(asked, { plan, body, now: context.now });
    },
    revoke: (plan, context) => revoke(plan, { services, rest, held, context }),
    inspect: (provider, context) => inspectGithub(parseGithubProvider(provider), { services, rest }, context),
  };
}

/** The key of one App is shown to no other, and a token to no other API than the one that made it. */
function refuseMoved(plan: MintPlan, services: MinterServices): void {
  const provider = services.provider(plan.provider);
  const known = provider === undefined ? undefined : parseGithubProvider(provider);
  const { api, appId, installationId } = githubBody.parse(plan.body);
  if (known?.api === api && known.appId === appId && known.installationId === installationId) return;
  throw new Fault('provider_refused', {
    effect: 'none',
    detail: `provider ${plan.provider} is gone or has moved`,
  });
}

interface Asking {
  readonly plan: MintPlan;
  readonly services: MinterServices;
  readonly rest: Rest;
  readonly context: CallContext;
}

async function ask(body: GithubBody, { plan, services, rest, context }: Asking): Promise<unknown> {
  const name = 'installation token';
  const { api, appId, installationId, repositories, permissions } = body;
  if (Date.parse(plan.notAfter) - context.now.getTime() < tokenSeconds * 1000)
    throw new Fault('provider_refused', { effect: 'none', detail: 'less time left than GitHub gives' });
  const assertion = await signApp(appId, await keyOf(plan.provider, services), context.now);
  const answered = await rest.call({
    name,
    method: 'POST',
    url: `${api}/app/installations/${installationId}/access_tokens`,
    headers: headersWith(assertion),
    json: { repositories, permissions },
    signal: context.signal,
  });
  if (answered.status !== 201) throw refusalOf(name, answered);
  return answered.body;
}

const answered = z.object({
  token: z.string().min(20).max(8192),
  expires_at: z.iso.datetime({ offset: true }),
  permissions: z.record(z.string(), z.string()),
  repository_selection: z.literal('selected'),
  repositories: z.array(z.object({ full_name: z.string() })).length(1),
});

function tokenIn(asked: unknown): Secret<string> | undefined {
  const token: unknown = Reflect.get(Object(asked), 'token');
  return typeof token === 'string' && token !== '' ? new Secret(token) : undefined;
}

interface Answering {
  readonly plan: MintPlan;
  readonly body: GithubBody;
  readonly now: Date;
}

function answer(asked: unknown, { plan, body, now }: Answering): Minted {
  const parsed = answered.safeParse(asked);
  if (!parsed.success) throw lying('no token for one repository');
  const { token, expires_at: end, permissions, repositories } = parsed.data;
  const [repository] = repositories;
  const wanted = `${body.owner}/${body.repositories.join()}`;
  // A name that was renamed leads to another repository than the one that the grant names.
  if (repository?.full_name.toLowerCase() !== wanted.toLowerCase()) throw lying('another repository');
  for (const [name, level] of Object.entries(permissions))
    if (body.permissions[name] !== level && !(name === 'metadata' && level === 'read'))
      throw lying('more permissions than asked for');
  const [expiresAt, notAfter] = [Date.parse(end), Date.parse(plan.notAfter)];
  if (!(expiresAt <= notAfter && expiresAt <= now.getTime() + (tokenSeconds + lieSeconds) * 1000))
    throw lying('a longer life than asked for');
  return {
    credential: new Secret(token),
    expiresAt: new Date(Math.floor(expiresAt / 1000) * 1000),
    // As GitHub's audit log has it (`hashed_token`), there in base64.
    keyHash: createHash('sha256').update(token).digest('hex'),
  };
}

interface Revoking {
  readonly services: MinterServices;
  readonly rest: Rest;
  readonly held: HeldTokens;
  readonly context: CallContext;
}

async function revoke(plan: MintPlan, revoking: Revoking): Promise<'gone' | 'wait-for-expiry'> {
  const { services, held, context } = revoking;
  const found = held.find(plan.issuanceId, context.now);
  // Never made, made elsewhere, or by a process that has died: nobody can delete it, and so nothing is claimed.
  if (found === undefined) return 'wait-for-expiry';
  refuseMoved(plan, services);
  for (const token of found.tokens) {
    if (!(await isDeleted(plan, token, revoking))) await proveGone(plan, { ...found, token }, revoking);
    held.deleted(plan.issuanceId, token);
  }
  return 'gone';
}

/** False for a token that GitHub does not let in. */
async function isDeleted(
  plan: MintPlan,
  token: Secret<string>,
  { rest, context: { signal } }: Revoking,
): Promise<boolean> {
  const name = 'delete installation token';
  const url = `${githubBody.parse(plan.body).api}/installation/token`;
  const answered = await rest.call({
    name,
    method: 'DELETE',
    url,
    headers: headersWith(token.reveal()),
    signal,
  });
  if (answered.status !== 204 && answered.status !== 401) throw refusalOf(name, answered);
  return answered.status === 204;
}

/**
 * A token that is not let in may be one that GitHub does not know yet, or of an installation that is suspended and may
 * be let in again. It is gone when neither can be: late enough, not suspended, and asked once more after that was seen.
 */
async function proveGone(
  plan: MintPlan,
  { token, madeAt }: Pick<Held, 'madeAt'> & { readonly token: Secret<string> },
  revoking: Revoking,
): Promise<void> {
  const { context } = revoking;
  const isLate = context.now.getTime() - madeAt.getTime() >= lagMs;
  if (isLate && (await isActive(plan, revoking))) {
    await isDeleted(plan, token, revoking);
    return;
  }
  throw new Fault('provider_unavailable', {
    effect: 'unknown',
    detail: 'delete installation token: 401, and it may be let in again',
  });
}

const installation = z.object({ suspended_at: z.null() });

/** The App's own look at its installation. */
async function isActive(plan: MintPlan, { services, rest, context }: Revoking): Promise<boolean> {
  const name = 'get installation';
  const { api, appId, installationId } = githubBody.parse(plan.body);
  const assertion = await signApp(appId, await keyOf(plan.provider, services), context.now);
  const url = `${api}/app/installations/${installationId}`;
  const { signal } = context;
  const answered = await rest.call({ name, method: 'GET', url, headers: headersWith(assertion), signal });
  return answered.status === 200 && installation.safeParse(answered.body).success;
}
