import { z } from 'zod';
import { documentOf, pattern, role, subject } from './common.ts';

/** Who holds which role, and where it reaches. */
export const roleBinding = documentOf(
  'RoleBinding',
  z.strictObject({
    roles: z.array(role).max(7).default([]),
    subjects: z.array(subject).max(256).default([]),
    scope: z
      .strictObject({
        templates: z.array(pattern).max(256).optional(),
        providers: z.array(pattern).max(256).optional(),
      })
      .optional(),
  }),
);
