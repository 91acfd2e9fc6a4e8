import { auditEvent } from './audit-event.ts';
import { grantFrom } from './authentic.ts';
import { Refusal } from './errors.ts';
import type { NewId, Opening } from './ports.ts';
import { rolesOf } from './roles.ts';
import type { Grant, Task } from './task.ts';
import type { PolicySet, Template } from './template.ts';
import { type Identity, matchesSubject, ownerOf, workloadName } from './workload.ts';

export interface OpenRequest {
  readonly template: string;
  readonly ref: string | null;
  readonly params: Readonly<Record<string, string | number>>;
  readonly objective: string | null;
  /** The workload the task will belong to. */
  readonly workload: Identity;
  /** Set when another opens it for the workload. */
  readonly opener: Identity | null;
}

/** What a request to open comes to before storage is asked: who owns it, under which template, with which parameters. */
export interface OpenCandidate {
  readonly template: Template;
  readonly owner: string;
  readonly params: Readonly<Record<string, string>>;
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
  if (!mayOpen(template, request, policy)) throw new Refusal('opener_not_allowed');
  const params = settleParams(template, request.params, request.workload);
  return { template, owner: ownerOf(request.workload, entry.bind), params };
}

/** The task row and its grants, with resources resolved; ids and time come from the caller's ports. */
export function planOpening(
  request: OpenRequest,
  candidate: OpenCandidate,
  context: { newId: NewId; now: Date },
): Opening {
  const { template, params, owner } = candidate;
  const id = context.newId();
  const workload = pickIdentity(request.workload);
  const grants: Grant[] = template.grants.map((spec) => {
    const grant = grantFrom(spec, { id, params, workload }, context.newId());
    if (grant === undefined)
      throw new Refusal('params_invalid', { detail: `grant ${spec.name}: unresolved` });
    return grant;
  });
  const task: Task = {
    id,
    template: template.name,
    templateVersion: template.version,
    ref: request.ref,
    params,
    objective: request.objective,
    workload,
    owner,
    opener: request.opener === null ? null : workloadName(request.opener),
    openedAt: context.now,
    expiresAt: new Date(context.now.getTime() + template.task.maxDurationSeconds * 1000),
    leaseSeconds: template.task.leaseSeconds,
    grants,
  };
  const actor = workloadName(request.opener ?? request.workload);
  const audit = auditEvent(context, {
    type: 'task.opened',
    actor,
    taskId: id,
    body: {
      template: template.name,
      templateVersion: template.version,
      workload: workloadName(request.workload),
      ref: request.ref,
      params,
      objective: request.objective,
      grants: grants.map(({ id: grantId, name, tool, resource }) => ({ id: grantId, name, tool, resource })),
    },
  });
  return { task, maxOpen: template.task.maxOpen, opensPerHour: template.task.opensPerHour, audit };
}

/** Same parameters, whatever their order: what a `ref` must find again. */
export function sameParams(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => left[key] === right[key]);
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

function pickIdentity({ issuerName, subject, claims }: Identity): Identity {
  return { issuerName, subject, claims };
}
