import type { Action, Reason } from '@mayfly/protocol';
import type { Lineage } from './attenuate.ts';
import { isAuthentic } from './authentic.ts';
import {
  type ActiveSpec,
  activeEndMs,
  activeSpec,
  activeTemplate,
  actorRefusal,
  actorsRefusal,
  ancestorBounds,
  type Bounds,
  type Covering,
  chooseGrant,
  pinnedProof,
  trustRefusal,
  workloadRefusal,
} from './cover.ts';
import { confirmationFor } from './proof.ts';
import type { Grant, Task, TaskStatus } from './task.ts';
import { isFrozen, type PolicySet, type Template } from './template.ts';
import { type Actor, type Confirmation, type Identity, ownerOf } from './workload.ts';

/** What is asked for, once the wire form is parsed. */
export interface Wanted {
  readonly tool: string;
  readonly identifier: string;
  /** Absent: all actions of the grant. */
  readonly actions: readonly Action[] | null;
  readonly ttlSeconds: number | null;
}

export interface DecideInput {
  readonly policy: PolicySet;
  readonly identity: Identity;
  /** Who acts for it, the present one first. */
  readonly actors: readonly Actor[];
  /** The keys that the caller has proven to hold. */
  readonly confirmation: Confirmation;
  readonly task: Task;
  readonly status: Pick<TaskStatus, 'state'>;
  /** The version the task was opened with; undefined when it cannot be proven. */
  readonly pinned: Template | undefined;
  /** The tasks above it, the nearest first. */
  readonly ancestors: readonly Lineage[];
  /** Set when the request names this grant: no other is looked at. */
  readonly grant?: Grant | null;
  readonly wanted: Wanted;
  readonly now: Date;
}

export interface Allowed {
  readonly allowed: true;
  readonly grant: Grant;
  readonly actions: readonly Action[];
  readonly ttlSeconds: number;
  /** Absolute, whole seconds. */
  readonly notAfter: Date;
  readonly limitedBy: 'ttl' | 'task' | 'template';
  /** The narrower of the stored grant's and the active version's. */
  readonly budget: Grant['budget'];
  /** What the credential is bound to, where its form has room for it. */
  readonly confirmation: Confirmation | null;
  readonly checks: readonly string[];
}

export interface Denied {
  readonly allowed: false;
  readonly reason: Reason;
  /** The checks that held, in order; the next one is the one that failed. */
  readonly checks: readonly string[];
  readonly failed: string;
}

type Rule = readonly [name: string, holds: (input: DecideInput) => Reason | null];

/**
 * May this identity use this tool on this one thing for this long? Pure; the statement of `intend` checks again
 * whatever can change meanwhile (state, generation, budget, epoch). An unknown and an error mean deny.
 */
export function decide(input: DecideInput): Allowed | Denied {
  const checks: string[] = [];
  for (const [name, holds] of rules) {
    const reason = holds(input);
    if (reason !== null) return { allowed: false, reason, checks, failed: name };
    checks.push(name);
  }
  const found = chooseGrant(input);
  if ('reason' in found) return { allowed: false, reason: found.reason, checks, failed: 'grant-covers' };
  checks.push(`grant-covers:${found.grant.name}`);
  if (frozenRefusal(input, [found.grant.provider]) !== null)
    return { allowed: false, reason: 'frozen', checks, failed: 'provider-not-frozen' };
  checks.push('provider-not-frozen');
  if (input.pinned === undefined || !isAuthentic(found.grant, input.task, input.pinned))
    return { allowed: false, reason: 'grant_not_authentic', checks, failed: 'grant-authentic' };
  checks.push('grant-authentic');
  const narrowed = activeSpec(input, found);
  if (typeof narrowed === 'string')
    return { allowed: false, reason: narrowed, checks, failed: 'active-version-covers' };
  checks.push('active-version-covers');
  const above = ancestorBounds(input, found);
  if (typeof above === 'string') return { allowed: false, reason: above, checks, failed: 'ancestors-cover' };
  checks.push('ancestors-cover');
  const demanded = [narrowed.spec.proof, ...pinnedProof(input.pinned, found.grant), ...above.proofs];
  const confirmation = confirmationFor(demanded, input.confirmation);
  if (confirmation === undefined)
    return { allowed: false, reason: 'proof_required', checks, failed: 'key-proven' };
  checks.push('key-proven');
  return settleLife(input, { ...found, ...narrowed, above, confirmation }, checks);
}

