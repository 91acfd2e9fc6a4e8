import { createHash } from 'node:crypto';
import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import { decodeJwt } from 'jose';
import { z } from 'zod';
import { createRest, lying, refusalOf } from '../rest/rest.ts';
import type { MinterServices } from '../services.ts';
import { type Cluster, Clusters } from './cluster.ts';
import { inspectKubernetes } from './inspect.ts';
import {
  answerSeconds,
  type KubernetesBody,
  kubernetesBody,
  lifeSecondsMin,
  planKubernetes,
} from './plan.ts';
import { parseKubernetesProvider } from './provider.ts';

/**
 * Kubernetes: a Secret that holds nothing, and a token of one service account bound to it (TokenRequest). Deleting the
 * Secret ends the token. A mint that stops between the two leaves a Secret, which the reaper deletes by its plan.
 */
export function createKubernetesMinter(services: MinterServices): Minter {
  const clusters = new Clusters(services, createRest());
  const open = async (plan: MintPlan, purpose: 'mint' | 'revoke', { signal }: CallContext) => {
    const provider = services.provider(plan.provider);
    if (provider === undefined)
      throw new Fault('provider_refused', { effect: 'none', detail: `provider ${plan.provider} is gone` });
    const parsed = parseKubernetesProvider(provider);
    // "Not found" in another cluster would pass for an end.
    if (parsed.endpoints.api !== plan.body['api'])
      throw new Fault('provider_refused', { effect: 'none', detail: `provider ${plan.provider} has moved` });
    return clusters.open({ provider: parsed, purpose, signal });
  };
  return {
    kind: 'kubernetes',
    local: false,
    plan: planKubernetes,
    mint: async (plan, context) => mint(plan, await open(plan, 'mint', context), services.now),
    revoke: async (plan, context) => revoke(plan, await open(plan, 'revoke', context)),
    inspect: (provider, context) =>
      inspectKubernetes(parseKubernetesProvider(provider), { services, clusters }, context),
  };
}

async function mint(plan: MintPlan, cluster: Cluster, now: () => Date): Promise<Minted> {
  const body = kubernetesBody.parse(plan.body);
  secondsLeft(plan, body, now());
  const { namespace, secret, serviceAccount, audiences } = body;
  const created = await cluster.send('create Secret', 'POST', `/api/v1/namespaces/${namespace}/secrets`, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, ...secret },
    type: 'Opaque',
    immutable: true,
  });
  // 409: an earlier try of this plan; nobody else knows the name.
  if (created.status !== 201 && created.status !== 409) throw refusalOf('create Secret', created);
  // Counted anew: the Secret may have taken long, and the token's life begins only now.
  const expirationSeconds = leavingSecret(() => secondsLeft(plan, body, now()));
  const asked = await cluster.send(
    'TokenRequest',
    'POST',
    `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences,
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name: secret.name },
      },
    },
  );
  if (asked.status !== 201) throw withEffect(refusalOf('TokenRequest', asked));
  return answer(asked.body, { plan, body });
}

/** What is asked for: never more than the plan has left when the answer has come. */
function secondsLeft(plan: MintPlan, { expirationSecondsMax }: KubernetesBody, now: Date): number {
  const left = Math.floor((Date.parse(plan.notAfter) - now.getTime()) / 1000) - answerSeconds;
  if (left >= lifeSecondsMin) return Math.min(left, expirationSecondsMax);
  const detail = `${left} s left, less than TokenRequest takes`;
  throw new Fault('provider_refused', { effect: 'none', detail });
}

/** Refused or not: the Secret is there, so the reaper has something to delete. */
function withEffect({ reason, detail }: Fault): Fault {
  return new Fault(reason, { effect: 'unknown', ...(detail === undefined ? {} : { detail }) });
}

function leavingSecret<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof Fault ? withEffect(error) : error;
  }
}

const answered = z.object({
  status: z.object({ token: z.string().min(1), expirationTimestamp: z.iso.datetime({ offset: true }) }),
});
const claims = z.looseObject({
  sub: z.string(),
  aud: z.union([z.string(), z.array(z.string())]),
  exp: z.number(),
  jti: z.string().optional(),
  'kubernetes.io': z.looseObject({
    namespace: z.string(),
    secret: z.looseObject({ name: z.string() }).optional(),
    serviceaccount: z.looseObject({ name: z.string() }),
  }),
});

/** The token's own claims are what verifiers will believe: they must be those asked for. */
function answer(answerBody: unknown, { plan, body }: { plan: MintPlan; body: KubernetesBody }): Minted {
  const parsed = answered.safeParse(answerBody);
  if (!parsed.success) throw lying('something that is no TokenRequest');
  const { token, expirationTimestamp } = parsed.data.status;
  const read = claims.safeParse(readClaims(token));
  if (!read.success) throw lying('a token that cannot be read');
  const { sub, aud, exp, jti, 'kubernetes.io': bound } = read.data;
  const { namespace, serviceAccount, secret, audiences } = body;
  if (sub !== `system:serviceaccount:${namespace}:${serviceAccount}` || bound.secret?.name !== secret.name)
    throw lying('a token of another account, or bound to something else');
  if (audiences.length > 0 && JSON.stringify([aud].flat()) !== JSON.stringify(audiences))
    throw lying('a token for another audience');
  const notAfter = Date.parse(plan.notAfter);
  const latest = Math.max(Date.parse(expirationTimestamp), exp * 1000);
  // Written so that an invalid date is a lie as well.
  if (!(latest <= notAfter)) throw lying('a longer life than asked for');
  const expiresAt = new Date(Math.floor(latest / 1000) * 1000);
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token, expirationTimestamp: expiresAt.toISOString().replace(/\.\d{3}Z$/, 'Z') },
  };
  // `JTI=...` is the credential id in the API server's audit log.
  const keyHash = jti === undefined ? null : createHash('sha256').update(jti).digest('hex');
  return { credential: new Secret(JSON.stringify(credential)), expiresAt, keyHash };
}

function readClaims(token: string): unknown {
  try {
    return decodeJwt(token);
  } catch {
    return undefined;
  }
}

async function revoke(plan: MintPlan, cluster: Cluster): Promise<'gone' | 'was-absent'> {
  const { namespace, secret } = kubernetesBody.parse(plan.body);
  const path = `/api/v1/namespaces/${namespace}/secrets/${secret.name}`;
  const answer = await cluster.send('delete Secret', 'DELETE', path, {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    // At once: a grace period or a finalizer would leave it, and its token, there.
    gracePeriodSeconds: 0,
    propagationPolicy: 'Background',
  });
  if (answer.status === 200) return 'gone';
  if (answer.status === 404 && isNotFound(answer.body)) return 'was-absent';
  throw refusalOf('delete Secret', answer);
}

/** The API server's own words, not those of something in front of it that knows no such path. */
function isNotFound(body: unknown): boolean {
  return Reflect.get(Object(body), 'kind') === 'Status' && Reflect.get(Object(body), 'reason') === 'NotFound';
}
