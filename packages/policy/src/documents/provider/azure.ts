import { z } from 'zod';
import { endpoint } from '../common.ts';

/** Ids, not names: a domain or a display name may be given to somebody else later. */
const directoryId = z
  .string()
  .regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, { error: 'a UUID in lower case' });

/** Entra and SAS are refused on plain http, also on loopback. */
const origin = endpoint.refine((value) => value.startsWith('https:') && new URL(value).origin === value, {
  error: 'an https origin without path',
});

export const azureProvider = z.strictObject({
  type: z.literal('azure'),
  tenant: directoryId,
  clients: z.array(directoryId).min(1).max(64),
  accounts: z
    .array(
      z.string().regex(/^[a-z0-9]{3,24}$/, { error: 'the name of a storage account: 3-24 of a-z and 0-9' }),
    )
    .min(1)
    .max(64),
  correlationId: z.boolean().default(true),
  endpoints: z.strictObject({ authority: origin.optional(), blob: origin.optional() }).optional(),
});

/** The provider's own addresses, where the document names none; that of blobs is one for each account. */
export const azureEndpoints = { authority: 'https://login.microsoftonline.com' };
