import type { IssuerType } from '@mayfly/core';
import { z } from 'zod';
import {
  choice,
  claimName,
  documentOf,
  duration,
  endpoint,
  oneOf,
  pattern,
  text,
  uri,
  webUri,
} from './common.ts';

const algorithms = [
  ...(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512'] as const),
  ...(['PS256', 'PS384', 'PS512', 'EdDSA'] as const),
] as const;

/** Kept of every token of the type, beside what the document names: what templates match and bind. */
export const keptClaims: Readonly<Record<IssuerType, readonly string[]>> = {
  oidc: [],
  kubernetes: [
    ...['namespace', 'serviceaccount.name', 'serviceaccount.uid'],
    ...['pod.name', 'pod.uid', 'node.name', 'node.uid'],
  ],
  spiffe: [],
  github: [
    ...['repository_id', 'repository_owner_id', 'repository', 'repository_owner'],
    ...['job_workflow_ref', 'job_workflow_sha', 'workflow_ref', 'ref', 'ref_type', 'sha', 'environment'],
    ...['event_name', 'runner_environment', 'run_id', 'run_attempt', 'actor_id'],
  ],
  gitlab: [
    ...['project_id', 'namespace_id', 'project_path', 'namespace_path'],
    ...['ref', 'ref_type', 'ref_protected', 'ci_config_ref_uri', 'ci_config_sha', 'sha', 'environment'],
    ...['pipeline_source', 'pipeline_id', 'job_id', 'runner_environment', 'user_id'],
  ],
};

/** Entra gives managed identities tokens of 24 hours and five minutes. */
const maxLifetimeMax = '25h';

/** Who pushes security events about its subjects (docs/events.md); without a name and keys of its own, the issuer itself. */
const events = z.strictObject({
  transmitter: endpoint.optional(),
  audience: uri.optional(),
  algorithms: z.array(choice(algorithms)).min(1).max(algorithms.length).default(['RS256']),
  jwksUri: webUri.optional(),
  jwksFile: text(1024).optional(),
  caFile: text(1024).optional(),
  endsPerMinute: z.int().min(1).max(100_000).default(100),
});

const common = {
  audience: uri.optional(),
  algorithms: z.array(choice(algorithms)).min(1).max(algorithms.length).default(['ES256', 'RS256']),
  subjects: z.array(pattern).max(256).default([]),
  claims: z.array(claimName).max(64).default([]),
  maxLifetime: duration({ min: '1s', max: maxLifetimeMax }).default('1h'),
  people: z.boolean().default(false),
  events: events.optional(),
};
const replay = (usual: 'once' | 'reuse') => choice(['once', 'reuse']).default(usual);
const file = text(1024);
const keys = { jwksUri: webUri.optional(), jwksFile: file.optional(), caFile: file.optional() };

/** A key of another type is refused, never ignored. */
function onlyOf(...types: readonly IssuerType[]) {
  return z.never({ error: `only for type ${types.join(', ')}` }).optional();
}

const notKubernetes = { tokenFile: onlyOf('kubernetes'), tokenReview: onlyOf('kubernetes') };
const notSpiffe = { bundleFile: onlyOf('spiffe'), bundleUrl: onlyOf('spiffe') };
const notForge = { pullRequests: onlyOf('github', 'gitlab') };
const forge = {
  ...common,
  ...keys,
  ...notKubernetes,
  ...notSpiffe,
  replay: replay('once'),
  pullRequests: choice(['refuse', 'accept']).default('refuse'),
};

const byType = [
  z.strictObject({
    type: z.literal('oidc'),
    issuer: endpoint,
    ...common,
    ...keys,
    ...notKubernetes,
    ...notSpiffe,
    ...notForge,
    replay: replay('once'),
  }),
  z.strictObject({
    type: z.literal('kubernetes'),
    issuer: endpoint,
    ...common,
    ...keys,
    tokenFile: file.optional(),
    tokenReview: z
      .strictObject({ server: endpoint, caFile: file.optional(), tokenFile: file.optional() })
      .optional(),
    ...notSpiffe,
    ...notForge,
    replay: replay('reuse'),
  }),
  z.strictObject({
    type: z.literal('spiffe'),
    issuer: z.string().regex(/^spiffe:\/\/[a-z0-9._-]{1,255}$/, {
      error: 'a trust domain such as spiffe://prod.example',
    }),
    ...common,
    jwksUri: onlyOf('oidc', 'kubernetes', 'github', 'gitlab'),
    jwksFile: onlyOf('oidc', 'kubernetes', 'github', 'gitlab'),
    bundleFile: file.optional(),
    bundleUrl: endpoint.optional(),
    caFile: file.optional(),
    ...notKubernetes,
    ...notForge,
    replay: replay('reuse'),
  }),
  z.strictObject({
    type: z.literal('github'),
    // GitHub Enterprise Server and enterprises with a name of their own in `iss` have others.
    issuer: endpoint.default('https://token.actions.githubusercontent.com'),
    ...forge,
  }),
  z.strictObject({ type: z.literal('gitlab'), issuer: endpoint, ...forge }),
] as const;

const types = byType.map(({ shape }) => shape.type.value);

/** Whose assertions are believed, and about whom. */
export const trustedIssuer = documentOf(
  'TrustedIssuer',
  z.discriminatedUnion('type', byType, {
    // Of the union itself the input is the whole spec; of its members' issues it is not asked.
    error: ({ code, input }) =>
      code === 'invalid_union' ? oneOf(Reflect.get(Object(input), 'type'), types) : undefined,
  }),
);
