import { type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { bareId, tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { compileBoundary } from './boundary.ts';
import { type GcpProvider, parseGcpProvider, storageEndpoint } from './provider.ts';
import { canonicalRequest } from './signed-url.ts';
import { malformed, parseGcs } from './target.ts';

/** Under this a URL could not be used, and no shorter access token was tried. */
export const lifeSecondsMin = { 'gcs.object': 5, 'gcs.prefix': 30, 'gcp.token': 30 } as const;
/** A token's life begins when Google makes it: this much is left out, so that a slow answer is not a later end. */
export const answerSeconds = 5;

/** Exactly what will be sent, by access; `issuance` goes along as the reason of each request. */
export const gcpBody = z.discriminatedUnion('access', [
  z.strictObject({
    access: z.literal('gcs.object'),
    serviceAccount: z.string(),
    issuance: z.string(),
    canonicalRequest: z.string(),
  }),
  z.strictObject({
    access: z.literal('gcs.prefix'),
    serviceAccount: z.string(),
    issuance: z.string(),
    scopes: z.array(z.string()),
    lifetimeSeconds: z.number().int(),
    options: z.string(),
  }),
  z.strictObject({
    access: z.literal('gcp.token'),
    serviceAccount: z.string(),
    issuance: z.string(),
    /** Narrows nothing; Google's audit log shows it beside the issuance. */
    meantFor: z.string(),
    scopes: z.array(z.string()),
    lifetimeSeconds: z.number().int(),
  }),
]);
export type GcpBody = z.output<typeof gcpBody>;
export type TokenBody = Exclude<GcpBody, { access: 'gcs.object' }>;

const mintBlock = z.looseObject({ serviceAccount: z.string().optional(), accept: z.string().optional() });
type MintBlock = z.output<typeof mintBlock>;

interface Planning {
  readonly request: MintRequest;
  readonly provider: GcpProvider;
  readonly mint: MintBlock;
  readonly serviceAccount: string;
  readonly lifeSeconds: number;
}

type Part = Pick<MintPlan, 'nativePermissions' | 'enforcement' | 'issuedTokenType' | 'tokenType'> & {
  readonly body: GcpBody;
};

const enforced = { resource: 'provider', actions: 'provider', ttl: 'provider' } as const;

/** Pure: a signed URL for one object, a downscoped token for a prefix, or an unscoped token where that is accepted. */
export function planGcp(request: MintRequest): MintPlan {
  const provider = parseGcpProvider(request.provider);
  const mint = mintBlock.parse(request.mint);
  const serviceAccount = chooseServiceAccount(provider, mint);
  const lifeSeconds =
    Math.floor(request.notAfter.getTime() / 1000) - Math.floor(request.now.getTime() / 1000);
  const part = planPart({ request, provider, mint, serviceAccount, lifeSeconds });
  return {
    kind: 'gcp',
    purpose: 'agent',
    issuanceId: request.issuanceId,
    taskId: request.taskId,
    grantId: request.grantId,
    generation: request.generation,
    provider: provider.name,
    access: request.access,
    identifier: request.identifier,
    actions: request.actions,
    notAfter: request.notAfter.toISOString(),
    // Google takes back no less than a service account, and that only by hand.
    reach: serviceAccount,
    ends: { by: 'expired' },
    ...part,
  };
}

function planPart(planning: Planning): Part {
  const { access } = planning.request;
  switch (access) {
    case 'gcs.object':
      return planObject(planning);
    case 'gcs.prefix':
      return planPrefix(planning);
    case 'gcp.token':
      return planUnscoped(planning);
    default:
      throw new Refusal('tool_not_granted', { detail: `no access row ${access}` });
  }
}

/** Method, permissions and headers of each verb; a create must not overwrite, so it is bound to generation 0. */
const methods = {
  read: { method: 'GET', permissions: ['storage.objects.get'], headers: {} },
  create: {
    method: 'PUT',
    permissions: ['storage.objects.create'],
    headers: { 'x-goog-if-generation-match': '0' },
  },
  write: { method: 'PUT', permissions: ['storage.objects.create', 'storage.objects.delete'], headers: {} },
  delete: { method: 'DELETE', permissions: ['storage.objects.delete'], headers: {} },
} as const;

function planObject({ request, provider, serviceAccount, lifeSeconds }: Planning): Part {
  const target = parseGcs(request.identifier);
  if (target.object.endsWith('/')) throw malformed('gcs.object opens one object, not a prefix');
  const [action = '', ...more] = request.actions;
  if (more.length > 0) throw new Refusal('one_action_only', { detail: 'a signed URL is for one method' });
  const verb = isVerb(action) ? methods[action] : undefined;
  if (verb === undefined)
    throw new Refusal('action_outside_grant', { detail: `gcs.object has no ${action}` });
  atLeast(lifeSecondsMin['gcs.object'], lifeSeconds);
  const { method, permissions, headers } = verb;
  const issuance = bareId(request.issuanceId);
  const from = new Date(Math.floor(request.now.getTime() / 1000) * 1000);
  const { host } = new URL(storageEndpoint(provider));
  const signed = { ...target, method, headers, host, serviceAccount, from, lifeSeconds, issuance };
  return {
    nativePermissions: permissions,
    enforcement: enforced,
    issuedTokenType: tokenType.signedUrl,
    tokenType: 'N_A',
    body: { access: 'gcs.object', serviceAccount, issuance, canonicalRequest: canonicalRequest(signed) },
  };
}

function isVerb(action: string): action is keyof typeof methods {
  return Object.hasOwn(methods, action);
}

const storageScope = 'https://www.googleapis.com/auth/devstorage';

function planPrefix({ request, serviceAccount, lifeSeconds }: Planning): Part {
  const target = parseGcs(request.identifier);
  if (!target.object.endsWith('/')) throw malformed('gcs.prefix opens one prefix ending in /');
  const { actions } = request;
  const boundary = actions.length === 0 ? undefined : compileBoundary(target, actions);
  if (boundary === undefined)
    throw new Refusal('action_outside_grant', { detail: `gcs.prefix cannot hold ${actions.join(', ')}` });
  atLeast(lifeSecondsMin['gcs.prefix'], lifeSeconds);
  const scope = `${storageScope}.${actions.includes('create') ? 'read_write' : 'read_only'}`;
  return {
    nativePermissions: boundary.permissions,
    enforcement: enforced,
    issuedTokenType: tokenType.accessToken,
    tokenType: 'Bearer',
    body: {
      access: 'gcs.prefix',
      serviceAccount,
      issuance: bareId(request.issuanceId),
      scopes: [scope],
      lifetimeSeconds: lifeSeconds - answerSeconds,
      options: boundary.options,
    },
  };
}

/** Boundaries exist for Cloud Storage alone: elsewhere a token opens all that its service account may. */
function planUnscoped({ request, mint, serviceAccount, lifeSeconds }: Planning): Part {
  if (mint.accept !== 'unscoped' || mint.serviceAccount === undefined)
    throw new Refusal('tool_not_granted', {
      detail:
        'gcp.token cannot be narrowed; the template must say accept: unscoped and name its service account',
    });
  if (!/^\/\/[a-z0-9-]+\.googleapis\.com\/[A-Za-z0-9._~:@/-]+$/.test(request.identifier))
    throw malformed('not //SERVICE.googleapis.com/NAME');
  if (request.actions.length === 0) throw new Refusal('action_outside_grant', { detail: 'no action' });
  atLeast(lifeSecondsMin['gcp.token'], lifeSeconds);
  const scope = 'https://www.googleapis.com/auth/cloud-platform';
  return {
    nativePermissions: [scope],
    enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' },
    issuedTokenType: tokenType.accessToken,
    tokenType: 'Bearer',
    body: {
      access: 'gcp.token',
      serviceAccount,
      issuance: bareId(request.issuanceId),
      meantFor: request.identifier,
      scopes: [scope],
      lifetimeSeconds: lifeSeconds - answerSeconds,
    },
  };
}

function atLeast(min: number, lifeSeconds: number): void {
  if (lifeSeconds < min) throw new Refusal('too_little_time_left', { detail: `${lifeSeconds} s` });
}

function chooseServiceAccount({ serviceAccounts, name }: GcpProvider, mint: MintBlock): string {
  const { serviceAccount = serviceAccounts[0] } = mint;
  if (serviceAccount === undefined || !serviceAccounts.includes(serviceAccount))
    throw new Refusal('tool_not_granted', { detail: `service account is not a ceiling of provider ${name}` });
  return serviceAccount;
}
