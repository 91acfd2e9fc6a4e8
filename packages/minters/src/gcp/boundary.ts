import type { GcsTarget } from './target.ts';

export interface Rule {
  readonly availablePermissions: readonly string[];
  readonly availableResource: string;
  readonly availabilityCondition: { readonly expression: string };
}

/** What each verb needs, and the predefined role that a boundary may name for it: boundaries know no permissions. */
const verbs: Readonly<Record<string, { readonly role: string; readonly permission: string }>> = {
  read: { role: 'roles/storage.objectViewer', permission: 'storage.objects.get' },
  list: { role: 'roles/storage.objectViewer', permission: 'storage.objects.list' },
  create: { role: 'roles/storage.objectCreator', permission: 'storage.objects.create' },
};

export interface Boundary {
  /** The `options` field of the exchange, before form encoding. */
  readonly options: string;
  readonly permissions: readonly string[];
}

/**
 * Credential Access Boundary for everything under one prefix: a rule each verb. A listing asks about the bucket, so
 * its condition looks at the prefix that was asked for; everything else asks about an object. Undefined where a verb
 * cannot be held to a prefix. The prefix is one that `parseGcs` has passed: no quote, no backslash.
 */
export function compileBoundary(
  { bucket, object: prefix }: GcsTarget,
  actions: readonly string[],
): Boundary | undefined {
  const rules: Rule[] = [];
  const permissions: string[] = [];
  for (const action of actions) {
    const verb = Object.hasOwn(verbs, action) ? verbs[action] : undefined;
    if (verb === undefined) return undefined;
    const expression =
      action === 'list'
        ? `api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('${prefix}')`
        : `resource.name.startsWith('projects/_/buckets/${bucket}/objects/${prefix}')`;
    rules.push({
      availablePermissions: [`inRole:${verb.role}`],
      availableResource: `//storage.googleapis.com/projects/_/buckets/${bucket}`,
      availabilityCondition: { expression },
    });
    permissions.push(verb.permission);
  }
  return { options: JSON.stringify({ accessBoundary: { accessBoundaryRules: rules } }), permissions };
}
