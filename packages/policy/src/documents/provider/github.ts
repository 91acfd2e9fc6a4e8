import { z } from 'zod';
import { endpoint } from '../common.ts';

const number = z.string().regex(/^[1-9][0-9]{0,17}$/, { error: 'a number, quoted' });

export const githubProvider = z.strictObject({
  type: z.literal('github'),
  /** The App's id or client id, `iss` of what its private key signs; the key is configuration: `providerKeys`. */
  appId: z
    .string()
    .regex(/^([1-9][0-9]{0,17}|Iv[A-Za-z0-9.]{8,40})$/, { error: 'App id or client id, quoted' }),
  installationId: number,
  /** The account that the installation belongs to: the ceiling of every identifier. */
  owner: z
    .string()
    .regex(/^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?$/, { error: 'a user or organization' }),
  endpoints: z.strictObject({ api: endpoint.optional() }).optional(),
});

export const githubEndpoints = { api: 'https://api.github.com' };
