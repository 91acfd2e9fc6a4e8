import { type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

const spec = z.object({
  type: z.literal('azure'),
  tenant: z.uuid(),
  clients: z.array(z.uuid()).min(1),
  accounts: z.array(z.string().regex(/^[a-z0-9]{3,24}$/)).min(1),
  correlationId: z.boolean(),
  endpoints: z.object({ authority: z.url().optional(), blob: z.url().optional() }).nullish(),
});
export type AzureProvider = z.output<typeof spec> & { readonly name: string };

/** The spec of a Provider document of type azure, as packages/policy has checked it. */
export function parseAzureProvider(provider: Provider): AzureProvider {
  const parsed = spec.safeParse(provider.spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Refusal('provider_refused', {
      detail: `provider ${provider.name}: ${issue?.path.join('.')}: ${issue?.message}`,
    });
  }
  return { ...parsed.data, name: provider.name };
}

/** Where the account's blobs are: a host of its own at Azure, a path at an endpoint that the document names. */
export function blobEndpoint({ endpoints }: AzureProvider, account: string): string {
  return endpoints?.blob === undefined
    ? `https://${account}.blob.core.windows.net`
    : `${endpoints.blob}/${account}`;
}
