import { actions, deviationActs, effects } from '@mayfly/protocol';
import { z } from 'zod';
import {
  boundSubject,
  choice,
  claimName,
  documentOf,
  duration,
  name,
  notBuilt,
  role,
  subject,
  text,
  uri,
} from './common.ts';

const param = z
  .strictObject({
    pattern: text(512).optional(),
    enum: z.array(text(128)).min(1).max(256).optional(),
    integer: z.strictObject({ min: z.int(), max: z.int() }).optional(),
    from: z
      .string()
      .regex(/^workload\.claims\.[A-Za-z0-9_.:/-]{1,128}$/, { error: 'workload.claims.NAME' })
      .optional(),
    example: z.union([text(128), z.int()], {
      error: 'is required: one value that fits, for people and tests',
    }),
    description: text(500).optional(),
  })
  .superRefine(({ pattern, enum: values, integer }, context) => {
    const bounds = [pattern, values, integer].filter((one) => one !== undefined).length;
    if (bounds === 0)
      context.addIssue({ code: 'custom', message: 'needs a bound: pattern, enum or integer' });
    if (bounds > 1)
      context.addIssue({ code: 'custom', message: 'has two bounds: keep one of pattern, enum, integer' });
  });

const ttl = z.strictObject({
  default: duration({ min: '1s', max: '12h' }).optional(),
  max: duration({ min: '1s', max: '12h' }).optional(),
});

const mint = z.strictObject({
  provider: name,
  access: z.string().min(1).max(64).optional(),
  server: name.optional(),
  role: z.string().min(1).max(2048).optional(),
  kmsKey: z.string().min(1).max(2048).optional(),
  client: z.string().min(1).max(64).optional(),
  audience: uri.optional(),
  serviceAccount: z.string().min(1).max(254).optional(),
  // Only for an access that nobody holds to the resource (docs/adr/0013).
  accept: choice(['unscoped']).optional(),
});

const grant = z.strictObject({
  name,
  tool: z.string().regex(/^[A-Za-z0-9._:-]{1,128}$/, { error: '1-128 characters of A-Z, a-z, 0-9, . _ : -' }),
  resource: text(2048),
  mint,
  actions: z.array(choice(actions)).max(actions.length).default([]),
  effects: z.array(choice(effects)).max(effects.length).default([]),
  data: z.array(text(128)).max(32).default([]),
  ttl: ttl.optional(),
  endsWithin: duration({ min: '1s', max: '12h' }).optional(),
  budget: z
    .strictObject({
      exchanges: z.int().min(1).max(1_000_000).optional(),
      perMinute: z.int().min(1).max(100_000).optional(),
    })
    .prefault({}),
  proof: choice(['none', 'dpop', 'mtls']).default('none'),
  approval: notBuilt('approvals'),
  conditions: notBuilt('conditions'),
  endsBy: notBuilt('a choice of how credentials end'),
});

const opener = z.union([choice(['self']), z.strictObject({ role }), subject]);

/** What a task may open beneath it; a child's grants are a subset of its parent's. */
const children = z.strictObject({
  max: z.int().min(1).max(1000),
  depth: z.int().min(1).max(8).default(1),
  templates: z.array(name).min(1).max(64),
});

/** Who may act for the workloads (RFC 8693 section 1.1); without `actors` only whom a subject token names in `may_act`. */
const delegation = z
  .strictObject({
    actor: choice(['none', 'optional', 'required']).default('none'),
    actors: z.array(subject).max(64).default([]),
  })
  .refine(({ actor, actors }) => actor !== 'none' || actors.length === 0, {
    error: 'actors are named, but actor is none: write optional or required',
  });

const task = z.strictObject({
  maxDuration: duration({ min: '1s', max: '7d' }).default('1h'),
  lease: duration({ min: '5s', max: '24h' }).default('60s'),
  maxOpen: z.int().min(1).max(100_000).optional(),
  opensPerHour: z.int().min(1).max(1_000_000).optional(),
  ref: z.strictObject({ claims: z.array(claimName).min(1).max(8) }).optional(),
  children: children.optional(),
  reattest: notBuilt('repeated attestation'),
});

/** Who may say what it sees of the tasks: a proxy of tools, a reader of cloud logs. */
const signals = z.strictObject({ from: z.array(subject).min(1).max(64) });

/** What becomes of a task that leaves its path (docs/deviation.md). */
const deviation = z.strictObject({
  heartbeatLost: choice(deviationActs).optional(),
  refused: z
    .strictObject({
      after: z.int().min(1).max(100),
      within: duration({ min: '1s', max: '24h' }),
      do: choice(deviationActs),
    })
    .optional(),
  refusedEffects: z.partialRecord(choice(effects), choice(deviationActs)).optional(),
  budgetSpent: choice(deviationActs).optional(),
  useOutsideGrant: choice(deviationActs).optional(),
  quarantine: duration({ min: '1s', max: '24h' }).optional(),
});

/** Which workloads may run which kind of task, with which tools on which resources, how narrowly and for how long. */
export const grantTemplate = documentOf(
  'GrantTemplate',
  z.strictObject({
    description: text(500).optional(),
    mode: choice(['enforce', 'disabled'], ['audit']).default('enforce'),
    risk: choice(['low', 'medium', 'high']).default('medium'),
    workloads: z.array(boundSubject).max(64).default([]),
    openers: z.array(opener).max(64).default(['self']),
    params: z
      .record(
        z.string().regex(/^[a-z][A-Za-z0-9_]{0,62}$/, {
          error: 'a parameter name: a letter, then letters, digits, _',
        }),
        param,
      )
      .default({}),
    task: task.prefault({}),
    defaults: z.strictObject({ ttl: ttl.optional() }).optional(),
    grants: z.array(grant).max(64).default([]),
    deviation: deviation.optional(),
    reattest: notBuilt('repeated attestation'),
    delegation: delegation.prefault({}),
    signals: signals.optional(),
    onChange: choice(['end', 'keep']).default('keep'),
  }),
);
