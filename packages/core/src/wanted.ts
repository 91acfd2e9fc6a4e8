import type { Reason } from '@mayfly/protocol';
import type { Denied, Wanted } from './decide.ts';
import { Refusal } from './errors.ts';
import type { ExchangeRequest } from './exchange.ts';
import type { Found } from './find.ts';
import type { MintPlan } from './minter.ts';

/** What a request asks for: its descriptor, or the stored grant that its audience names; `scope` narrows the verbs. */
export function wantedOf({ detail, scope = null }: ExchangeRequest, { task, grant }: Found): Wanted {
  if (detail !== null) {
    const { tool, identifier, actions = scope, ttl = null } = detail;
    return { tool, identifier, actions, ttlSeconds: ttl };
  }
  if (grant === null) throw new Refusal('task_unknown', { detail: `no grant of ${task.id}` });
  return { tool: grant.tool, identifier: grant.resource, actions: scope, ttlSeconds: null };
}

/** A verb asked for by `scope` alone is refused as a scope. */
export function deniedAs({ reason }: Denied, { detail, scope = null }: ExchangeRequest): Reason {
  const byScope = scope !== null && detail?.actions === undefined;
  return reason === 'action_outside_grant' && byScope ? 'scope_not_allowed' : reason;
}

/** What the request names beside the descriptor must be what the plan opens. */
export function refuseOtherTarget(request: ExchangeRequest, plan: MintPlan, audience: string | null): void {
  const { targets, requestedTokenType } = request;
  // Several are one target when all mean it (RFC 8693 section 2.1.1); compared byte for byte.
  if (targets.some((target) => target !== plan.identifier && target !== audience))
    throw new Refusal('target_ambiguous', { detail: 'resource or audience names another target' });
  if (requestedTokenType !== null && requestedTokenType !== plan.issuedTokenType)
    throw new Refusal('unsupported_token_type', {
      detail: 'requested_token_type is not what this grant mints',
    });
}
