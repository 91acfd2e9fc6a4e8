import { z } from 'zod';
import { choice, documentOf, subject, uri } from './common.ts';

/** A tool server that takes tool tokens. */
export const resourceServer = documentOf(
  'ResourceServer',
  z.strictObject({
    audience: uri,
    verification: choice(['introspect', 'offline']).default('introspect'),
    signingAlgorithm: choice(['ES256', 'RS256']).default('ES256'),
    cacheSeconds: z.int().min(0).max(300).default(5),
    subjects: z.array(subject).max(64).default([]),
  }),
);
