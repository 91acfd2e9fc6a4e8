import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';
import { lintSubjects } from './lint-subjects.ts';

type Spec = DocumentOf<'GrantTemplate'>['spec'];

/** Who may act for the workloads, which children a task may have, and what its ref is made of. */
export function lintLineage(spec: Spec, known: Known, report: Report): void {
  lintSubjects(spec.delegation.actors, ['spec', 'delegation', 'actors'], { known, report });
  if (spec.delegation.actor !== 'none' && spec.delegation.actors.length === 0)
    report(
      'WARN',
      'actors-by-token-only',
      ['spec', 'delegation', 'actors'],
      'without actors only a subject token with may_act names one',
    );
  for (const [index, name] of (spec.task.children?.templates ?? []).entries())
    if (!known.has('GrantTemplate', name))
      report(
        'ERROR',
        'unknown-template',
        ['spec', 'task', 'children', 'templates', index],
        known.missing('GrantTemplate', name),
      );
  for (const [index, claim] of (spec.task.ref?.claims ?? []).entries()) {
    const without = spec.workloads.find(({ issuer }) => known.keeps(issuer, claim) === false);
    if (without !== undefined)
      report(
        'ERROR',
        'claim-not-kept',
        ['spec', 'task', 'ref', 'claims', index],
        `TrustedIssuer ${without.issuer} does not keep the claim ${claim}, so no task would ever open; add it to its claims`,
      );
  }
}
