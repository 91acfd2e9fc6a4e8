import { z } from 'zod';
import { choice, documentOf, endpoint, notBuilt } from './common.ts';

const roleArn = z
  .string()
  .regex(/^arn:aws[a-z-]*:iam::[0-9]{12}:role\/[\w+=,.@/-]{1,512}$/, { error: 'the ARN of an IAM role' });

const laterTypes = ['gcp', 'azure', 'kubernetes', 'github', 'gitlab', 'vault', 'postgres'];

/** A cloud that credentials come from, with the ceilings they are cut from. `token` exists without a document. */
export const provider = documentOf(
  'Provider',
  z.strictObject({
    type: choice(['aws'], laterTypes),
    region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, {
      error: 'a region such as eu-west-1; the global endpoint is refused',
    }),
    roles: z.array(roleArn).min(1).max(64),
    auth: choice(['webIdentity', 'ambient']).default('webIdentity'),
    revoke: choice(['deny-policy', 'none']).default('deny-policy'),
    revoker: z.strictObject({ role: roleArn }).optional(),
    denyBy: choice(['sourceIdentity'], ['sessionName']).default('sourceIdentity'),
    endpoints: z
      .strictObject({ sts: endpoint.optional(), iam: endpoint.optional(), s3: endpoint.optional() })
      .optional(),
    correlationId: notBuilt('correlation ids'),
  }),
);
