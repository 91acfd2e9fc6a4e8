import { z } from 'zod';
import { endpoint } from '../common.ts';

/** Paths are Google's, and one of them is signed. */
const origin = endpoint.refine((value) => new URL(value).pathname === '/', { error: 'no path' });

const serviceAccount = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]{1,190}\.gserviceaccount\.com$/, {
  error: 'the email of a service account',
});

export const gcpProvider = z.strictObject({
  type: z.literal('gcp'),
  workloadIdentityProvider: z
    .string()
    .regex(
      /^projects\/[0-9]{1,20}\/locations\/global\/workloadIdentityPools\/[a-z0-9-]{4,32}\/providers\/[a-z0-9-]{4,32}$/,
      { error: 'projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER' },
    ),
  serviceAccounts: z.array(serviceAccount).min(1).max(64),
  endpoints: z
    .strictObject({
      sts: origin.optional(),
      iamcredentials: origin.optional(),
      storage: origin.optional(),
    })
    .optional(),
});

/** The provider's own addresses, where the document names none. */
export function gcpEndpoints() {
  return {
    sts: 'https://sts.googleapis.com',
    iamcredentials: 'https://iamcredentials.googleapis.com',
    storage: 'https://storage.googleapis.com',
  };
}
