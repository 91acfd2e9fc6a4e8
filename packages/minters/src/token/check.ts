import type { MintPlan, PlanCheck } from '@mayfly/core';
import { parseId, uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

interface Act {
  iss: string;
  sub: string;
  act?: Act | undefined;
}
const act: z.ZodType<Act> = z.strictObject({
  iss: z.string(),
  sub: z.string(),
  get act() {
    return act.optional();
  },
});

const body = z.strictObject({
  alg: z.enum(['ES256', 'RS256']),
  claims: z.strictObject({
    iss: z.url(),
    aud: z.string(),
    sub: z.string().regex(/^[^/]+\/[\s\S]+$/),
    client_id: z.string().regex(/^[^/]+\/[\s\S]+$/),
    act: act.optional(),
    cnf: z.strictObject({ jkt: z.string().optional(), 'x5t#S256': z.string().optional() }).optional(),
    iat: z.number().int(),
    exp: z.number().int(),
    jti: z.string(),
    txn: z.string(),
    authorization_details: z.tuple([
      z.strictObject({
        type: z.literal('mayfly_tool_call'),
        task: z.string(),
        tool: z.string().min(1),
        identifier: z.string(),
        actions: z.array(z.string()),
        args_digest: z
          .string()
          .regex(/^[A-Za-z0-9_-]{43}$|^[0-9a-f]{64}$/)
          .optional(),
      }),
    ]),
  }),
});
type Claims = z.output<typeof body>['claims'];
type Allowed = Parameters<PlanCheck>[1];

/** An exchange takes less; its id was made when it began. */
const exchangeMsMax = 60_000;
const clockSlackMs = 2_000;

/** Written apart from the planner: reads the claims that would be signed and proves them against the grant. */
export const checkTokenPlan: PlanCheck = (plan, allowed) => {
  const parsed = body.safeParse(plan.body);
  if (!parsed.success) return 'claims: not the known form';
  const { claims, alg } = parsed.data;
  return (
    checkReach(plan, claims, allowed) ??
    (alg === allowed.server?.signingAlgorithm ? null : 'alg is not that of the resource server') ??
    checkNames(plan, claims) ??
    checkCall(claims, allowed) ??
    checkHolder(plan, claims, allowed) ??
    checkPromises(plan, allowed)
  );
};

function checkReach(plan: MintPlan, claims: Claims, allowed: Allowed): string | null {
  const [detail] = claims.authorization_details;
  if (claims.aud !== allowed.server?.audience) return 'aud is not the audience of the resource server';
  if (claims.exp * 1000 > allowed.notAfter.getTime()) return 'exp is later than the grant allows';
  if (claims.exp * 1000 !== Date.parse(plan.notAfter)) return 'exp is not the end of the plan';
  const began = uuidTime(plan.issuanceId).getTime();
  const issued = claims.iat * 1000;
  if (issued < began - clockSlackMs || issued > began + exchangeMsMax || claims.iat >= claims.exp)
    return 'iat is not the time of the exchange';
  if (detail.identifier !== allowed.identifier) return 'identifier is not the one asked for';
  if (!/^https:\/\/[^*?#%\\]+$/.test(detail.identifier)) return 'identifier is no plain https URI';
  if (!insidePattern(allowed.resource, detail.identifier)) return 'identifier lies outside the grant';
  if (detail.actions.length === 0 || !detail.actions.every((one) => allowed.actions.includes(one)))
    return 'actions exceed the grant';
  const said = JSON.stringify(detail.actions);
  if (said !== JSON.stringify(plan.actions) || said !== JSON.stringify(plan.nativePermissions))
    return 'actions are not those of the plan';
  return null;
}

function checkNames(plan: MintPlan, { txn, jti, authorization_details }: Claims) {
  if (txn !== authorization_details[0].task) return 'claims disagree with each other';
  if (!txn.startsWith('tsk_') || parseId('tsk', txn) !== plan.taskId) return 'txn is another task';
  if (!jti.startsWith('isn_') || parseId('isn', jti) !== plan.issuanceId || jti !== plan.reach)
    return 'jti is another issuance';
  return null;
}

/** Who calls which tool with which arguments: what the tool server decides by. */
function checkCall({ sub, authorization_details: [detail] }: Claims, allowed: Allowed): string | null {
  if (sub !== allowed.workload) return 'sub is another workload';
  if (detail.tool !== allowed.tool) return 'tool is not the one granted';
  return (detail.args_digest ?? null) === allowed.argsDigest ? null : 'args_digest is not the one asked for';
}

/** In whose hands: every actor of the decision and no other, and the key that it was bound to. */
function checkHolder({ tokenType }: MintPlan, { client_id, sub, act, cnf }: Claims, { holder }: Allowed) {
  const said: string[] = [];
  for (let next = act; next !== undefined; next = next.act) said.push(JSON.stringify([next.iss, next.sub]));
  const decided = holder.actors.map(({ issuer, subject }) => JSON.stringify([issuer, subject]));
  if (said.length !== decided.length || said.some((one, index) => one !== decided[index]))
    return 'act is not the chain of actors';
  const [present] = holder.actors;
  if (client_id !== (present === undefined ? sub : `${present.issuerName}/${present.subject}`))
    return 'client_id is not the presenter';
  const { jkt, x5tS256 } = holder.confirmation ?? {};
  if (
    cnf?.jkt !== jkt ||
    cnf?.['x5t#S256'] !== x5tS256 ||
    (cnf === undefined) !== (holder.confirmation === null)
  )
    return 'cnf is not the key that was proven';
  return tokenType === (jkt === undefined ? 'Bearer' : 'DPoP') ? null : 'token type does not fit the binding';
}

/** What the caller and the log are told must not be better than what the server holds. */
function checkPromises({ ends, enforcement, issuedTokenType }: MintPlan, { server }: Allowed) {
  if (ends.by !== 'expired') {
    const { guaranteedSeconds = Number.POSITIVE_INFINITY, typicalSeconds = guaranteedSeconds } = ends;
    const held = server?.verification === 'introspect' && ends.by === 'denied';
    if (!held || Math.min(guaranteedSeconds, typicalSeconds) < server.cacheSeconds)
      return 'ends is better than the server can hold';
  }
  if (enforcement.resource !== 'broker' || enforcement.actions !== 'broker' || enforcement.ttl !== 'provider')
    return 'enforcement is better than the server can hold';
  if (issuedTokenType !== 'urn:ietf:params:oauth:token-type:access_token')
    return 'token type is not that of an access token';
  return null;
}
