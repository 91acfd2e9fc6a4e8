import type { MintPlan, MintRequest, PlanCheck, Provider, ResourceServer } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';

/** For tests only: one request of each kind at a golden clock, and what the decision allowed for it. */
export const now = new Date('2026-11-23T12:00:00.250Z');
export const notAfter = new Date('2026-11-23T12:01:00Z');
export const role = 'arn:aws:iam::123456789012:role/mayfly/finance';

const id = (fill: number) => uuidV7(now.getTime(), new Uint8Array(10).fill(fill));
export const [issuanceId, taskId, grantId] = [id(1), id(2), id(3)] as const;

export function awsProvider(spec: Readonly<Record<string, unknown>> = {}): Provider {
  return {
    name: 'prod-aws',
    type: 'aws',
    spec: {
      type: 'aws',
      region: 'eu-west-1',
      roles: [role, 'arn:aws:iam::123456789012:role/mayfly/other'],
      auth: 'webIdentity',
      revoke: 'deny-policy',
      denyBy: 'sourceIdentity',
      ...spec,
    },
  };
}

export const server: ResourceServer = {
  name: 'reports',
  audience: 'https://reports.example/mcp',
  verification: 'introspect',
  signingAlgorithm: 'ES256',
  cacheSeconds: 5,
  subjects: [],
};

export function awsRequest(more: Partial<MintRequest> = {}): MintRequest {
  return {
    issuanceId,
    taskId,
    grantId,
    generation: 1,
    workload: 'prod-k8s/system:serviceaccount:finance:reconciler',
    holder: { actors: [], confirmation: null },
    tool: 's3.read',
    identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
    actions: ['read'],
    access: 's3.object',
    mint: { provider: 'prod-aws', access: 's3.object' },
    provider: awsProvider(),
    server: null,
    now,
    notAfter,
    argsDigest: null,
    ...more,
  };
}

export function prefixRequest(more: Partial<MintRequest> = {}): MintRequest {
  return awsRequest({
    identifier: 'arn:aws:s3:::invoices/2026q3/',
    access: 's3.prefix',
    actions: ['read', 'list'],
    ...more,
  });
}

export const kmsKey = 'arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-1234567890ab';

const of = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:123456789012:${rest}`;

/** One identifier of each access beside S3, and the bound of a grant that holds it. */
export const awsThings = {
  'secretsmanager.secret': of('secretsmanager', 'secret:team/db-AbCd12'),
  'dynamodb.items': of('dynamodb', 'table/orders/items/customer-17'),
  'sqs.queue': of('sqs', 'reports'),
  'lambda.function': of('lambda', 'function:resize:prod'),
} as const;

/** For one thing of another access; under `kmsKey` where that is asked for. */
export function thingRequest(
  access: keyof typeof awsThings,
  actions: MintRequest['actions'],
  more: Partial<MintRequest> = {},
): MintRequest {
  const mint = { provider: 'prod-aws', access };
  return awsRequest({ access, identifier: awsThings[access], actions, mint, ...more });
}

/** The same under a KMS key that grant and provider name. */
export function underKey(request: MintRequest): MintRequest {
  const { mint, provider } = request;
  const spec = { ...provider.spec, kmsKeys: [kmsKey] };
  return { ...request, mint: { ...mint, kmsKey }, provider: { ...provider, spec } };
}

export function tokenRequest(more: Partial<MintRequest> = {}): MintRequest {
  return awsRequest({
    tool: 'report.post',
    identifier: 'https://reports.example/2026q3',
    actions: ['write'],
    access: 'token',
    mint: { provider: 'token', server: 'reports' },
    provider: { name: 'token', type: 'token', spec: { type: 'token' } },
    server,
    ...more,
  });
}

export type Allowed = Parameters<PlanCheck>[1];

/** What the exchange passes to the check beside the plan of this request. */
export function allowedFor(request: MintRequest, more: Partial<Allowed> = {}): Allowed {
  const { identifier, actions, provider } = request;
  const resource = identifier.startsWith('arn:aws:s3:') ? identifier.replace(/[^/]*\/?$/, '**') : identifier;
  return {
    resource,
    actions,
    identifier,
    notAfter: request.notAfter,
    provider,
    server: request.server,
    taskId: request.taskId,
    grantId: request.grantId,
    tool: request.tool,
    access: request.access,
    workload: request.workload,
    holder: request.holder,
    mint: request.mint,
    argsDigest: request.argsDigest,
    ...more,
  };
}

/** The session policy of a plan, read back. */
export function policyOf({ body }: MintPlan): unknown {
  return JSON.parse(String(body['policy']));
}

/** xorshift32: the same seed gives the same run. */
export function seeded(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** From SEED, or a new one; printed, so that a failure can be run again. */
export function printedSeed(name: string): number {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2_147_483_647);
  console.log(`${name}: SEED=${seed}`);
  return seed;
}
