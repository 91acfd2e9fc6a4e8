import { z } from 'zod';
import { documentOf, duration, notBuilt, pattern, text, uri } from './common.ts';

const algorithms = ['ES256', 'ES384', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'] as const;

/** Whose assertions are believed, and about whom. */
export const trustedIssuer = documentOf(
  'TrustedIssuer',
  z.strictObject({
    type: z.literal('oidc', { error: 'this version knows oidc only' }),
    issuer: uri,
    audience: text(2048).optional(),
    jwksUri: uri.optional(),
    jwksFile: text(1024).optional(),
    algorithms: z.array(z.enum(algorithms)).min(1).max(9).default(['ES256', 'RS256']),
    subjects: z.array(pattern).max(256).default([]),
    claims: z.array(text(128)).max(64).default([]),
    maxLifetime: duration({ min: '1s', max: '24h' }).default('1h'),
    replay: z.enum(['once', 'reuse']).default('once'),
    people: z.boolean().default(false),
    bundleFile: notBuilt,
    bundleUrl: notBuilt,
    caFile: notBuilt,
    tokenReview: notBuilt,
    events: notBuilt,
  }),
);
