import { type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

const spec = z.object({
  type: z.literal('github'),
  appId: z.string().min(1),
  installationId: z.string().regex(/^[1-9][0-9]*$/),
  owner: z.string().min(1),
  endpoints: z.object({ api: z.url().optional() }).nullish(),
});
export type GithubProvider = z.output<typeof spec> & { readonly name: string; readonly api: string };

/** The spec of a Provider document of type github, as packages/policy has checked it. */
export function parseGithubProvider(provider: Provider): GithubProvider {
  const parsed = spec.safeParse(provider.spec);
  if (parsed.success) {
    const api = (parsed.data.endpoints?.api ?? 'https://api.github.com').replace(/\/$/, '');
    return { ...parsed.data, name: provider.name, api };
  }
  const [issue] = parsed.error.issues;
  throw new Refusal('provider_refused', {
    detail: `provider ${provider.name}: ${issue?.path.join('.')}: ${issue?.message}`,
  });
}
