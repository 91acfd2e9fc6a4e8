import { compilePattern } from '@mayfly/core';
import { isStorableText, roles } from '@mayfly/protocol';
import { z } from 'zod';

/** A key of a feature that this version lacks is refused, never ignored. */
export const notBuilt = z.never({ error: 'not built yet in this version; leave it out' }).optional();

const nameForm = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const name = z
  .string()
  .regex(nameForm, { error: '1-63 characters of a-z, 0-9 and -, not starting or ending with -' });

/** Text that storage can hold; YAML escapes could smuggle in what PostgreSQL refuses. */
export const text = (max: number) =>
  z.string().min(1).max(max).refine(isStorableText, { error: 'holds NUL or a lone surrogate' });

export const metadata = z.strictObject({
  name,
  owner: text(128).optional(),
  labels: z.record(z.string().max(63), text(256)).optional(),
});

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `60s`, `30m`, `1h`: strict, whole seconds. */
export function parseSeconds(value: string): number {
  const [, digits = '', unit = ''] = /^([1-9][0-9]{0,7})([smhd])$/.exec(value) ?? [];
  return Number.parseInt(digits, 10) * (units[unit] ?? Number.NaN);
}

export function duration({ min, max }: { min: string; max: string }) {
  return z
    .string({ error: 'a duration such as 60s, 30m or 1h' })
    .regex(/^[1-9][0-9]{0,7}[smhd]$/, { error: 'a duration such as 60s, 30m or 1h' })
    .refine((value) => parseSeconds(value) >= parseSeconds(min) && parseSeconds(value) <= parseSeconds(max), {
      error: `between ${min} and ${max}`,
    });
}

export const pattern = text(2048).superRefine((value, context) => {
  const compiled = compilePattern(value);
  if ('problem' in compiled) context.addIssue({ code: 'custom', message: compiled.problem });
});

const claimText = z
  .string({
    error: ({ input }) =>
      typeof input === 'number' || typeof input === 'boolean'
        ? `claims are text: quote it ("${input}")`
        : 'text expected',
  })
  .min(1)
  .max(1024)
  .superRefine((value, context) => {
    const compiled = compilePattern(value);
    if ('problem' in compiled) context.addIssue({ code: 'custom', message: compiled.problem });
  });

export const match = z
  .record(z.string().min(1).max(128), z.union([claimText, z.array(claimText).min(1).max(64)]))
  .refine((value) => Object.keys(value).length > 0, { error: 'an empty match matches nothing' });

export const subject = z.strictObject({ issuer: name, match });
export const boundSubject = z.strictObject({
  issuer: name,
  match,
  bind: z.array(text(128)).max(8).optional(),
});

export const role = z.enum(roles);

export const uri = z
  .url({ error: 'an absolute URI' })
  .max(2048)
  .refine((value) => !value.includes('#'), { error: 'no fragment' });

/** Where a document kind is made. */
export function documentOf<Kind extends string, Spec extends z.ZodType>(kind: Kind, spec: Spec) {
  return z.strictObject({ apiVersion: z.literal('mayfly/v1'), kind: z.literal(kind), metadata, spec });
}
