import {
  type GrantSpec,
  noDeviationRules,
  type PolicySet,
  type Provider,
  type ResourceServer,
  type Template,
  type TrustedIssuer,
} from '@mayfly/core';
import { issuerUrl, pattern } from '@mayfly/testkit';

/** Seconds: the defaults of the broker's settings, and two constants of its own (reaper.ts, deny.ts). */
export const settings = {
  mintDeadline: 10,
  reapAge: 60,
  reapInterval: 1,
  skew: 30,
  denyWatch: 10,
  denyWriterLease: 20,
} as const;

/** AWS's own, as the Provider names none. */
export const denyEndpoints = {
  sts: 'https://sts.eu-west-1.amazonaws.com',
  iam: 'https://iam.amazonaws.com',
};
export const denyRole = 'arn:aws:iam::123456789012:role/mayfly/agents';

const anyone = { issuerName: 'agents', match: { sub: [pattern('agent-*')] }, bind: [] };

function grantSpec(name: string, provider: string, more: Partial<GrantSpec> = {}): GrantSpec {
  return {
    name,
    tool: `${name}.read`,
    resource: `store:${name}/\${params.area}/**`,
    provider,
    access: 'store.object',
    mint: {},
    actions: ['read', 'list'],
    effects: ['read'],
    data: [],
    ttl: { defaultSeconds: 60, maxSeconds: 120 },
    endsWithinSeconds: null,
    budget: { exchanges: 3, perMinute: 4 },
    proof: 'none',
    ...more,
  };
}

const local = {
  tool: 'report.read',
  resource: 'https://reports.example/${params.area}',
  access: 'token',
  mint: { server: 'reports' },
  actions: ['write'],
  effects: ['write'],
  ttl: { defaultSeconds: 30, maxSeconds: 30 },
} as const;

const grants: readonly GrantSpec[] = [
  grantSpec('denying', 'denying'),
  grantSpec('deleting', 'deleting'),
  grantSpec('expiring', 'expiring', { budget: { exchanges: null, perMinute: 4 } }),
  grantSpec('report', 'local', local),
];

/** A child's, each within the parent's. */
const lesser = grants.slice(0, 3).map((spec) => ({
  ...spec,
  resource: spec.resource.replace('**', 'inner/**'),
  actions: ['read'] as const,
  ttl: { defaultSeconds: 40, maxSeconds: 90 },
  budget: { exchanges: 2, perMinute: 3 },
}));

const common = {
  version: 1,
  owner: null,
  mode: 'enforce',
  workloads: [anyone],
  openers: [{ kind: 'self' }],
  params: { area: { fromClaim: null, accepts: (value: string) => /^[a-z]+$/.test(value) } },
  delegation: { actor: 'none', actors: [] },
  deviation: noDeviationRules,
  onChange: 'keep',
  sources: [],
} as const;

export const parent: Template = {
  ...common,
  name: 'work',
  task: {
    maxDurationSeconds: 240,
    leaseSeconds: 30,
    maxOpen: 2,
    opensPerHour: 3,
    refClaims: [],
    children: { max: 2, depth: 2, templates: ['part'] },
  },
  grants,
};

export const child: Template = {
  ...common,
  name: 'part',
  task: {
    maxDurationSeconds: 120,
    leaseSeconds: 20,
    maxOpen: null,
    opensPerHour: null,
    refClaims: [],
    children: { max: 2, depth: 1, templates: ['part'] },
  },
  grants: lesser,
};

/** What an admin may put in force instead of `parent`. */
export const narrowed: Template = {
  ...parent,
  grants: grants
    .filter(({ name }) => name !== 'expiring')
    .map((spec) => ({ ...spec, budget: { exchanges: 1, perMinute: 2 } })),
};

const issuer: TrustedIssuer = {
  name: 'agents',
  type: 'oidc',
  issuer: issuerUrl,
  audience: 'https://mayfly.example',
  jwksUri: null,
  jwksFile: null,
  bundleUrl: null,
  bundleFile: null,
  caFile: null,
  tokenFile: null,
  tokenReview: null,
  pullRequests: 'refuse',
  algorithms: ['ES256'],
  subjects: [pattern('*')],
  claims: [],
  maxLifetimeSeconds: 3600,
  replay: 'once',
  people: false,
  events: null,
};

/** Without `revoker`: deny.ts then writes with the broker's own identity and asks STS for nothing. */
const aws: Provider = {
  name: 'denying',
  type: 'denying',
  spec: {
    type: 'aws',
    region: 'eu-west-1',
    roles: [denyRole],
    auth: 'ambient',
    revoke: 'deny-policy',
    denyBy: 'sourceIdentity',
  },
};

const providers: readonly Provider[] = [
  aws,
  { name: 'deleting', type: 'deleting', spec: {} },
  { name: 'expiring', type: 'expiring', spec: {} },
  { name: 'local', type: 'fake-local', spec: {} },
];

const reports: ResourceServer = {
  name: 'reports',
  audience: 'https://reports.example',
  verification: 'introspect',
  signingAlgorithm: 'ES256',
  cacheSeconds: 5,
  subjects: [],
};

/** One organisation: a template for tasks and one for their children, a provider of each way to end. */
export const documents: Omit<PolicySet, 'epoch' | 'freezes'> = {
  issuers: new Map([[issuer.issuer, issuer]]),
  templates: new Map([parent, child].map((template) => [template.name, template])),
  providers: new Map(providers.map((provider) => [provider.name, provider])),
  servers: new Map([['reports', reports]]),
  bindings: [],
};

export function providerNamed(name: string): Provider | undefined {
  return documents.providers.get(name);
}
