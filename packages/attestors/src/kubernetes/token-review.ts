import type { TokenReview } from '@mayfly/core';
import { z } from 'zod';
import { invalid } from '../jwt/compact.ts';
import { fetchJson, unavailable } from '../jwt/fetch-json.ts';
import { accessTo } from '../jwt/key-source.ts';
import type { AttestorOptions } from '../options.ts';
import type { BoundTo } from './attestor.ts';

const answered = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    audiences: z.array(z.string()).default([]),
    user: z
      .object({
        username: z.string().default(''),
        uid: z.string().default(''),
        extra: z.record(z.string(), z.array(z.string())).default({}),
      })
      .optional(),
  }),
});

export interface Reviewing {
  readonly review: TokenReview;
  readonly expected: { readonly audience: string; readonly username: string; readonly bound: BoundTo };
  readonly options: AttestorOptions;
  readonly signal: AbortSignal;
}

/**
 * Asks the cluster (authentication.k8s.io/v1 TokenReview) whether this token is good now, for us, and of whom we
 * take it to be. Refuses a token of a deleted pod or account; an answer that cannot be had is a Fault.
 */
export async function reviewToken(token: string, reviewing: Reviewing): Promise<void> {
  const { review, expected, options, signal } = reviewing;
  const url = `${review.server}/apis/authentication.k8s.io/v1/tokenreviews`;
  const json = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [expected.audience] },
  };
  const { body } = await fetchJson(url, { ...(await accessTo(url, review, options)), json, signal });
  const parsed = answered.safeParse(body);
  if (!parsed.success) throw unavailable('token review malformed');
  const { authenticated, audiences, user } = parsed.data.status;
  if (!authenticated || user === undefined) throw invalid('token review: not authenticated');
  // A server that knows no audiences says none, and has then not checked ours.
  if (!audiences.includes(expected.audience)) throw invalid('token review: audience');
  const { serviceaccount, pod } = expected.bound;
  if (user.username !== expected.username || user.uid !== serviceaccount.uid)
    throw invalid('token review: another user');
  const pods = user.extra['authentication.kubernetes.io/pod-uid'] ?? [];
  if (pod !== undefined && pods.some((uid) => uid !== pod.uid)) throw invalid('token review: another pod');
}
