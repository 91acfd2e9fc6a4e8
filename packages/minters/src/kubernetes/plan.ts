import { type MintPlan, type MintRequest, Refusal, type Revocability } from '@mayfly/core';
import { bareId, tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { parseKubernetesProvider } from './provider.ts';

/** The floor of TokenRequest (`spec.expirationSeconds`). */
export const lifeSecondsMin = 600;
/** A token's life begins when the API server makes it: this much is left out, so that a slow answer is not a later end. */
export const answerSeconds = 5;
/** A token that an API server has seen is remembered this long (`TokenSuccessCacheTTL`), whatever was deleted. */
const feltWithinSeconds = 10;

/** Exactly what will be sent; a mint that comes later asks for fewer seconds, never for more. */
export const kubernetesBody = z.strictObject({
  /** Which API server: a Secret of this name in another cluster would be another one. */
  api: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  secret: z.strictObject({
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()),
  }),
  /** Empty: the API server's own. */
  audiences: z.array(z.string()),
  expirationSecondsMax: z.number().int(),
});
export type KubernetesBody = z.output<typeof kubernetesBody>;

const identifierForm = /^k8s:\/\/([a-z0-9-]{1,63})\/([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/;
const mintBlock = z.looseObject({ audience: z.string().optional() });

/** Pure: a token of one service account, bound to a Secret that holds nothing and exists for this token alone. */
export function planKubernetes(request: MintRequest): MintPlan {
  const { issuanceId, identifier, access, actions, notAfter, generation, taskId, grantId } = request;
  const provider = parseKubernetesProvider(request.provider);
  const [, cluster, namespace = '', serviceAccount = ''] = identifierForm.exec(identifier) ?? [];
  if (access !== 'kubernetes.serviceaccount' || cluster !== provider.cluster)
    throw new Refusal('identifier_malformed', { detail: `not k8s://${provider.cluster}/NAMESPACE/NAME` });
  if (!provider.serviceAccounts.includes(`${namespace}/${serviceAccount}`))
    throw new Refusal('tool_not_granted', { detail: `not a service account of provider ${provider.name}` });
  if (actions.join() !== 'invoke')
    throw new Refusal('tool_not_granted', { detail: 'a token of an account can only be used: invoke' });
  const lifeSeconds = Math.floor(notAfter.getTime() / 1000) - Math.floor(request.now.getTime() / 1000);
  if (lifeSeconds - answerSeconds < lifeSecondsMin)
    throw new Refusal('too_little_time_left', { detail: `${lifeSeconds} s` });
  const name = secretName(issuanceId);
  const { audience } = mintBlock.parse(request.mint);
  const audiences = audience === undefined ? [] : [audience];
  return {
    ...{ kind: 'kubernetes', purpose: 'agent', issuanceId, taskId, grantId, generation },
    provider: provider.name,
    access,
    identifier,
    actions,
    nativePermissions: ['serviceaccounts/token:create'],
    notAfter: notAfter.toISOString(),
    reach: `${namespace}/${name}`,
    ends: revocability(audiences),
    // The account is the resource; what it may do within the cluster is RBAC's, and no token narrows it.
    enforcement: { resource: 'provider', actions: 'broker', ttl: 'provider' },
    issuedTokenType: tokenType.kubernetes,
    tokenType: 'N_A',
    body: {
      api: provider.endpoints.api,
      namespace,
      serviceAccount,
      secret: {
        name,
        labels: { 'app.kubernetes.io/managed-by': 'mayfly' },
        annotations: {
          'mayfly.dev/issuance': bareId(issuanceId),
          'mayfly.dev/task': bareId(taskId),
          'mayfly.dev/not-after': notAfter.toISOString(),
        },
      },
      audiences,
      expirationSecondsMax: lifeSeconds - answerSeconds,
    } satisfies KubernetesBody,
  };
}

/** Unguessable (74 random bits of a UUIDv7), so that nobody makes it first and keeps the token alive with it. */
export function secretName(issuanceId: string): string {
  return `mayfly-${bareId(issuanceId).toLowerCase()}`;
}

/** The API server looks whether the Secret is there; whoever else a token is for may read nothing but its `exp`. */
function revocability(audiences: readonly string[]): Revocability {
  if (audiences.length > 0) return { by: 'deleted' };
  return { by: 'deleted', guaranteedSeconds: feltWithinSeconds };
}
