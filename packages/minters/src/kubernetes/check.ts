import type { MintPlan, PlanCheck } from '@mayfly/core';
import { parseId, uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from plan.ts: this reads what would be sent and shares no code with what makes it.
const sent = z.strictObject({
  api: z.url(),
  namespace: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/),
  serviceAccount: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/),
  secret: z.strictObject({
    name: z.string(),
    labels: z.strictObject({ 'app.kubernetes.io/managed-by': z.literal('mayfly') }),
    annotations: z.strictObject({
      'mayfly.dev/issuance': z.string(),
      'mayfly.dev/task': z.string(),
      'mayfly.dev/not-after': z.string(),
    }),
  }),
  audiences: z.array(z.string().min(1)).max(1),
  expirationSecondsMax: z.number().int().min(600),
});
type Sent = z.output<typeof sent>;
type Allowed = Parameters<PlanCheck>[1];

/** Rounding to seconds, and a clock that is set while the exchange runs. */
const lifeSlackMs = 2_000;

export const checkKubernetesPlan: PlanCheck = (plan, allowed) => {
  const body = sent.safeParse(plan.body);
  if (!body.success) return 'body: not the known form';
  return (
    checkAccount(body.data, plan, allowed) ??
    checkSecret(body.data, plan) ??
    checkAudience(body.data, plan, allowed) ??
    checkPromises(plan)
  );
};

function checkAccount(
  { api, namespace, serviceAccount }: Sent,
  plan: MintPlan,
  allowed: Allowed,
): string | null {
  const { cluster, serviceAccounts, endpoints } = allowed.provider.spec;
  if (api !== Reflect.get(Object(endpoints), 'api')) return 'the API server is not that of the provider';
  if (plan.access !== 'kubernetes.serviceaccount') return 'access is not known';
  if (`k8s://${String(cluster)}/${namespace}/${serviceAccount}` !== allowed.identifier)
    return 'the account is not the one asked for';
  if (!insidePattern(allowed.resource, allowed.identifier)) return 'the account lies outside the grant';
  if (!Array.isArray(serviceAccounts) || !serviceAccounts.includes(`${namespace}/${serviceAccount}`))
    return 'the account is not a ceiling of the provider';
  return plan.actions.length === 1 && plan.actions[0] === 'invoke' ? null : 'the actions are not known';
}

/** A token that is bound to nothing of its own could not be taken back alone, or not at all. */
function checkSecret({ namespace, secret, expirationSecondsMax }: Sent, plan: MintPlan): string | null {
  const [, id = ''] = /^mayfly-([0-9a-z]{26})$/.exec(secret.name) ?? [];
  if (parseId('isn', id.toUpperCase()) !== plan.issuanceId) return 'the Secret is not that of the issuance';
  if (plan.reach !== `${namespace}/${secret.name}`) return 'the Secret is not the reach of the plan';
  const said = secret.annotations;
  if (
    !/^[0-9A-Z]{26}$/.test(said['mayfly.dev/issuance']) ||
    parseId('isn', said['mayfly.dev/issuance']) !== plan.issuanceId ||
    !/^[0-9A-Z]{26}$/.test(said['mayfly.dev/task']) ||
    parseId('tsk', said['mayfly.dev/task']) !== plan.taskId ||
    said['mayfly.dev/not-after'] !== plan.notAfter
  )
    return 'the annotations are not those of the plan';
  // The id was made when the exchange began, so its time stands for now.
  const lifeMs = Date.parse(plan.notAfter) - uuidTime(plan.issuanceId).getTime();
  return expirationSecondsMax * 1000 <= lifeMs + lifeSlackMs ? null : 'it would live longer than the plan';
}

function checkAudience({ audiences }: Sent, { ends }: MintPlan, { mint }: Allowed): string | null {
  const [audience] = audiences;
  if (audience !== mint['audience']) return 'audience is not that of the grant';
  if (ends.by !== 'deleted' || ends.typicalSeconds !== undefined)
    return 'ends is not what the provider holds';
  // Ten seconds of the API server's own memory; nobody else need look at the Secret at all.
  const held = audience === undefined ? 10 : undefined;
  return ends.guaranteedSeconds === held ? null : 'ends is better than the provider can hold';
}

function checkPromises({ enforcement, issuedTokenType, tokenType, nativePermissions }: MintPlan) {
  const { resource, actions, ttl } = enforcement;
  // The account's own rights are all there: a token narrows nothing within it.
  if (resource !== 'provider' || actions !== 'broker' || ttl !== 'provider')
    return 'enforcement is not what is sent';
  if (issuedTokenType !== 'urn:mayfly:token-type:kubernetes' || tokenType !== 'N_A')
    return 'token type is not that of a Kubernetes token';
  return JSON.stringify(nativePermissions) === '["serviceaccounts/token:create"]'
    ? null
    : 'permissions are not those of the plan';
}
