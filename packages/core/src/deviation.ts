import { countsAsDeviation, type DeviationAct, deviationActs, type Effect } from '@mayfly/protocol';
import { callerName } from './attest.ts';
import { auditEvent } from './audit-event.ts';
import { Refusal } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import type { AuditEvent } from './ports.ts';
import type { Trail } from './record.ts';
import type { Template } from './template.ts';

export type DeviationRule = 'refused' | 'budgetSpent' | 'useOutsideGrant' | 'signal';

/** `after` sights within so many seconds do this. */
export interface DeviationLimit {
  readonly after: number;
  readonly withinSeconds: number;
  readonly act: DeviationAct;
}

/** What a template says of tasks that leave their declared path; null: nothing. */
export interface DeviationRules {
  readonly refused: DeviationLimit | null;
  /** What one refused request for a tool of such an effect does. */
  readonly refusedEffects: Readonly<Partial<Record<Effect, DeviationAct>>>;
  /** What the reaper does when a lease has lapsed. */
  readonly heartbeatLost: DeviationAct;
  readonly budgetSpent: DeviationAct | null;
  /** What a source says that the task did, or was seen to be. */
  readonly useOutsideGrant: DeviationAct | null;
  /** So long nothing opens or mints for the same workload under the template, once a task was suspended or ended. */
  readonly quarantineSeconds: number | null;
}

export const noDeviationRules: DeviationRules = {
  refused: null,
  refusedEffects: {},
  heartbeatLost: 'end',
  budgetSpent: null,
  useOutsideGrant: null,
  quarantineSeconds: null,
};

/** One sight of a live task off its path. The statement that records it counts, and acts when a limit is reached. */
export interface Sighting {
  readonly taskId: string;
  readonly rule: DeviationRule;
  /** Issuance or event that is the evidence. */
  readonly evidence: string;
  /** SHA-256 hex of what was seen: the same again within `retrySeconds` is a retry, and not counted. */
  readonly what: string;
  readonly retrySeconds: number;
  /** Those of the version that the task was opened with, and of the one in force: the sharpest that is reached acts. */
  readonly limits: readonly DeviationLimit[];
  readonly quarantineSeconds: number | null;
  /** `task.deviated`; the store writes its body, since only it knows the evidence. */
  readonly audit: AuditEvent;
}

/** Clients and their libraries repeat what was refused with growing pauses; a minute covers those that wait for a person. */
export const retrySeconds = 60;
/** A spent budget is told once a day for each grant. */
const spentSeconds = 86_400;

/** What this refusal means for the task concerned; null when it is no deviation, or its template says nothing of it. */
export async function sightingOf(
  error: unknown,
  trail: Trail,
  ports: Pick<ExchangePorts, 'policies' | 'newId' | 'clock' | 'digest'>,
): Promise<Sighting | null> {
  const { caller, concerned: task } = trail;
  if (!(error instanceof Refusal) || caller === undefined || task === undefined) return null;
  const seen = ruleOf(error, trail);
  if (seen === null) return null;
  const pinned = await ports.policies.version(task.template, task.templateVersion);
  const versions = [pinned, trail.policy.templates.get(task.template)].filter((one) => one !== undefined);
  const limits = versions.flatMap((version) => limitsOf(version, seen.rule));
  if (seen.rule === 'refused') {
    const effects = effectsOf(trail.request.detail?.tool, [...versions, ...trail.policy.templates.values()]);
    limits.push(...versions.flatMap((version) => effectLimits(version, effects)));
  }
  if (limits.length === 0) return null;
  const draft = { type: 'task.deviated', actor: callerName(caller), taskId: task.id };
  return {
    ...{ taskId: task.id, rule: seen.rule, evidence: trail.issuanceId, limits },
    what: ports.digest([seen.rule, ...seen.what]),
    retrySeconds: seen.rule === 'refused' ? retrySeconds : spentSeconds,
    quarantineSeconds: quarantineOf(versions),
    audit: auditEvent({ newId: ports.newId, now: ports.clock.now() }, draft),
  };
}

/** What a tool does, by every template that grants it: what a task was not given is known by those that are. */
function effectsOf(tool: string | undefined, templates: readonly Template[]): ReadonlySet<Effect> {
  const grants = templates.flatMap((template) => template.grants).filter((grant) => grant.tool === tool);
  return new Set(grants.flatMap((grant) => grant.effects));
}

function effectLimits({ deviation }: Template, effects: ReadonlySet<Effect>): readonly DeviationLimit[] {
  return [...effects].flatMap((effect) => atOnce(deviation.refusedEffects[effect] ?? null));
}

/** Which rule a refusal is seen under, and what of it makes two of them the same. */
function ruleOf(
  { reason }: Refusal,
  trail: Trail,
): { readonly rule: DeviationRule; readonly what: readonly unknown[] } | null {
  if (reason === 'budget_spent') return { rule: 'budgetSpent', what: [trail.grant?.id ?? null] };
  if (!countsAsDeviation(reason) || !trail.isOffItsPath) return null;
  const { detail } = trail.request;
  const task = typeof detail?.task === 'object' ? detail.task : null;
  const asked = [detail?.tool ?? null, detail?.identifier ?? null, detail?.actions ?? null];
  return { rule: 'refused', what: [reason, ...asked, task] };
}

export function limitsOf({ deviation }: Template, rule: DeviationRule): readonly DeviationLimit[] {
  switch (rule) {
    case 'refused':
      return deviation.refused === null ? [] : [deviation.refused];
    case 'budgetSpent':
      return atOnce(deviation.budgetSpent);
    case 'useOutsideGrant':
    case 'signal':
      return atOnce(deviation.useOutsideGrant);
    default:
      return rule satisfies never;
  }
}

export function atOnce(act: DeviationAct | null): readonly DeviationLimit[] {
  return act === null ? [] : [{ after: 1, withinSeconds: spentSeconds, act }];
}

export function quarantineOf(versions: readonly Template[]): number | null {
  const seconds = versions.map(({ deviation }) => deviation.quarantineSeconds ?? 0);
  return Math.max(0, ...seconds) || null;
}

/** The sharper of two. */
export function isSharper(one: DeviationAct, other: DeviationAct): boolean {
  return deviationActs.indexOf(one) > deviationActs.indexOf(other);
}

export type { DeviationAct };
