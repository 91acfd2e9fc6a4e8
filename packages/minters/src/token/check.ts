import type { PlanCheck } from '@mayfly/core';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

const body = z.strictObject({
  claims: z.strictObject({
    iss: z.url(),
    aud: z.string(),
    sub: z.string(),
    client_id: z.string(),
    iat: z.number().int(),
    exp: z.number().int(),
    jti: z.string(),
    txn: z.string(),
    authorization_details: z.tuple([
      z.strictObject({
        type: z.literal('mayfly_tool_call'),
        task: z.string(),
        tool: z.string(),
        identifier: z.string(),
        actions: z.array(z.string()),
        args_digest: z.string().optional(),
      }),
    ]),
  }),
});

/** Written apart from the planner: reads the claims that would be signed and proves them against the grant. */
export const checkTokenPlan: PlanCheck = (plan, allowed) => {
  const parsed = body.safeParse(plan.body);
  if (!parsed.success) return 'claims: not the known form';
  const { claims } = parsed.data;
  const [detail] = claims.authorization_details;
  if (claims.aud !== allowed.server?.audience) return 'aud is not the audience of the resource server';
  if (claims.exp * 1000 > allowed.notAfter.getTime()) return 'exp is later than the grant allows';
  if (detail.identifier !== allowed.identifier) return 'identifier is not the one asked for';
  if (!insidePattern(allowed.resource, detail.identifier)) return 'identifier lies outside the grant';
  if (detail.actions.length === 0 || !detail.actions.every((one) => allowed.actions.includes(one)))
    return 'actions exceed the grant';
  if (claims.sub !== claims.client_id || claims.txn !== detail.task) return 'claims disagree with each other';
  if (plan.ends.by !== 'expired' && allowed.server.verification !== 'introspect')
    return 'ends is better than the server can hold';
  return null;
};