const rules: readonly Rule[] = [
  ['task-owner', (input) => (ownsTask(input.task, input.pinned, input) ? null : 'task_unknown')],
  ['issuer-trusted', ({ policy, identity }) => trustRefusal(policy, identity)],
  ['actors-trusted', ({ policy, actors }) => actorsRefusal(policy, actors)],
  ['not-frozen', (input) => frozenRefusal(input)],
  ['task-open', ({ status }) => stateRefusal(status.state)],
  ['task-unexpired', ({ task, now }) => (now < task.expiresAt ? null : 'task_ended')],
  ['template-active', ({ policy, task }) => (activeTemplate(policy, task) ? null : 'template_disabled')],
  [
    'workload-matched',
    ({ policy, task, identity }) => workloadRefusal(activeTemplate(policy, task), identity),
  ],
  ['actor-allowed', ({ policy, task, actors }) => actorRefusal(activeTemplate(policy, task), actors)],
  [
    'identifier-plain',
    ({ wanted }) => (isPlainIdentifier(wanted.identifier) ? null : 'identifier_malformed'),
  ],
];

/** A freeze reaches whoever has a part in it: the tasks above, their workloads, and those who act for them. */
function frozenRefusal(
  { policy, task, ancestors, identity, actors }: DecideInput,
  providers: readonly string[] = [],
): Reason | null {
  const tasks = [task, ...ancestors.map((one) => one.task)];
  const parties = [identity, ...actors, ...tasks.map(({ workload }) => workload)];
  const named = {
    templates: tasks.map(({ template }) => template),
    issuers: parties.map(({ issuerName }) => issuerName),
    providers,
  };
  return isFrozen(policy, named) ? 'frozen' : null;
}

/** The owner rule of contract.md section 5: issuer, subject and the bound claims, compared at each call. */
export function ownsTask(
  task: Task,
  pinned: Template | undefined,
  { identity, actors: [actor] }: { readonly identity: Identity; readonly actors: readonly Actor[] },
): boolean {
  return (pinned?.workloads ?? []).some(
    (entry) =>
      entry.issuerName === identity.issuerName && ownerOf(identity, entry.bind, actor) === task.owner,
  );
}

function stateRefusal(state: TaskStatus['state']): Reason | null {
  if (state === 'open') return null;
  return state === 'suspended' ? 'task_suspended' : 'task_ended';
}

// Patterns, variables, control characters and path tricks: a requested identifier names one thing, byte for byte.
const trick = /[*?\\\p{Cc}\p{Cs}]|\$\{|(?:^|\/)\.{1,2}(?:\/|$)/u;

function isPlainIdentifier(identifier: string): boolean {
  return !trick.test(identifier);
}

function narrower(left: number | null, right: number | null): number | null {
  if (left === null || right === null) return left ?? right;
  return Math.min(left, right);
}

function settleLife(
  { wanted, task, now }: DecideInput,
  found: Covering & ActiveSpec & { above: Bounds; confirmation: Confirmation | null },
  checks: readonly string[],
): Allowed | Denied {
  const { grant, actions, spec, template, above, confirmation } = found;
  const maxSeconds = Math.min(grant.ttl.maxSeconds, spec.ttl.maxSeconds, above.ttlSecondsMax);
  if (wanted.ttlSeconds !== null && wanted.ttlSeconds > maxSeconds)
    return { allowed: false, reason: 'ttl_too_long', checks, failed: 'ttl-within-grant' };
  const asked = wanted.ttlSeconds ?? grant.ttl.defaultSeconds;
  const ttlSeconds = Math.min(asked, maxSeconds);
  const nowSeconds = Math.floor(now.getTime() / 1000);
  const endMs = Math.min(task.expiresAt.getTime(), activeEndMs(task, template), above.endMs);
  const taskEnd = Math.floor(endMs / 1000);
  const end = Math.min(nowSeconds + ttlSeconds, taskEnd);
  if (end <= nowSeconds) return { allowed: false, reason: 'task_ended', checks, failed: 'time-left' };
  const limitedBy = end < nowSeconds + ttlSeconds ? 'task' : ttlSeconds < asked ? 'template' : 'ttl';
  return {
    allowed: true,
    grant,
    actions,
    ttlSeconds: end - nowSeconds,
    notAfter: new Date(end * 1000),
    limitedBy,
    budget: {
      exchanges: narrower(grant.budget.exchanges, spec.budget.exchanges),
      perMinute: narrower(grant.budget.perMinute, spec.budget.perMinute),
    },
    confirmation,
    checks: [...checks, 'ttl-within-grant'],
  };
}
