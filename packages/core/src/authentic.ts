import { bareId } from '@mayfly/protocol';
import type { Grant, Task } from './task.ts';
import type { GrantSpec, Template } from './template.ts';
import { resolveVariables } from './variables.ts';

/** A grant as its template and the parameters of its task give it; undefined when a variable has no safe value. */
export function grantFrom(
  spec: GrantSpec,
  task: Pick<Task, 'id' | 'params' | 'workload'>,
  id: string,
): Grant | undefined {
  const values = { params: task.params, claims: task.workload.claims, taskId: bareId(task.id) };
  const resource = resolveVariables(spec.resource, values);
  if (resource === undefined) return undefined;
  const { name, tool, provider, access, actions, mint, ttl, endsWithinSeconds, budget } = spec;
  const facts = { name, tool, provider, access, actions, mint, ttl, endsWithinSeconds, budget };
  return { id, taskId: task.id, resource, ...facts, above: [] };
}

/**
 * Does the stored grant say exactly what the pinned template version gives for the task's parameters, and would the
 * template accept those? Versions carry an HMAC whose key is not in the database, rows of task and grant do not: so a
 * writer in the database alone cannot widen a grant beyond what the workload could have opened itself.
 */
export function isAuthentic(grant: Grant, task: Task, pinned: Template): boolean {
  const spec = pinned.grants.find(({ name }) => name === grant.name);
  const given = spec === undefined ? undefined : grantFrom(spec, task, grant.id);
  return given !== undefined && sameValue({ ...given, above: grant.above }, grant) && paramsFit(task, pinned);
}

function paramsFit({ params, workload }: Task, { params: specs }: Template): boolean {
  const names = Object.keys(specs);
  if (Object.keys(params).length !== names.length) return false;
  return names.every((name) => {
    const spec = specs[name];
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    if (spec === undefined || value === undefined || !spec.accepts(value)) return false;
    return spec.fromClaim === null || workload.claims[spec.fromClaim] === value;
  });
}

/** Would this version accept the parameters of a task that is open already? Those that it does not know are its past's. */
export function acceptsParams({ params: specs }: Template, { params, workload }: Task): boolean {
  return Object.entries(specs).every(([name, spec]) => {
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    if (value === undefined) return true;
    return spec.accepts(value) && (spec.fromClaim === null || workload.claims[spec.fromClaim] === value);
  });
}

/** Plain JSON values, whatever the order of their keys. */
export function sameValue(left: unknown, right: unknown): boolean {
  if (typeof left !== 'object' || left === null || typeof right !== 'object' || right === null)
    return left === right;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every(
      (key) => Object.hasOwn(right, key) && sameValue(Reflect.get(left, key), Reflect.get(right, key)),
    )
  );
}
