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

/** Does one of the held roles reach this template or provider? A scope that does not speak of the thing excludes it. */
export function reaches(held: HeldRole, thing: { template?: string; provider?: string }): boolean {
  const { templates, providers } = held.scope;
  if (templates === null && providers === null) return true;
  if (thing.template !== undefined && templates !== null)
    return templates.some((pattern) => pattern.matches(thing.template ?? ''));
  if (thing.provider !== undefined && providers !== null)
    return providers.some((pattern) => pattern.matches(thing.provider ?? ''));
  return false;
}
