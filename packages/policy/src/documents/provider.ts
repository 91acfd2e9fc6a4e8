import { z } from 'zod';
import { documentOf, notBuilt, uri } from './common.ts';

const roleArn = z
  .string()
  .regex(/^arn:aws[a-z-]*:iam::[0-9]{12}:role\/[\w+=,.@/-]{1,512}$/, { error: 'the ARN of an IAM role' });

/** A cloud that credentials come from, with the ceilings they are cut from. `token` exists without a document. */
export const provider = documentOf(
  'Provider',
  z.strictObject({
    type: z.literal('aws', { error: 'this version knows aws only (the provider `token` always exists)' }),
    region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, {
      error: 'a region such as eu-west-1; the global endpoint is refused',
    }),
    roles: z.array(roleArn).min(1).max(64),
    auth: z.enum(['webIdentity', 'ambient']).default('webIdentity'),
    revoke: z.enum(['deny-policy', 'none']).default('deny-policy'),
    revoker: z.strictObject({ role: roleArn }).optional(),
    denyBy: z
      .literal('sourceIdentity', { error: 'only sourceIdentity is built in this version' })
      .default('sourceIdentity'),
    endpoints: z.strictObject({ sts: uri.optional(), iam: uri.optional(), s3: uri.optional() }).optional(),
    correlationId: notBuilt,
  }),
);
