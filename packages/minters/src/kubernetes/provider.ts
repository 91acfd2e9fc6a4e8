import { type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

const spec = z.object({
  type: z.literal('kubernetes'),
  cluster: z.string().min(1),
  serviceAccounts: z.array(z.string().regex(/^[^/]+\/[^/]+$/)).min(1),
  auth: z.enum(['federation', 'tokenFile']),
  audience: z.string().min(1),
  tokenFile: z.string().nullish(),
  caFile: z.string().nullish(),
  endpoints: z.object({ api: z.url() }),
});
export type KubernetesProvider = z.output<typeof spec> & { readonly name: string };

/** The spec of a Provider document of type kubernetes, as packages/policy has checked it. */
export function parseKubernetesProvider(provider: Provider): KubernetesProvider {
  const parsed = spec.safeParse(provider.spec);
  if (parsed.success) return { ...parsed.data, name: provider.name };
  const [issue] = parsed.error.issues;
  throw new Refusal('provider_refused', {
    detail: `provider ${provider.name}: ${issue?.path.join('.')}: ${issue?.message}`,
  });
}
