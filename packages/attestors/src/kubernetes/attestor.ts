import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { z } from 'zod';
import { invalid } from '../jwt/compact.ts';
import { createKeySet } from '../jwt/key-set.ts';
import { publishedKeys } from '../jwt/key-source.ts';
import { type Verified, verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';
import { reviewToken } from './token-review.ts';

const named = z.looseObject({ name: z.string().min(1), uid: z.string().min(1) });
const boundTo = z.looseObject({
  namespace: z.string().min(1),
  serviceaccount: named,
  pod: named.optional(),
  node: named.optional(),
});
export type BoundTo = z.output<typeof boundTo>;

/** Tokens that a cluster's API server makes for service accounts (standards.md P2). */
export function createKubernetesAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(publishedKeys(issuer, options));
  const { tokenReview } = issuer;
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now, signal }) => {
      const verified = await verifyJwt(assertion, { issuer, keys, options, now });
      const bound = readBoundTo(verified);
      // The signature outlives the pod; only the cluster knows that it was deleted.
      if (tokenReview !== null)
        await reviewToken(assertion, {
          review: tokenReview,
          expected: { audience: issuer.audience, username: verified.subject, bound },
          options,
          signal,
        });
      return workloadOf({ ...verified, payload: { ...verified.payload, ...flatten(bound) } }, issuer);
    },
  };
}

/** The account in `sub` and in `kubernetes.io` must be one, or templates and audit would speak of two. */
function readBoundTo({ payload, subject }: Verified): BoundTo {
  // Tokens kept in Secrets carry these and never expire.
  if (Object.keys(payload).some((claim) => claim.startsWith('kubernetes.io/serviceaccount/')))
    throw invalid('legacy secret token');
  const parsed = boundTo.safeParse(payload['kubernetes.io']);
  if (!parsed.success) throw invalid('kubernetes.io');
  const { namespace, serviceaccount } = parsed.data;
  if (subject !== `system:serviceaccount:${namespace}:${serviceaccount.name}`)
    throw invalid('sub and kubernetes.io disagree');
  return parsed.data;
}

/** Names that a template can match and bind; one that is not there hides a claim of the same spelling. */
function flatten({ namespace, serviceaccount, pod, node }: BoundTo): Readonly<Record<string, unknown>> {
  return {
    namespace,
    'serviceaccount.name': serviceaccount.name,
    'serviceaccount.uid': serviceaccount.uid,
    'pod.name': pod?.name,
    'pod.uid': pod?.uid,
    'node.name': node?.name,
    'node.uid': node?.uid,
  };
}
