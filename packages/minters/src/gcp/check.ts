import type { MintPlan, PlanCheck } from '@mayfly/core';
import { parseId, uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';
import { checkBoundary } from './check-boundary.ts';
import { checkRequest } from './check-request.ts';

// Written apart from plan.ts, signed-url.ts and boundary.ts: this reads what would be sent, knows nothing of how it
// was made, and shares no code with them.
const common = { serviceAccount: z.string(), issuance: z.string().regex(/^[0-9A-Z]{26}$/) };
const token = { ...common, scopes: z.tuple([z.string()]), lifetimeSeconds: z.number().int().min(1) };
const sent = z.discriminatedUnion('access', [
  z.strictObject({ access: z.literal('gcs.object'), ...common, canonicalRequest: z.string().max(8192) }),
  z.strictObject({ access: z.literal('gcs.prefix'), ...token, options: z.string().max(16_384) }),
  z.strictObject({ access: z.literal('gcp.token'), meantFor: z.string(), ...token }),
]);
type Sent = z.output<typeof sent>;
type SentToken = Exclude<Sent, { access: 'gcs.object' }>;
export type Allowed = Parameters<PlanCheck>[1];

/** Of a token's life, that its making may take. */
const makingSeconds = 5;
/** Rounding to seconds, and a clock that is set while the exchange runs. */
const slackMs = 2_000;

export const checkGcpPlan: PlanCheck = (plan, allowed) => {
  const parsed = sent.safeParse(plan.body);
  if (!parsed.success) return 'body: not the known form';
  const body = parsed.data;
  if (body.access !== plan.access) return 'body is for another access';
  return (
    checkWho(plan, body, allowed) ??
    checkTarget(body.access, allowed) ??
    checkPromises(plan, body.access) ??
    checkSent(plan, body, allowed)
  );
};

function checkWho(plan: MintPlan, { serviceAccount, issuance }: Sent, { provider, mint }: Allowed) {
  const ceilings = provider.spec['serviceAccounts'];
  if (!Array.isArray(ceilings) || !ceilings.includes(serviceAccount))
    return 'service account is not a ceiling of the provider';
  if (serviceAccount !== (mint['serviceAccount'] ?? ceilings[0]))
    return 'service account is not the one that the grant names';
  if (plan.reach !== serviceAccount) return 'reach is not the service account';
  return parseId('isn', issuance) === plan.issuanceId ? null : 'issuance is not that of the plan';
}

function checkTarget(access: Sent['access'], { identifier, resource }: Allowed): string | null {
  if (/[*?'"\\\p{Cc}]|\$\{/u.test(identifier)) return 'the identifier holds a wildcard or a quote';
  const form =
    access === 'gcp.token' ? /^\/\/[a-z0-9-]+\.googleapis\.com\/[^/]/ : /^gs:\/\/[a-z0-9._-]{3,222}\/[^/]/;
  if (!form.test(identifier)) return 'the identifier is not of the form of its access';
  if ((access === 'gcs.prefix') !== (identifier.endsWith('/') && access !== 'gcp.token'))
    return 'the identifier has another size';
  return insidePattern(resource, identifier) ? null : 'the identifier lies outside the grant';
}

/** What the caller and the log are told must not be better than what is sent. */
function checkPromises({ ends, enforcement, tokenType, issuedTokenType }: MintPlan, access: Sent['access']) {
  if (ends.by !== 'expired' || Object.keys(ends).length !== 1) return 'ends is better than Google can hold';
  const holds = access === 'gcp.token' ? 'broker' : 'provider';
  const { resource, actions, ttl } = enforcement;
  if (resource !== holds || actions !== holds || ttl !== 'provider') return 'enforcement is not what is sent';
  const [form, issued] =
    access === 'gcs.object'
      ? ['N_A', 'urn:mayfly:token-type:signed-url']
      : ['Bearer', 'urn:ietf:params:oauth:token-type:access_token'];
  return tokenType === form && issuedTokenType === issued ? null : 'token type is not that of the credential';
}

function checkSent(plan: MintPlan, body: Sent, allowed: Allowed): string | null {
  switch (body.access) {
    case 'gcs.object':
      return checkRequest(plan, body, allowed);
    case 'gcs.prefix':
      return checkLife(plan, body) ?? checkScope(body, plan) ?? checkBoundary(plan, body.options, allowed);
    case 'gcp.token':
      return checkLife(plan, body) ?? checkUnscoped(plan, body, allowed);
    default:
      return body satisfies never;
  }
}

// The id was made when the exchange began, so its time stands for now.
function checkLife({ notAfter, issuanceId }: MintPlan, { lifetimeSeconds }: SentToken): string | null {
  const leftMs = Date.parse(notAfter) - uuidTime(issuanceId).getTime() - makingSeconds * 1000;
  return lifetimeSeconds * 1000 <= leftMs + slackMs ? null : 'lifetime is longer than the plan';
}

function checkScope({ scopes: [scope] }: SentToken, { actions }: MintPlan): string | null {
  if (scope === 'https://www.googleapis.com/auth/devstorage.read_only') return null;
  const writes = actions.includes('create');
  return writes && scope === 'https://www.googleapis.com/auth/devstorage.read_write'
    ? null
    : 'scope is wider than the actions';
}

/** Nothing narrows it, so the template must have said so, and named whose token it is. */
function checkUnscoped(
  plan: MintPlan,
  { scopes: [scope], meantFor }: Extract<Sent, { access: 'gcp.token' }>,
  { mint, identifier }: Allowed,
): string | null {
  if (meantFor !== identifier) return 'the log would name another resource';
  if (mint['accept'] !== 'unscoped') return 'the grant does not accept a token that nothing narrows';
  if (typeof mint['serviceAccount'] !== 'string') return 'the grant names no service account';
  if (scope !== 'https://www.googleapis.com/auth/cloud-platform') return 'scope is not known';
  return JSON.stringify(plan.nativePermissions) === JSON.stringify([scope])
    ? null
    : 'permissions are not those that are sent';
}
