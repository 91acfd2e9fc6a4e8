import type { SignalBody, Verdict } from '@mayfly/protocol';
import { auditEvent } from './audit-event.ts';
import { activeTemplate, chooseGrant } from './cover.ts';
import {
  atOnce,
  type DeviationAct,
  type DeviationLimit,
  limitsOf,
  quarantineOf,
  retrySeconds,
} from './deviation.ts';
import { Refusal } from './errors.ts';
import type { LifecyclePorts } from './lifecycle.ts';
import type { Ledger, TaskFound } from './ports.ts';
import { isClosed, type Task } from './task.ts';
import type { PolicySet, Template } from './template.ts';
import { type Identity, matchesSubject } from './workload.ts';

export interface SignalPorts extends LifecyclePorts {
  readonly ledger: Pick<Ledger, 'signal'>;
  digest(value: unknown): string;
}

export interface SignalSource {
  /** `ISSUERNAME/SUBJECT`. */
  readonly name: string;
  /** The task speaks of itself: it may tighten, and proves nothing by what is fine. */
  readonly isOwner: boolean;
}

export interface Signalled {
  readonly verdict: Verdict;
  readonly act: DeviationAct | null;
  readonly status: TaskFound['status'];
}

/** Is this one of the sources that the template in force names? Asked of that one alone: a source that is gone says nothing. */
export function isSource(policy: PolicySet, task: Task, identity: Identity): boolean {
  return activeTemplate(policy, task)?.sources.some((entry) => matchesSubject(entry, identity)) ?? false;
}

/**
 * Records what was seen of a task, and does about it what the template says; durable when it answers. The verdict tells
 * the source whether the call it holds may go on. Refusals: task_unknown, task_ended.
 */
export async function signalTask(
  { task, status }: TaskFound,
  { signal, source }: { readonly signal: SignalBody; readonly source: SignalSource },
  ports: SignalPorts,
): Promise<Signalled> {
  if (isClosed(status.state)) throw new Refusal('task_ended');
  const policy = await ports.policies.current();
  const pinned = await ports.policies.version(task.template, task.templateVersion);
  const versions = [pinned, policy.templates.get(task.template)].filter((one) => one !== undefined);
  const seen = judge(task, signal);
  const context = { newId: ports.newId, now: ports.now() };
  const audit = auditEvent(context, {
    type: 'task.signalled',
    actor: source.name,
    taskId: task.id,
    body: { ...signal, verdict: seen.verdict, byOwner: source.isOwner },
  });
  const limits = limitsFor(seen, versions);
  const sighting = {
    ...{ taskId: task.id, rule: seen.rule, evidence: audit.id, limits, retrySeconds },
    what: ports.digest([seen.rule, source.name, { ...signal }]),
    // A suspension that was asked for is no deviation.
    quarantineSeconds: seen.verdict === 'deviation' ? quarantineOf(versions) : null,
    audit: auditEvent(context, { type: 'task.deviated', actor: source.name, taskId: task.id }),
  };
  const act = await ports.ledger.signal({ audit, sighting: limits.length === 0 ? null : sighting });
  const after = await ports.tasks.find(task.id, { fresh: true });
  if (after === undefined) throw new Refusal('task_unknown');
  return { verdict: verdictOf(seen.verdict, after.status.state), act, status: after.status };
}

interface Seen {
  readonly verdict: Verdict;
  readonly rule: 'useOutsideGrant' | 'signal';
}

/** A call of a tool is judged here, by what the task was opened with; of an observation the source is the judge. */
function judge(task: Task, signal: SignalBody): Seen {
  if ('verdict' in signal) return { verdict: signal.verdict, rule: 'signal' };
  const { tool, identifier, actions = null } = signal;
  const covering = chooseGrant({ task, wanted: { tool, identifier, actions, ttlSeconds: null } });
  return { verdict: 'reason' in covering ? 'deviation' : 'ok', rule: 'useOutsideGrant' };
}

/** A deviation of which the template says nothing is noted; a suspension is what the source asks for. */
function limitsFor({ verdict, rule }: Seen, versions: readonly Template[]): readonly DeviationLimit[] {
  switch (verdict) {
    case 'ok':
      return [];
    case 'suspended':
      return atOnce('suspend');
    case 'deviation': {
      const limits = versions.flatMap((version) => limitsOf(version, rule));
      return limits.length === 0 ? atOnce('note') : limits;
    }
    default:
      return verdict satisfies never;
  }
}

function verdictOf(seen: Verdict, state: TaskFound['status']['state']): Verdict {
  if (seen === 'deviation' || isClosed(state)) return 'deviation';
  return state === 'suspended' ? 'suspended' : seen;
}
