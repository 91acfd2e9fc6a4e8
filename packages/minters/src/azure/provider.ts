import { type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

const rule = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$/);

const serviceBus = z.object({
  subscription: z.guid(),
  resourceGroup: z.string().min(1).max(90),
  namespaces: z.array(z.string()).min(1),
  rules: z.object({ send: rule.optional(), receive: rule.optional() }),
});

const spec = z.object({
  type: z.literal('azure'),
  // Ids of Azure need not be UUIDs of a known version.
  tenant: z.guid(),
  clients: z.array(z.guid()).min(1),
  accounts: z.array(z.string().regex(/^[a-z0-9]{3,24}$/)),
  correlationId: z.boolean(),
  serviceBus: serviceBus.nullish(),
  endpoints: z
    .object({ authority: z.url().optional(), blob: z.url().optional(), management: z.url().optional() })
    .nullish(),
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

/** Azure Resource Manager: where rules and their keys are read. */
export function managementEndpoint({ endpoints }: AzureProvider): string {
  return endpoints?.management ?? 'https://management.azure.com';
}

/** Where the account's blobs are: a host of its own at Azure, a path at an endpoint that the document names. */
export function blobEndpoint({ endpoints }: AzureProvider, account: string): string {
  return endpoints?.blob === undefined
    ? `https://${account}.blob.core.windows.net`
    : `${endpoints.blob}/${account}`;
}
