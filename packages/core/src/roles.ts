import type { Role } from '@mayfly/protocol';
import type { PolicySet, RoleBinding } from './template.ts';
import { type Identity, matchesSubject } from './workload.ts';

/** Roles that only people hold: their issuer's document must say `people: true` (contract.md section 4). */
const peoplesRoles: ReadonlySet<Role> = new Set(['admin', 'template-admin', 'approver', 'break-glass']);

/** One role held, with the binding it comes from; outside `scope` it does not exist. */
export interface HeldRole {
  readonly role: Role;
  readonly from: string;
  readonly scope: RoleBinding['scope'];
}

/** Every role of a caller. An empty or missing list gives none. */
export function rolesOf(
  identity: Identity,
  policy: Pick<PolicySet, 'bindings' | 'issuers'>,
): readonly HeldRole[] {
  const issuer = policy.issuers.get(identity.issuer);
  const people = issuer?.name === identity.issuerName && issuer.people;
  return policy.bindings
    .filter((binding) => binding.subjects.some((subject) => matchesSubject(subject, identity)))
    .flatMap((binding) =>
      binding.roles
        .filter((role) => people || !peoplesRoles.has(role))
        .map((role) => ({ role, from: binding.name, scope: binding.scope })),
    );
}

/** Each part of the scope that speaks of the thing must hold; a scope that does not speak of it excludes it. */
export function reaches(
  { scope: { templates, providers } }: HeldRole,
  { template, provider }: { template?: string; provider?: string },
): boolean {
  if (templates === null && providers === null) return true;
  const parts = [
    { name: template, patterns: templates },
    { name: provider, patterns: providers },
  ];
  const spoken = parts.flatMap(({ name, patterns }) =>
    name === undefined || patterns === null ? [] : [patterns.some((pattern) => pattern.matches(name))],
  );
  return spoken.length > 0 && spoken.every(Boolean);
}
