import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';
import { lintSubjects } from './lint-subjects.ts';

export function lintServer(
  { metadata, spec }: DocumentOf<'ResourceServer'>,
  known: Known,
  report: Report,
): void {
  const twin = known
    .beside('ResourceServer', metadata.name)
    .find((one) => one.spec.audience === spec.audience);
  // Each could use and introspect the other's tokens.
  if (twin !== undefined)
    report(
      'ERROR',
      'audience-twice',
      ['spec', 'audience'],
      `ResourceServer ${twin.metadata.name} has this audience already; give each server its own`,
    );
  if (spec.verification === 'introspect' && spec.subjects.length === 0)
    report('WARN', 'no-subject', ['spec', 'subjects'], 'an empty list lets nobody introspect');
  lintSubjects(spec.subjects, ['spec', 'subjects'], { known, report });
}

/** Roles that only people hold; without `people: true` on their issuer they do not exist. */
const peoplesRoles: ReadonlySet<string> = new Set(['admin', 'template-admin', 'approver', 'break-glass']);

export function lintBinding({ spec }: DocumentOf<'RoleBinding'>, known: Known, report: Report): void {
  if (spec.roles.length === 0) report('WARN', 'no-role', ['spec', 'roles'], 'an empty list gives no role');
  if (spec.subjects.length === 0)
    report('WARN', 'no-subject', ['spec', 'subjects'], 'an empty list gives the roles to nobody');
  lintSubjects(spec.subjects, ['spec', 'subjects'], { known, report });
  const role = spec.roles.find((one) => peoplesRoles.has(one));
  for (const [index, { issuer }] of spec.subjects.entries())
    if (role !== undefined && known.issuer(issuer)?.spec.people === false)
      report(
        'WARN',
        'role-of-people',
        ['spec', 'subjects', index, 'issuer'],
        `${role} is held by people only, and TrustedIssuer ${issuer} does not say people: true`,
      );
  for (const list of ['templates', 'providers'] as const)
    if (spec.scope?.[list]?.length === 0)
      report(
        'WARN',
        'empty-scope',
        ['spec', 'scope', list],
        'an empty list reaches nothing; leave the key out',
      );
}
