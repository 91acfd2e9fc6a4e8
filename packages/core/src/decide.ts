import { type Action, bareId, type Reason } from '@mayfly/protocol';
import { acceptsParams, isAuthentic, sameValue } from './authentic.ts';
import { compilePattern } from './pattern.ts';
import type { Grant, Task, TaskStatus } from './task.ts';
import type { GrantSpec, PolicySet, Template } from './template.ts';
import { resolveVariables } from './variables.ts';
import { type Identity, matchesSubject, ownerOf } from './workload.ts';

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
  readonly task: Task;
  readonly status: Pick<TaskStatus, 'state'>;
  /** The version the task was opened with; undefined when it cannot be proven. */
  readonly pinned: Template | undefined;
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
  if (input.pinned === undefined || !isAuthentic(found.grant, input.task, input.pinned))
    return { allowed: false, reason: 'grant_not_authentic', checks, failed: 'grant-authentic' };
  checks.push('grant-authentic');
  const narrowed = activeSpec(input, found);
  if (typeof narrowed === 'string')
    return { allowed: false, reason: narrowed, checks, failed: 'active-version-covers' };
  checks.push('active-version-covers');
  return settleLife(input, { ...found, ...narrowed }, checks);
}

const rules: readonly Rule[] = [
  ['task-owner', ({ task, pinned, identity }) => (ownsTask(task, pinned, identity) ? null : 'task_unknown')],
  ['issuer-trusted', ({ policy, identity }) => (isTrusted(policy, identity) ? null : 'workload_not_matched')],
  ['not-frozen', ({ policy }) => (policy.frozen === null ? null : 'frozen')],
  ['task-open', ({ status }) => stateRefusal(status.state)],
  ['task-unexpired', ({ task, now }) => (now < task.expiresAt ? null : 'task_ended')],
  ['template-active', ({ policy, task }) => (activeTemplate(policy, task) ? null : 'template_disabled')],
  [
    'workload-matched',
    ({ policy, task, identity }) => workloadRefusal(activeTemplate(policy, task), identity),
  ],
  [
    'identifier-plain',
    ({ wanted }) => (isPlainIdentifier(wanted.identifier) ? null : 'identifier_malformed'),
  ],
];

/** The owner rule of contract.md section 5: issuer, subject and the bound claims, compared at each call. */
export function ownsTask(task: Task, pinned: Template | undefined, identity: Identity): boolean {
  return (pinned?.workloads ?? []).some(
    (entry) => entry.issuerName === identity.issuerName && ownerOf(identity, entry.bind) === task.owner,
  );
}

function isTrusted(policy: PolicySet, identity: Identity): boolean {
  return [...policy.issuers.values()].some(
    (issuer) =>
      issuer.name === identity.issuerName &&
      issuer.subjects.some((pattern) => pattern.matches(identity.subject)),
  );
}

function stateRefusal(state: TaskStatus['state']): Reason | null {
  if (state === 'open') return null;
  return state === 'suspended' ? 'task_suspended' : 'task_ended';
}

function activeTemplate(policy: PolicySet, task: Task): Template | undefined {
  const active = policy.templates.get(task.template);
  return active?.mode === 'enforce' ? active : undefined;
}

function workloadRefusal(active: Template | undefined, identity: Identity): Reason | null {
  return active?.workloads.some((entry) => matchesSubject(entry, identity)) ? null : 'workload_not_matched';
}

// Patterns, variables, control characters and path tricks: a requested identifier names one thing, byte for byte.
const trick = /[*?\\\p{Cc}\p{Cs}]|\$\{|(?:^|\/)\.{1,2}(?:\/|$)/u;

export function isPlainIdentifier(identifier: string): boolean {
  return !trick.test(identifier);
}

function covers(pattern: string, identifier: string): boolean {
  const compiled = compilePattern(pattern);
  return 'matches' in compiled && compiled.matches(identifier);
}

function chooseGrant({
  task,
  grant: named = null,
  wanted,
}: DecideInput): { grant: Grant; actions: readonly Action[] } | { reason: Reason } {
  const usable = named === null ? task.grants : task.grants.filter(({ id }) => id === named.id);
  const ofTool = usable.filter((grant) => grant.tool === wanted.tool);
  if (ofTool.length === 0) return { reason: 'tool_not_granted' };
  const ofResource = ofTool.filter((grant) => covers(grant.resource, wanted.identifier));
  if (ofResource.length === 0) return { reason: 'resource_outside_grant' };
  const grant = ofResource.find(({ actions }) =>
    (wanted.actions ?? actions).every((one) => actions.includes(one)),
  );
  if (grant === undefined) return { reason: 'action_outside_grant' };
  return { grant, actions: [...new Set(wanted.actions ?? grant.actions)] };
}

/** What the version active now gives to the same thing, or why it gives nothing: narrowing reaches open tasks. */
function activeSpec(
  input: DecideInput,
  { grant, actions }: { grant: Grant; actions: readonly Action[] },
): { spec: GrantSpec; template: Template } | Reason {
  const { task, wanted, policy } = input;
  const template = activeTemplate(policy, task);
  if (template === undefined) return 'template_disabled';
  if (!acceptsParams(template, task)) return 'params_invalid';
  const values = { params: task.params, claims: task.workload.claims, taskId: bareId(task.id) };
  const ofTool = template.grants.filter((spec) => spec.tool === wanted.tool && opensAlike(spec, grant));
  if (ofTool.length === 0) return 'tool_not_granted';
  const reach = (spec: GrantSpec) => covers(resolveVariables(spec.resource, values) ?? '', wanted.identifier);
  const ofResource = ofTool.filter(reach);
  if (ofResource.length === 0) return 'resource_outside_grant';
  const spec = ofResource.find((one) => actions.every((action) => one.actions.includes(action)));
  return spec === undefined ? 'action_outside_grant' : { spec, template };
}

/** Through the same provider, access and role or server: another size or ceiling is another grant. */
function opensAlike(spec: GrantSpec, { provider, access, mint }: Grant): boolean {
  return spec.provider === provider && spec.access === access && sameValue(spec.mint, mint);
}

function narrower(left: number | null, right: number | null): number | null {
  if (left === null || right === null) return left ?? right;
  return Math.min(left, right);
}

function settleLife(
  { wanted, task, now }: DecideInput,
  found: { grant: Grant; actions: readonly Action[]; spec: GrantSpec; template: Template },
  checks: readonly string[],
): Allowed | Denied {
  const { grant, actions, spec, template } = found;
  const maxSeconds = Math.min(grant.ttl.maxSeconds, spec.ttl.maxSeconds);
  if (wanted.ttlSeconds !== null && wanted.ttlSeconds > maxSeconds)
    return { allowed: false, reason: 'ttl_too_long', checks, failed: 'ttl-within-grant' };
  const asked = wanted.ttlSeconds ?? grant.ttl.defaultSeconds;
  const ttlSeconds = Math.min(asked, maxSeconds);
  const nowSeconds = Math.floor(now.getTime() / 1000);
  const activeEndMs = task.openedAt.getTime() + template.task.maxDurationSeconds * 1000;
  const taskEnd = Math.floor(Math.min(task.expiresAt.getTime(), activeEndMs) / 1000);
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
    checks: [...checks, 'ttl-within-grant'],
  };
}
