import { z } from 'zod';
import {
  choice,
  claimName,
  documentOf,
  duration,
  endpoint,
  notBuilt,
  pattern,
  text,
  uri,
  webUri,
} from './common.ts';

const algorithms = ['ES256', 'ES384', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'] as const;

/** Whose assertions are believed, and about whom. */
export const trustedIssuer = documentOf(
  'TrustedIssuer',
  z.strictObject({
    type: choice(['oidc'], ['kubernetes', 'spiffe', 'github', 'gitlab']),
    issuer: endpoint,
    audience: uri.optional(),
    jwksUri: webUri.optional(),
    jwksFile: text(1024).optional(),
    algorithms: z.array(choice(algorithms)).min(1).max(9).default(['ES256', 'RS256']),
    subjects: z.array(pattern).max(256).default([]),
    claims: z.array(claimName).max(64).default([]),
    maxLifetime: duration({ min: '1s', max: '24h' }).default('1h'),
    replay: choice(['once', 'reuse']).default('once'),
    people: z.boolean().default(false),
    bundleFile: notBuilt('SPIFFE bundles'),
    bundleUrl: notBuilt('SPIFFE bundles'),
    caFile: notBuilt('private certificate authorities of issuers'),
    tokenReview: notBuilt('Kubernetes token review'),
    events: notBuilt('security events of issuers'),
  }),
);
