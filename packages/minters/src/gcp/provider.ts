import { type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

const spec = z.object({
  type: z.literal('gcp'),
  workloadIdentityProvider: z
    .string()
    .regex(/^projects\/[0-9]+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]+\/providers\/[a-z0-9-]+$/),
  serviceAccounts: z.array(z.string().regex(/^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$/)).min(1),
  endpoints: z
    .object({ sts: z.url().optional(), iamcredentials: z.url().optional(), storage: z.url().optional() })
    .nullish(),
});
export type GcpProvider = z.output<typeof spec> & { readonly name: string };

/** The spec of a Provider document of type gcp, as packages/policy has checked it. */
export function parseGcpProvider(provider: Provider): GcpProvider {
  const parsed = spec.safeParse(provider.spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Refusal('provider_refused', {
      detail: `provider ${provider.name}: ${issue?.path.join('.')}: ${issue?.message}`,
    });
  }
  return { ...parsed.data, name: provider.name };
}

/** Where tokens are exchanged, without a slash at the end. */
export function stsEndpoint({ endpoints }: GcpProvider): string {
  return bare(endpoints?.sts ?? 'https://sts.googleapis.com');
}

export function iamCredentialsEndpoint({ endpoints }: GcpProvider): string {
  return bare(endpoints?.iamcredentials ?? 'https://iamcredentials.googleapis.com');
}

/** Whose URLs are signed. */
export function storageEndpoint({ endpoints }: GcpProvider): string {
  return bare(endpoints?.storage ?? 'https://storage.googleapis.com');
}

function bare(url: string): string {
  return url.replace(/\/+$/, '');
}
