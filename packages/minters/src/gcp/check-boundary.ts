import type { MintPlan } from '@mayfly/core';
import { z } from 'zod';
import type { Allowed } from './check.ts';

const options = z.strictObject({
  accessBoundary: z.strictObject({
    accessBoundaryRules: z
      .array(
        z.strictObject({
          availablePermissions: z.tuple([z.string()]),
          availableResource: z.string(),
          availabilityCondition: z.strictObject({ expression: z.string().max(2048) }),
        }),
      )
      .min(1)
      .max(3),
  }),
});
type Rule = z.output<typeof options>['accessBoundary']['accessBoundaryRules'][number];

/** Reads a boundary back and proves of each rule that its role does nothing but one allowed verb under the prefix. */
export function checkBoundary(plan: MintPlan, text: string, { identifier }: Allowed): string | null {
  const value = parseJson(text);
  const parsed = options.safeParse(value);
  if (!parsed.success) return 'boundary: holds more than narrow rules';
  // Two parsers differ about duplicate keys; written again there are none.
  if (JSON.stringify(value) !== text) return 'boundary: not in its one spelling';
  const granted: string[] = [];
  for (const rule of parsed.data.accessBoundary.accessBoundaryRules) {
    const verb = verbOf(rule, identifier);
    if (!('action' in verb)) return verb.problem;
    if (!plan.actions.includes(verb.action)) return `${verb.permission} exceeds the actions`;
    granted.push(verb.permission);
  }
  return JSON.stringify(granted) === JSON.stringify(plan.nativePermissions)
    ? null
    : 'permissions are not those of the plan';
}

type Verb = { readonly action: string; readonly permission: string } | { readonly problem: string };

/**
 * A condition on an object's name never holds for a listing, which is asked of the bucket, and one on the listed
 * prefix never for an object: so a viewer's role is one verb under the one and the other under the other.
 */
function verbOf(
  { availablePermissions, availableResource, availabilityCondition }: Rule,
  identifier: string,
): Verb {
  const [role] = availablePermissions;
  const rest = identifier.slice('gs://'.length);
  const slash = rest.indexOf('/');
  const [bucket, prefix] = [rest.slice(0, slash), rest.slice(slash + 1)];
  if (availableResource !== `//storage.googleapis.com/projects/_/buckets/${bucket}`)
    return { problem: 'rule is for another bucket' };
  const { expression } = availabilityCondition;
  const [, about, literal] = /^([a-z][^\\]*)\.startsWith\('([^'\\]+)'\)$/.exec(expression) ?? [];
  if (about === 'resource.name') {
    if (literal !== `projects/_/buckets/${bucket}/objects/${prefix}`)
      return { problem: 'rule is for another prefix' };
    if (role === 'inRole:roles/storage.objectViewer')
      return { action: 'read', permission: 'storage.objects.get' };
    if (role === 'inRole:roles/storage.objectCreator')
      return { action: 'create', permission: 'storage.objects.create' };
  }
  if (about === "api.getAttribute('storage.googleapis.com/objectListPrefix', '')") {
    if (literal !== prefix) return { problem: 'rule lists another prefix' };
    if (role === 'inRole:roles/storage.objectViewer')
      return { action: 'list', permission: 'storage.objects.list' };
  }
  return { problem: 'rule: role or condition is not known' };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
