import { z } from 'zod';
import { choice, endpoint } from '../common.ts';

// Ceph has a tenant or nothing where AWS has an account of twelve digits.
const roleArn = z
  .string()
  .regex(/^arn:aws[a-z-]*:iam::(?:[0-9]{12}|[A-Za-z_][A-Za-z0-9_]{0,62})?:role\/[\w+=,.@/-]{1,512}$/, {
    error: 'the ARN of an IAM role',
  });

const kmsKey = z
  .string()
  .regex(/^arn:aws(-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key\/([0-9a-f-]{36}|mrk-[0-9a-f]{32})$/, {
    error: 'the ARN of a KMS key by its id; an alias may be pointed elsewhere',
  });

const s3Object = z
  .string()
  .regex(/^arn:aws(-cn|-us-gov)?:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/[A-Za-z0-9!_.'()/-]{1,512}$/, {
    error: 'the ARN of one S3 object, such as arn:aws:s3:::finance/mayfly-canary',
  });

export const awsProvider = z.strictObject({
  type: z.literal('aws'),
  region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, {
    error: 'a region such as eu-west-1; the global endpoint is refused',
  }),
  roles: z.array(roleArn).min(1).max(64),
  kmsKeys: z.array(kmsKey).min(1).max(64).optional(),
  auth: choice(['webIdentity', 'ambient']).default('webIdentity'),
  revoke: choice(['deny-policy', 'none']).default('deny-policy'),
  revoker: z.strictObject({ role: roleArn }).optional(),
  denyBy: choice(['sourceIdentity', 'sessionName']).default('sourceIdentity'),
  // An object that every role of this provider may read: what a denied session is refused shows that it is denied.
  canary: s3Object.optional(),
  // AWS counts for the whole account; its quota was 600 when this was written. This is one replica's share.
  callsPerSecond: z.int().min(1).max(10_000).default(500),
  endpoints: z
    .strictObject({ sts: endpoint.optional(), iam: endpoint.optional(), s3: endpoint.optional() })
    .optional(),
});

/** The provider's own addresses, where the document names none. */
export function awsEndpoints({ region }: z.output<typeof awsProvider>) {
  return {
    sts: `https://sts.${region}.amazonaws.com`,
    iam: 'https://iam.amazonaws.com',
    s3: `https://s3.${region}.amazonaws.com`,
  };
}
