import { attenuate, type Lineage } from './attenuate.ts';
import { auditEvent } from './audit-event.ts';
import { grantFrom } from './authentic.ts';
import { activeTemplate, actorsRefusal, standingRefusal, trustRefusal } from './cover.ts';
import { delegationRefusal } from './delegate.ts';
import { Refusal } from './errors.ts';
import type { NewId, Opening } from './ports.ts';
import { rolesOf } from './roles.ts';
import type { Grant, Task } from './task.ts';
import type { PolicySet, Template } from './template.ts';
import {
  type Actor,
  type Confirmation,
  type Identity,
  matchesSubject,
  ownerOf,
  type SubjectId,
  workloadName,
} from './workload.ts';

export interface OpenRequest {
  readonly template: string;
  readonly ref: string | null;
  readonly params: Readonly<Record<string, string | number>>;
  readonly objective: string | null;
  /** The workload the task will belong to. */
  readonly workload: Identity;
  /** Set when another opens it for the workload. */
  readonly opener: Identity | null;
  /** Who acts for the workload, the present one first. */
  readonly actors: readonly Actor[];
  /** The key that the task's tokens will be bound to. */
  readonly confirmation: Confirmation | null;
  /** The task beneath which it is opened and those above that, the nearest first; empty for a task of its own. */
  readonly ancestors: readonly Lineage[];
}

/** What a request to open comes to before storage is asked: who owns it, under which template, with which parameters. */
export interface OpenCandidate {
  readonly template: Template;
  readonly owner: string;
  /** The owner, whoever acts for it: its limits are one person's or workload's, not one of each actor. */
  readonly countedAs: string;
  readonly params: Readonly<Record<string, string>>;
  readonly ref: string | null;
  /** Children that its parent may have; null for a task without parent. */
  readonly childrenMax: number | null;
}

/**
 * Checks that this template is open to this workload and opener, and the parameters. Pure.
 * An unknown template and one that is closed to the workload give the same Refusal.
 */
export function considerOpening(request: OpenRequest, policy: PolicySet): OpenCandidate {
  const template = policy.templates.get(request.template);
  const entry = template?.workloads.find((subject) => matchesSubject(subject, request.workload));
  if (template === undefined || entry === undefined) throw new Refusal('workload_not_matched');
  if (template.mode !== 'enforce') throw new Refusal('template_disabled');
  const { workload, actors } = request;
  const refused =
    trustRefusal(policy, workload) ??
    actorsRefusal(policy, actors) ??
    delegationRefusal(template.delegation, actors);
  if (refused !== null) throw new Refusal(refused);
  const [parent, ...above] = request.ancestors;
  const childrenMax = parent === undefined ? null : childrenOf([parent, ...above], template, policy);
  if (parent === undefined && !mayOpen(template, request, policy)) throw new Refusal('opener_not_allowed');
  const params = settleParams(template, request.params, workload);
  const owner = ownerOf(workload, entry.bind, actors[0]);
  const countedAs = ownerOf(workload, entry.bind);
  return { template, owner, countedAs, params, ref: refOf(template, request), childrenMax };
}

/** The task row and its grants, with resources resolved; ids and time come from the caller's ports. */
export function planOpening(
  request: OpenRequest,
  candidate: OpenCandidate,
  context: { newId: NewId; now: Date },
): Opening {
  const { template, params, owner, countedAs, ref } = candidate;
  const [parent] = request.ancestors;
  const id = context.newId();
  const workload = pickIdentity(request.workload);
  const all: Grant[] = template.grants.map((spec) => {
    const grant = grantFrom(spec, { id, params, workload }, context.newId());
    if (grant === undefined)
      throw new Refusal('params_invalid', { detail: `grant ${spec.name}: unresolved` });
    return grant;
  });
  const grants = parent === undefined ? all : attenuate(all, parent.task.grants);
  if (parent !== undefined && grants.length === 0) throw new Refusal('child_exceeds_parent');
  const endMs = context.now.getTime() + template.task.maxDurationSeconds * 1000;
  const task: Task = {
    id,
    template: template.name,
    templateVersion: template.version,
    ref,
    params,
    objective: request.objective,
    workload,
    owner,
    opener: request.opener === null ? null : openerOf(request.opener),
    actors: request.actors.map((actor) => ({ ...pickIdentity(actor), named: actor.named })),
    confirmation: request.confirmation,
    parentId: parent?.task.id ?? null,
    depthLeft: Math.min(template.task.children?.depth ?? 0, (parent?.task.depthLeft ?? Infinity) - 1),
    openedAt: context.now,
    expiresAt: new Date(Math.min(endMs, parent?.task.expiresAt.getTime() ?? endMs)),
    leaseSeconds: template.task.leaseSeconds,
    grants,
  };
  const actor = workloadName(request.opener ?? request.actors[0] ?? request.workload);
  const audit = auditEvent(context, {
    type: 'task.opened',
    actor,
    taskId: id,
    body: {
      template: template.name,
      templateVersion: template.version,
      workload: workloadName(request.workload),
      actors: request.actors.map(workloadName),
      parent: task.parentId,
      ref,
      params,
      objective: request.objective,
      grants: grants.map(({ id: grantId, name, tool, resource }) => ({ id: grantId, name, tool, resource })),
    },
  });
  const { maxOpen, opensPerHour } = template.task;
  const endsOnChange = template.onChange === 'end';
  return {
    task,
    countedAs,
    maxOpen,
    opensPerHour,
    childrenMax: candidate.childrenMax,
    endsOnChange,
    onLapse: template.deviation.heartbeatLost,
    audit,
  };
}

