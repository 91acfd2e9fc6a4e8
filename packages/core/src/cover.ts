import { type Action, bareId, type Reason } from '@mayfly/protocol';
import type { Lineage } from './attenuate.ts';
import { acceptsParams, isAuthentic, sameValue } from './authentic.ts';
import type { DecideInput, Wanted } from './decide.ts';
import { delegationRefusal, isTrusted } from './delegate.ts';
import { compilePattern } from './pattern.ts';
import type { Grant, Task } from './task.ts';
import type { GrantSpec, PolicySet, Template } from './template.ts';
import { resolveVariables } from './variables.ts';
import { type Actor, type Identity, matchesSubject } from './workload.ts';

export interface Covering {
  readonly grant: Grant;
  readonly actions: readonly Action[];
}

export function chooseGrant({
  task,
  grant: named = null,
  wanted,
}: Pick<DecideInput, 'task' | 'grant' | 'wanted'>): Covering | { reason: Reason } {
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

export interface ActiveSpec {
  readonly spec: GrantSpec;
  readonly template: Template;
}

/** What the version active now gives to the same thing, or why it gives nothing: narrowing reaches open tasks. */
export function activeSpec(
  input: Pick<DecideInput, 'task' | 'wanted' | 'policy'>,
  { grant, actions }: Covering,
): ActiveSpec | Reason {
  const { task, wanted, policy } = input;
  const template = activeTemplate(policy, task);
  if (template === undefined) return 'template_disabled';
  if (!acceptsParams(template, task)) return 'params_invalid';
  const values = { params: task.params, claims: task.workload.claims, taskId: bareId(task.id) };
  const ofTool = template.grants.filter((spec) => spec.tool === wanted.tool && sameMeans(spec, grant));
  if (ofTool.length === 0) return 'tool_not_granted';
  const reach = (spec: GrantSpec) => covers(resolveVariables(spec.resource, values) ?? '', wanted.identifier);
  const ofResource = ofTool.filter(reach);
  if (ofResource.length === 0) return 'resource_outside_grant';
  const spec = ofResource.find((one) => actions.every((action) => one.actions.includes(action)));
  return spec === undefined ? 'action_outside_grant' : { spec, template };
}

/** What the tasks above leave: seconds of one credential, the end of them all, and what they demand of a key. */
export interface Bounds {
  readonly ttlSecondsMax: number;
  readonly endMs: number;
  readonly proofs: readonly GrantSpec['proof'][];
}

/** What a task above may not, nothing beneath it may: each must still cover the same thing, as of now (invariant I6). */
export function ancestorBounds(
  { task: own, ancestors, wanted, policy, now }: DecideInput,
  covering: Covering,
): Bounds | Reason {
  let [ttlSecondsMax, endMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const proofs: GrantSpec['proof'][] = [];
  let beneath = own;
  for (const { task, pinned } of ancestors) {
    const grant = outerGrant(task, wanted, covering);
    if (grant === undefined || now >= task.expiresAt) return 'child_exceeds_parent';
    if (pinned === undefined || !isAuthentic(grant, task, pinned)) return 'grant_not_authentic';
    const active = activeSpec({ task, wanted, policy }, { grant, actions: covering.actions });
    if (typeof active === 'string') return active;
    const party = { identity: task.workload, actors: task.actors };
    const refused = standingRefusal(policy, task, party) ?? childRefusal(policy, task, beneath);
    if (refused !== null) return refused;
    const { template, spec } = active;
    beneath = task;
    proofs.push(spec.proof, ...pinnedProof(pinned, grant));
    ttlSecondsMax = Math.min(ttlSecondsMax, grant.ttl.maxSeconds, spec.ttl.maxSeconds);
    endMs = Math.min(endMs, task.expiresAt.getTime(), activeEndMs(task, template));
  }
  return { ttlSecondsMax, endMs, proofs };
}

/** What the version that the task was opened with demands; the one in force may demand more, never less. */
export function pinnedProof(pinned: Template | undefined, { name }: Grant): readonly GrantSpec['proof'][] {
  return pinned?.grants.filter((spec) => spec.name === name).map(({ proof }) => proof) ?? [];
}

function outerGrant(task: Task, wanted: Wanted, { grant, actions }: Covering): Grant | undefined {
  return task.grants.find(
    (one) =>
      one.tool === wanted.tool &&
      sameMeans(one, grant) &&
      covers(one.resource, wanted.identifier) &&
      actions.every((action) => one.actions.includes(action)),
  );
}

/**
 * Does this party still stand to the task as it must to be given or renewed anything: is its issuer trusted with it, is
 * the template in force, does that name it and whoever acts for it? Null when so.
 */
export function standingRefusal(
  policy: PolicySet,
  task: Task,
  { identity, actors }: { readonly identity: Identity; readonly actors: readonly Actor[] },
): Reason | null {
  const active = activeTemplate(policy, task);
  if (active === undefined) return 'template_disabled';
  return (
    trustRefusal(policy, identity) ??
    actorsRefusal(policy, actors) ??
    workloadRefusal(active, identity) ??
    actorRefusal(active, actors)
  );
}

/**
 * The same for a whole lineage, the task itself first: nothing beneath goes on where something above may not, or would
 * not be opened beneath it any more.
 */
export function lineageRefusal(
  policy: PolicySet,
  lineage: readonly Lineage[],
  caller: { readonly identity: Identity; readonly actors: readonly Actor[] },
): Reason | null {
  for (const [index, { task }] of lineage.entries()) {
    const party = index === 0 ? caller : { identity: task.workload, actors: task.actors };
    const refused =
      standingRefusal(policy, task, party) ?? childRefusal(policy, task, lineage[index - 1]?.task);
    if (refused !== null) return refused;
  }
  return null;
}

function childRefusal(policy: PolicySet, parent: Task, child: Task | undefined): Reason | null {
  const rule = activeTemplate(policy, parent)?.task.children;
  return child === undefined || rule?.templates.includes(child.template) ? null : 'child_not_allowed';
}

/** When a task of this template ends at the latest, as of the version in force. */
export function activeEndMs(task: Task, { task: { maxDurationSeconds } }: Template): number {
  return task.openedAt.getTime() + maxDurationSeconds * 1000;
}

type Means = Pick<Grant, 'provider' | 'access' | 'mint'>;

/** Through the same provider, access and role or server: another size or ceiling is another grant. */
function sameMeans(left: Means, right: Means): boolean {
  return left.provider === right.provider && left.access === right.access && sameValue(left.mint, right.mint);
}

function covers(pattern: string, identifier: string): boolean {
  const compiled = compilePattern(pattern);
  return 'matches' in compiled && compiled.matches(identifier);
}

export function activeTemplate(policy: PolicySet, task: Task): Template | undefined {
  const active = policy.templates.get(task.template);
  return active?.mode === 'enforce' ? active : undefined;
}

export function workloadRefusal(active: Template | undefined, identity: Identity): Reason | null {
  return active?.workloads.some((entry) => matchesSubject(entry, identity)) ? null : 'workload_not_matched';
}

export function trustRefusal(policy: PolicySet, identity: Identity): Reason | null {
  return isTrusted(policy, identity) ? null : 'workload_not_matched';
}

export function actorsRefusal(policy: PolicySet, actors: readonly Actor[]): Reason | null {
  return actors.every((actor) => isTrusted(policy, actor)) ? null : 'delegation_not_granted';
}

export function actorRefusal(active: Template | undefined, actors: readonly Actor[]): Reason | null {
  return active === undefined ? 'template_disabled' : delegationRefusal(active.delegation, actors);
}
