import { Fault, type Provider, Refusal } from '@mayfly/core';
import { z } from 'zod';

// Ceph has a tenant or nothing where AWS has an account of twelve digits.
const roleArn = z
  .string()
  .regex(/^arn:aws[a-z-]*:iam::(?:[0-9]{12}|[A-Za-z_]\w{0,62})?:role\/[\w+=,.@/-]{1,512}$/);

const spec = z.object({
  type: z.literal('aws'),
  region: z
    .string()
    .regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, { error: 'a region; the global endpoint knows no scoped sessions' }),
  roles: z.array(roleArn).min(1),
  kmsKeys: z.array(z.string()).nullish(),
  auth: z.enum(['webIdentity', 'ambient']),
  revoke: z.enum(['deny-policy', 'none']),
  revoker: z.object({ role: roleArn }).nullish(),
  callsPerSecond: z.number().int().min(1).default(500),
  denyBy: z.enum(['sourceIdentity', 'sessionName']),
  canary: z.string().nullish(),
  endpoints: z.object({ sts: z.url().optional(), iam: z.url().optional(), s3: z.url().optional() }).nullish(),
});
export type AwsProvider = z.output<typeof spec> & { readonly name: string };

/** The spec of a Provider document of type aws, as packages/policy has checked it. */
export function parseAwsProvider(provider: Provider): AwsProvider {
  const parsed = spec.safeParse(provider.spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Refusal('provider_refused', {
      detail: `provider ${provider.name}: ${issue?.path.join('.')}: ${issue?.message}`,
    });
  }
  return { ...parsed.data, name: provider.name };
}

/** `arn:aws:iam::123456789012:role/mayfly/finance` -> partition, account, path with name, name. */
export function splitRole(arn: string): { partition: string; account: string; path: string; name: string } {
  const [, partition = '', , , account = '', resource = ''] = arn.split(':');
  const path = resource.slice('role/'.length);
  return { partition, account, path, name: path.slice(path.lastIndexOf('/') + 1) };
}

export function stsEndpoint({ region, endpoints }: AwsProvider): string {
  return endpoints?.sts ?? `https://sts.${region}.amazonaws.com`;
}

export function iamEndpoint({ endpoints }: AwsProvider): string {
  return endpoints?.iam ?? 'https://iam.amazonaws.com';
}

export function s3Endpoint({ region, endpoints }: AwsProvider): string {
  return endpoints?.s3 ?? `https://s3.${region}.amazonaws.com`;
}

/** What a plan says of where its sessions are. */
export interface AwsPlace {
  readonly sts: string;
  readonly iam: string;
  readonly role: string;
}

/**
 * A Provider that is elsewhere than when something was planned: its keys are shown to nobody there, and nothing that
 * is said there of names that both have would be an end. IAM is told the bare name of a role, so the account counts too.
 */
export function refuseMoved(provider: AwsProvider, { sts, iam, role }: AwsPlace): void {
  const accounts = provider.revoker == null ? provider.roles : [provider.revoker.role];
  const moved = sts !== stsEndpoint(provider) || iam !== iamEndpoint(provider);
  if (!moved && accounts.some((one) => accountOf(one) === accountOf(role))) return;
  const detail = `provider ${provider.name} has moved`;
  throw new Fault('provider_refused', { effect: 'none', detail });
}

function accountOf(role: string): string {
  const { partition, account } = splitRole(role);
  return `${partition}:${account}`;
}
