import { type HeldRole, type Identity, matchesSubject, type PolicySet, reaches, rolesOf } from '@mayfly/core';
import type { Role } from '@mayfly/protocol';
import { compileBinding } from './compile.ts';
import type { DocumentOf, Kind } from './documents/kinds.ts';

export interface Scope {
  readonly template?: string;
  readonly provider?: string;
}

/**
 * Does this identity hold the role, here? Roles of people exist only for identities of an issuer with `people: true`;
 * outside its scope a role does not exist. Without `scope` only a role that is bound without limits counts.
 */
export function roleAllows(
  policy: Pick<PolicySet, 'bindings' | 'issuers'>,
  identity: Identity,
  { role, scope = {} }: { role: Role; scope?: Scope },
): boolean {
  return rolesOf(identity, policy).some((held) => held.role === role && reaches(held, scope));
}

export type WriteAllowed = { readonly allowed: true } | { readonly allowed: false; readonly problem: string };

export interface DocumentWrite {
  readonly kind: Kind;
  readonly name: string;
  /** For a RoleBinding: as it stands and as it would stand; null where there is none. */
  readonly binding?: {
    readonly before: DocumentOf<'RoleBinding'> | null;
    readonly after: DocumentOf<'RoleBinding'> | null;
  };
}

/**
 * May this caller create, change or delete the document? `admin` writes everything but templates, `template-admin`
 * templates in its scope; nobody writes a binding that names him, be it before or after the change: else an admin
 * would make himself template-admin, or keep himself from being removed.
 */
export function mayWriteDocument(
  held: readonly HeldRole[],
  identity: Identity,
  { kind, name, binding }: DocumentWrite,
): WriteAllowed {
  const role: Role = kind === 'GrantTemplate' ? 'template-admin' : 'admin';
  const scope = scopeOf(kind, name);
  if (!held.some((one) => one.role === role && reaches(one, scope)))
    return { allowed: false, problem: `${role} is needed for ${kind} ${name}` };
  if (kind !== 'RoleBinding') return { allowed: true };
  const own = [binding?.before, binding?.after].some(
    (one) =>
      one !== null &&
      one !== undefined &&
      compileBinding(one).subjects.some((subject) => matchesSubject(subject, identity)),
  );
  if (own || binding === undefined)
    return { allowed: false, problem: 'nobody writes a RoleBinding that names him' };
  return { allowed: true };
}

function scopeOf(kind: Kind, name: string): Scope {
  if (kind === 'GrantTemplate') return { template: name };
  return kind === 'Provider' ? { provider: name } : {};
}
