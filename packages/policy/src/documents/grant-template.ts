import { actions, effects } from '@mayfly/protocol';
import { z } from 'zod';
import { boundSubject, documentOf, duration, name, notBuilt, role, subject, text } from './common.ts';

const paramPattern = text(512);

const param = z
  .strictObject({
    pattern: paramPattern.optional(),
    enum: z.array(text(128)).min(1).max(256).optional(),
    integer: z.strictObject({ min: z.int(), max: z.int() }).optional(),
    from: z
      .string()
      .regex(/^workload\.claims\.[A-Za-z0-9_.:/-]{1,128}$/, { error: 'workload.claims.NAME' })
      .optional(),
    example: z.union([text(128), z.int()]),
    description: text(500).optional(),
  })
  .refine(
    (value) => [value.pattern, value.enum, value.integer].filter((one) => one !== undefined).length === 1,
    {
      error: 'exactly one of pattern, enum and integer',
    },
  );

const ttl = z.strictObject({
  default: duration({ min: '1s', max: '12h' }).optional(),
  max: duration({ min: '1s', max: '12h' }).optional(),
});

const mint = z.strictObject({
  provider: z.string().min(1).max(63),
  access: z.string().max(64).optional(),
  server: name.optional(),
  role: z.string().max(2048).optional(),
  serviceAccount: notBuilt,
});

const grant = z.strictObject({
  name,
  tool: z.string().regex(/^[A-Za-z0-9._:-]{1,128}$/, { error: '1-128 characters of A-Z, a-z, 0-9, . _ : -' }),
  resource: text(2048),
  mint,
  actions: z.array(z.enum(actions)).max(actions.length).default([]),
  effects: z.array(z.enum(effects)).max(effects.length).default([]),
  data: z.array(text(128)).max(32).default([]),
  ttl: ttl.optional(),
  endsWithin: duration({ min: '1s', max: '12h' }).optional(),
  budget: z
    .strictObject({
      exchanges: z.int().min(1).max(1_000_000).optional(),
      perMinute: z.int().min(1).max(100_000).optional(),
    })
    .default({}),
  proof: z.literal('none', { error: 'only none is built in this version' }).default('none'),
  approval: notBuilt,
  conditions: notBuilt,
  endsBy: notBuilt,
});

const opener = z.union([z.literal('self'), z.strictObject({ role }), subject]);

/** Which workloads may run which kind of task, with which tools on which resources, how narrowly and for how long. */
export const grantTemplate = documentOf(
  'GrantTemplate',
  z.strictObject({
    description: text(500).optional(),
    mode: z
      .enum(['enforce', 'disabled'], { error: 'enforce or disabled (audit is not built in this version)' })
      .default('enforce'),
    risk: z.enum(['low', 'medium', 'high']).default('medium'),
    workloads: z.array(boundSubject).max(64).default([]),
    openers: z.array(opener).max(64).default(['self']),
    params: z
      .record(z.string().regex(/^[a-z][A-Za-z0-9_]{0,62}$/, { error: 'a parameter name' }), param)
      .default({}),
    task: z
      .strictObject({
        maxDuration: duration({ min: '1s', max: '7d' }).default('1h'),
        lease: duration({ min: '5s', max: '24h' }).default('60s'),
        maxOpen: z.int().min(1).max(100_000).optional(),
        opensPerHour: z.int().min(1).max(1_000_000).optional(),
        ref: notBuilt,
        children: notBuilt,
        reattest: notBuilt,
      })
      .prefault({}),
    defaults: z.strictObject({ ttl: ttl.optional() }).optional(),
    grants: z.array(grant).max(64).default([]),
    deviation: z
      .strictObject({
        heartbeatLost: z.literal('end', { error: 'only end is built in this version' }).optional(),
        refused: notBuilt,
        refusedEffects: notBuilt,
        budgetSpent: notBuilt,
        useOutsideGrant: notBuilt,
        quarantine: notBuilt,
      })
      .optional(),
    delegation: notBuilt,
    signals: notBuilt,
    onChange: notBuilt,
  }),
);
