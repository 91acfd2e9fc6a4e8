import type { Detail } from './profile.ts';

/** Names that the documents of our own run and its profile share. */
export const names = {
  main: 'https://main.conformance.example',
  reuse: 'https://reuse.conformance.example',
  reuseAudience: 'https://site.conformance.example',
  spiffe: 'spiffe://conformance.example',
  kubernetes: 'https://kubernetes.conformance.example',
  github: 'https://token.actions.githubusercontent.com',
  gitlab: 'https://gitlab.conformance.example',
  reports: 'https://reports.example/mcp',
  others: 'https://others.example/mcp',
  identifier: 'https://reports.example/quarter/report',
} as const;

export const platformClaims = {
  spiffe: { sub: `${names.spiffe}/agent` },
  kubernetes: {
    sub: 'system:serviceaccount:conformance:agent',
    'kubernetes.io': {
      namespace: 'conformance',
      serviceaccount: { name: 'agent', uid: '0000-1' },
      pod: { name: 'agent-1', uid: '0000-2' },
    },
  },
  github: {
    sub: 'repo:acme/app:ref:refs/heads/main',
    ...{ repository: 'acme/app', repository_id: '74', repository_owner_id: '65', event_name: 'push' },
    ...{ ref: 'refs/heads/main', run_id: '1', run_attempt: '1', runner_environment: 'github-hosted' },
  },
  gitlab: {
    sub: 'project_path:acme/app:ref_type:branch:ref:main',
    ...{ project_id: '20', namespace_id: '72', ref: 'main', ref_type: 'branch', ref_protected: 'true' },
    ...{ pipeline_source: 'push', pipeline_id: '1', job_id: '1' },
  },
} as const;

const matched = {
  spiffe: platformClaims.spiffe,
  kubernetes: { 'serviceaccount.uid': '0000-1' },
  github: { repository_id: '74', repository_owner_id: '65' },
  gitlab: { project_id: '20', ref_protected: 'true' },
} as const;

/** What the suite's server trusts and grants; `fileOf` says where the public keys of an issuer lie. */
export function conformanceDocuments(fileOf: (issuer: string) => string, aws: string): string {
  return [
    issuer('main', { type: 'oidc', issuer: names.main, jwksFile: fileOf('main'), subjects: ['*'] }),
    issuer('reuse', {
      ...{ type: 'oidc', issuer: names.reuse, jwksFile: fileOf('reuse'), subjects: ['*'] },
      ...{ audience: names.reuseAudience, replay: 'reuse' },
    }),
    issuer('spiffe', {
      ...{ type: 'spiffe', issuer: names.spiffe, bundleFile: fileOf('spiffe') },
      subjects: ['spiffe://*/**', 'https://**'],
    }),
    issuer('kubernetes', {
      ...{ type: 'kubernetes', issuer: names.kubernetes, jwksFile: fileOf('kubernetes') },
      subjects: ['system:serviceaccount:*:*'],
    }),
    issuer('github', {
      type: 'github',
      jwksFile: fileOf('github'),
      subjects: ['repo:acme/*:ref:refs/heads/main'],
    }),
    issuer('gitlab', {
      ...{ type: 'gitlab', issuer: names.gitlab, jwksFile: fileOf('gitlab') },
      subjects: ['project_path:acme/*:ref_type:branch:ref:main'],
    }),
    document('Provider', 'local-aws', {
      ...{ type: 'aws', region: 'eu-west-1', roles: ['arn:aws:iam::123456789012:role/mayfly/finance'] },
      ...{ auth: 'webIdentity', revoke: 'deny-policy' },
      revoker: { role: 'arn:aws:iam::123456789012:role/mayfly/reaper' },
      endpoints: { sts: aws, iam: aws, s3: aws },
    }),
    document('ResourceServer', 'reports', {
      ...{ audience: names.reports, subjects: [{ issuer: 'main', match: { sub: 'reports' } }] },
    }),
    document('ResourceServer', 'others', {
      ...{
        audience: names.others,
        signingAlgorithm: 'RS256',
        subjects: [{ issuer: 'main', match: { sub: 'others' } }],
      },
    }),
    template('plain', { grants: [report(), twoActions, cloud] }),
    template('dpop', { grants: [report({ proof: 'dpop' })] }),
    template('mtls', { grants: [report({ proof: 'mtls' })] }),
    template('rate', { grants: [report({ budget: { perMinute: 1 } })] }),
    template('rs256', { grants: [report({ mint: { provider: 'token', server: 'others' } })] }),
    template('short', { task: { maxDuration: '10s', lease: '5s' } }),
    template('delegated', {
      task: { ...task, children: { max: 20, depth: 8, templates: ['conformance-delegated'] } },
      delegation: { actor: 'optional', actors: [{ issuer: 'main', match: { sub: ['actor', 'actor-*'] } }] },
    }),
    template('reuse', { workloads: [{ issuer: 'reuse', match: { sub: 'agent' } }] }),
    ...Object.entries(matched).map(([name, match]) =>
      template(name, { workloads: [{ issuer: name, match }] }),
    ),
  ].join('---\n');
}

export function conformanceDetails(): Readonly<Record<string, Detail>> {
  const of = (name: string, more: Detail = {}): Detail => ({
    type: 'mayfly_tool_call',
    task: { template: `conformance-${name}`, ref: '{unique}' },
    tool: 'report.post',
    identifier: names.identifier,
    ...more,
  });
  const own = [
    'plain',
    'dpop',
    'mtls',
    'rate',
    'rs256',
    'short',
    'delegated',
    'reuse',
    ...Object.keys(matched),
  ];
  return {
    ...Object.fromEntries(own.map((name) => [name, of(name)])),
    outside: of('plain', { identifier: 'https://reports.example/another/report' }),
    'two-actions': of('plain', { tool: 'report.edit', actions: ['read', 'write'] }),
    cloud: of('plain', { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' }),
  };
}

const task = { maxDuration: '1h', lease: '30m' };
const report = (more: object = {}) => ({
  ...{ name: 'report', tool: 'report.post', resource: names.identifier },
  ...{ mint: { provider: 'token', server: 'reports' }, actions: ['write'], effects: ['write'] },
  ttl: { default: '60s', max: '120s' },
  ...more,
});
const twoActions = { ...report({ name: 'edit', tool: 'report.edit', actions: ['read', 'write'] }) };
const cloud = {
  ...{ name: 'invoices', tool: 's3.read', resource: 'arn:aws:s3:::invoices/2026q3/**' },
  ...{ mint: { provider: 'local-aws', access: 's3.object' }, actions: ['read'], effects: ['read'] },
  ttl: { default: '60s', max: '60s' },
};

function template(name: string, spec: object): string {
  const workloads = [{ issuer: 'main', match: { sub: ['agent', 'other'] } }];
  return document(
    'GrantTemplate',
    `conformance-${name}`,
    { workloads, task, grants: [report()], ...spec },
    true,
  );
}

function issuer(name: string, spec: object): string {
  return document('TrustedIssuer', name, { algorithms: ['ES256'], ...spec });
}

/** Flow YAML is JSON. */
function document(kind: string, name: string, spec: object, isOwned = false): string {
  const metadata = { name, ...(isOwned ? { owner: 'conformance' } : {}) };
  return `${JSON.stringify({ apiVersion: 'mayfly/v1', kind, metadata, spec })}\n`;
}
