import { compilePattern } from '@mayfly/core';
import { isStorableText, roles } from '@mayfly/protocol';
import { z } from 'zod';
import { didYouMean } from '../suggest.ts';

const notBuiltStart = 'not built yet in this version: ';

export function notBuiltMessage(feature: string): string {
  return `${notBuiltStart}${feature}`;
}

export function isNotBuilt(message: string): boolean {
  return message.startsWith(notBuiltStart);
}

/** A key of a feature that this version lacks is refused, never ignored. */
export function notBuilt(feature: string) {
  return z.never({ error: notBuiltMessage(feature) }).optional();
}

/** One of the words that are built; the contract's other words are refused as such, anything else with a suggestion. */
export function choice<const Words extends readonly [string, ...string[]]>(
  words: Words,
  later: readonly string[] = [],
) {
  return z.enum(words, {
    error: ({ input }) =>
      typeof input === 'string' && later.includes(input) ? notBuiltMessage(input) : oneOf(input, words),
  });
}

export function oneOf(input: unknown, words: readonly string[]): string {
  if (words.length === 1) return `must be ${words.join()}`;
  return `one of ${words.join(', ')}${typeof input === 'string' ? didYouMean(input, words) : ''}`;
}

export const name = z
  .string()
  .max(63, { error: 'at most 63 characters', abort: true })
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
    error: 'a-z, 0-9 and - only, not starting or ending with -',
  });

/** Text that storage can hold; YAML escapes could smuggle in what PostgreSQL refuses. */
export const text = (max: number) =>
  z.string().min(1).max(max).refine(isStorableText, { error: 'holds NUL or a lone surrogate' });

/** Labels are for people's own bookkeeping: bounded, and they never change a decision. */
const labelsMax = 64;

export const metadata = z.strictObject({
  name,
  owner: text(128).optional(),
  labels: z
    .record(z.string().min(1).max(63), text(256))
    .refine((labels) => Object.keys(labels).length <= labelsMax, { error: `at most ${labelsMax} labels` })
    .optional(),
});

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `60s`, `30m`, `1h`, `7d` in whole seconds; NaN for anything else (strict: no spaces, signs, fractions, zero). */
export function parseSeconds(value: string): number {
  const [, digits = '', unit = ''] = /^([1-9][0-9]{0,7})([smhd])$/.exec(value) ?? [];
  return Number.parseInt(digits, 10) * (units[unit] ?? Number.NaN);
}

const durationWords = 'a duration such as 60s, 30m or 1h';

/** Kept as written, so that a stored document reads as its author wrote it; compiled to seconds. */
export function duration({ min, max }: { min: string; max: string }) {
  return z
    .string({ error: durationWords })
    .regex(/^[1-9][0-9]{0,7}[smhd]$/, { error: durationWords, abort: true })
    .refine((value) => parseSeconds(value) >= parseSeconds(min) && parseSeconds(value) <= parseSeconds(max), {
      error: `between ${min} and ${max}`,
    });
}

/** The one pattern language (contract.md section 4). */
function asPattern(schema: z.ZodString) {
  return schema
    .refine(isStorableText, { error: 'holds NUL or a lone surrogate' })
    .superRefine((value, context) => {
      const compiled = compilePattern(value);
      if ('problem' in compiled) context.addIssue({ code: 'custom', message: compiled.problem });
    });
}

export const pattern = asPattern(z.string().min(1).max(2048));

const claimText = asPattern(
  z
    .string({
      error: ({ input }) =>
        typeof input === 'number' || typeof input === 'boolean'
          ? `claims are text: quote it ("${input}")`
          : 'text expected, or a list of texts',
    })
    .min(1)
    .max(1024),
);

export const claimName = z
  .string()
  .min(1)
  .max(128)
  .refine(isStorableText, { error: 'holds NUL or a lone surrogate' });

/** A subject that matches on more claims than this is a mistake; each is compared at each call. */
const matchClaimsMax = 32;

export const match = z
  .record(claimName, z.union([claimText, z.array(claimText).min(1).max(64)]))
  .refine((value) => Object.keys(value).length > 0, { error: 'an empty match matches nothing: name a claim' })
  .refine((value) => Object.keys(value).length <= matchClaimsMax, {
    error: `at most ${matchClaimsMax} claims`,
  });

export const subject = z.strictObject({ issuer: name, match });
export const boundSubject = z.strictObject({
  issuer: name,
  match,
  bind: z.array(claimName).max(8).optional(),
});

export const role = choice(roles);

/** An absolute URI exactly as it will be compared: the URL parser would forgive spaces that a comparison does not. */
export const uri = z
  .string()
  .max(2048)
  .regex(/^[\x21-\x7e]+$/, { error: 'a URI of visible ASCII characters', abort: true })
  .refine((value) => URL.canParse(value), { error: 'an absolute URI', abort: true })
  .refine((value) => !value.includes('#'), { error: 'no fragment' });

/** Something the broker connects to or trusts: https, or http on loopback (which the broker must allow as well). */
export const webUri = uri.refine((value) => isWebUri(value), {
  error: 'https (http only on loopback), without user name',
});
export const endpoint = webUri.refine((value) => !value.includes('?'), { error: 'no query' });

const loopbackHost = /^(?:localhost|127\.[0-9.]+|\[::1\])$/;

function isWebUri(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, username, password } = new URL(value);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && loopbackHost.test(hostname));
}

/** Where a document kind is made. */
export function documentOf<Kind extends string, Spec extends z.ZodType>(kind: Kind, spec: Spec) {
  return z.strictObject({ apiVersion: z.literal('mayfly/v1'), kind: z.literal(kind), metadata, spec });
}
