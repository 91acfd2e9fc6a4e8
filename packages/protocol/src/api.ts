import { z } from 'zod';
import { boundedText, taskParams } from './authorization-details.ts';
import { actions } from './token-types.ts';

/** Bodies of /v1 (contract.md section 5). Unknown keys are refused everywhere. */
export const openTaskBody = z.strictObject({
  template: boundedText(128),
  params: taskParams.optional(),
  objective: boundedText(500).optional(),
  ref: boundedText(128).optional(),
  /** The task beneath which it is opened; with a task token, its own. */
  parent: boundedText(64).optional(),
  for: z.strictObject({ issuer: boundedText(128), subject: boundedText(1024) }).optional(),
});
export type OpenTaskBody = z.infer<typeof openTaskBody>;

export const taskOutcomes = ['completed', 'failed', 'cancelled'] as const;
export const endTaskBody = z.strictObject({ outcome: z.enum(taskOutcomes).default('completed') });
/** Exactly one name: what is to be ended. */
export const revocationBody = z
  .strictObject({
    task: boundedText(128).optional(),
    grant: boundedText(128).optional(),
    workload: boundedText(512).optional(),
    template: boundedText(128).optional(),
    issuer: boundedText(128).optional(),
    provider: boundedText(128).optional(),
    reason: boundedText(500),
    dryRun: z.boolean().default(false),
  })
  .refine(
    ({ reason: _, dryRun: __, ...names }) =>
      Object.values(names).filter((one) => one !== undefined).length === 1,
  );
/** Everything, or what one name covers. */
export const freezeBody = z
  .strictObject({
    template: boundedText(128).optional(),
    provider: boundedText(128).optional(),
    issuer: boundedText(128).optional(),
    reason: boundedText(500),
  })
  .refine(({ reason: _, ...names }) => Object.values(names).filter((one) => one !== undefined).length <= 1);
export const verdicts = ['ok', 'suspended', 'deviation'] as const;
export type Verdict = (typeof verdicts)[number];
/** What somebody sees of a task: a call of a tool, judged by the task's grants, or an observation with its verdict. */
export const signalBody = z.union([
  z.strictObject({
    tool: boundedText(128),
    identifier: boundedText(2048),
    actions: z.array(z.enum(actions)).min(1).max(actions.length).optional(),
    note: boundedText(500).optional(),
  }),
  z.strictObject({ verdict: z.enum(verdicts), note: boundedText(500) }),
]);
export type SignalBody = z.infer<typeof signalBody>;
export const optionalReasonBody = z.strictObject({ reason: boundedText(500).optional() });

/** What stands in front of the end of a task's credentials; seconds and counts, times in RFC 3339 UTC. */
export interface EndingView {
  readonly total: number;
  readonly confirmed: number;
  readonly pending: number;
  readonly byExpiry: number;
  readonly worstCaseAt: string | null;
}

export interface GrantView {
  readonly id: string;
  readonly name: string;
  readonly tool: string;
  readonly resource: string;
  readonly actions: readonly string[];
  readonly ttl: { readonly default: number; readonly max: number };
  readonly approval: null;
  readonly endsWithin: number | null;
}

export interface TaskView {
  readonly id: string;
  readonly state: string;
  readonly stateReason: string | null;
  readonly template: string;
  readonly templateVersion: number;
  readonly workload: string;
  /** Who acts for the workload, the present one first. */
  readonly actors: readonly string[];
  readonly parent: string | null;
  readonly ref: string | null;
  readonly params: Readonly<Record<string, string>>;
  readonly objective: string | null;
  readonly outcome: string | null;
  readonly grants: readonly GrantView[];
  readonly openedAt: string;
  readonly leaseExpiresAt: string;
  readonly expiresAt: string;
  readonly endedAt: string | null;
  /** Shown of one task: until when nothing opens or mints for its workload under its template. */
  readonly quarantinedUntil?: string | null;
}

/** The `issuance` member of a token response. */
export interface IssuanceView {
  readonly id: string;
  readonly task: string;
  readonly grant: string;
  readonly expires_at: string;
  readonly limited_by: 'ttl' | 'task' | 'template' | 'session';
  readonly ends: {
    readonly by: string;
    readonly worst_case_seconds: number;
    readonly typical_seconds?: number;
  };
  readonly enforcement: { readonly resource: string; readonly actions: string; readonly ttl: string };
}

/** RFC 9457 problem of /v1. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance?: string;
  readonly reason: string;
  readonly errors?: readonly string[];
}