/** Same parameters, whatever their order: what a `ref` must find again. */
export function sameParams(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => left[key] === right[key]);
}

/**
 * How many children the parent may have, or a Refusal. A child needs the word of its parent's template, of the version
 * that it was opened with and of the one in force, and levels left. Openers are not asked: the parent opens it.
 */
function childrenOf(
  ancestors: readonly [Lineage, ...Lineage[]],
  { name }: Template,
  policy: PolicySet,
): number {
  const [{ task, pinned }] = ancestors;
  for (const { task: above } of ancestors) {
    const refused = standingRefusal(policy, above, { identity: above.workload, actors: above.actors });
    if (refused !== null) throw new Refusal(refused);
  }
  const versions = [pinned, activeTemplate(policy, task)];
  const rules = versions.map((one) => one?.task.children);
  const max = Math.min(...rules.map((rule) => (rule?.templates.includes(name) ? rule.max : 0)));
  if (max < 1 || task.depthLeft < 1) throw new Refusal('child_not_allowed');
  return max;
}

/** The ref that the template makes of claims: what a run is called by its platform finds its task again. */
function refOf({ task: { refClaims } }: Template, { ref, workload }: OpenRequest): string | null {
  if (refClaims.length === 0) return ref;
  const parts = refClaims.map((claim) => workload.claims[claim]);
  if (!parts.every((part) => typeof part === 'string'))
    throw new Refusal('params_invalid', { detail: 'a claim that the ref is made of is missing' });
  const natural = parts.join('.');
  if (ref !== null && ref !== natural)
    throw new Refusal('ref_conflict', { detail: 'the template takes the ref from claims' });
  return natural;
}

function mayOpen(template: Template, request: OpenRequest, policy: PolicySet): boolean {
  const { opener } = request;
  return template.openers.some((allowed) => {
    if (allowed.kind === 'self') return opener === null;
    if (opener === null) return false;
    if (allowed.kind === 'subject') return matchesSubject(allowed.subject, opener);
    return rolesOf(opener, policy).some(
      ({ role, scope }) =>
        role === allowed.role && (scope.templates?.some((pattern) => pattern.matches(template.name)) ?? true),
    );
  });
}

// Values are never echoed: the detail names the parameter only.
function settleParams(
  template: Template,
  given: Readonly<Record<string, string | number>>,
  workload: Identity,
): Record<string, string> {
  const settled: Record<string, string> = {};
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(template.params, name) || template.params[name]?.fromClaim != null)
      throw new Refusal('params_invalid', { detail: 'a parameter that the caller cannot choose' });
  }
  for (const [name, spec] of Object.entries(template.params)) {
    const value = spec.fromClaim === null ? given[name] : workload.claims[spec.fromClaim];
    const text = typeof value === 'number' ? String(value) : value;
    if (typeof text !== 'string' || !spec.accepts(text))
      throw new Refusal('params_invalid', { detail: `parameter ${name} is missing or does not fit` });
    settled[name] = text;
  }
  return settled;
}

function pickIdentity({ issuer, issuerName, subject, claims }: Identity): Identity {
  return { issuer, issuerName, subject, claims };
}

function openerOf({ issuer, issuerName, subject }: SubjectId): SubjectId {
  return { issuer, issuerName, subject };
}

export type { Lineage };
