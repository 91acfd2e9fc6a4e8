import { z } from 'zod';
import { choice, endpoint, text, uri } from '../common.ts';

/** RFC 1123 label, as names of namespaces and of clusters here. */
const label = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, { error: 'a-z, 0-9 and -, at most 63 characters' });
const serviceAccount = z
  .string()
  .max(317)
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
    error: 'NAMESPACE/NAME of a service account',
  });
const file = text(1024).regex(/^\//, { error: 'an absolute path on the broker’s own disk' });

export const kubernetesProvider = z.strictObject({
  type: z.literal('kubernetes'),
  /** What identifiers call this cluster: `k8s://CLUSTER/NAMESPACE/NAME`. */
  cluster: label,
  /** Ceilings: the only accounts that tokens are asked for. */
  serviceAccounts: z.array(serviceAccount).min(1).max(256),
  auth: choice(['federation', 'tokenFile']).default('federation'),
  /** What the API server expects as `aud` of the broker's own assertion. */
  audience: uri.default('https://kubernetes.default.svc'),
  tokenFile: file.optional(),
  caFile: file.optional(),
  endpoints: z.strictObject({ api: endpoint }),
});
