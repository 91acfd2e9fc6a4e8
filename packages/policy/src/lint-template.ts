import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';
import { lintGrant } from './lint-grant.ts';
import { lintLineage } from './lint-lineage.ts';
import { lintReach } from './lint-reach.ts';
import { lintSubjects } from './lint-subjects.ts';
import { compileParam, type ParamDocument, patternProblem } from './params.ts';

type Template = DocumentOf<'GrantTemplate'>;

export function lintTemplate({ spec, metadata }: Template, known: Known, report: Report): void {
  if (spec.risk !== 'low' && metadata.owner === undefined)
    report(
      'ERROR',
      'owner-missing',
      ['metadata'],
      `risk ${spec.risk} needs metadata.owner: the people to ask`,
    );
  if (spec.workloads.length === 0)
    report('WARN', 'no-workload', ['spec', 'workloads'], 'an empty list denies everybody');
  if (spec.openers.length === 0)
    report('WARN', 'no-opener', ['spec', 'openers'], 'an empty list lets nobody open a task');
  if (spec.grants.length === 0)
    report('WARN', 'no-grant', ['spec', 'grants'], 'an empty list grants nothing');
  lintSubjects(spec.workloads, ['spec', 'workloads'], { known, report });
  lintSubjects(spec.signals?.from ?? [], ['spec', 'signals', 'from'], { known, report });
  for (const [index, opener] of spec.openers.entries())
    if (opener !== 'self' && 'issuer' in opener && !known.has('TrustedIssuer', opener.issuer))
      report(
        'ERROR',
        'unknown-issuer',
        ['spec', 'openers', index, 'issuer'],
        known.missing('TrustedIssuer', opener.issuer),
      );
  lintLineage(spec, known, report);
  for (const [name, param] of Object.entries(spec.params)) lintParam(name, param, { spec, known, report });
  const names = new Set<string>();
  for (const [index, grant] of spec.grants.entries()) {
    if (names.has(grant.name))
      report('ERROR', 'duplicate-grant', ['spec', 'grants', index, 'name'], 'another grant has this name');
    names.add(grant.name);
    lintGrant({ grant, index, spec }, known, report);
    lintReach({ grant, index, spec }, known, report);
  }
}

function lintParam(
  name: string,
  param: ParamDocument,
  { spec, known, report }: { spec: Template['spec']; known: Known; report: Report },
): void {
  const path = ['spec', 'params', name];
  const problem = param.pattern === undefined ? null : patternProblem(param.pattern);
  if (problem !== null) {
    report('ERROR', 'param-pattern', [...path, 'pattern'], problem);
    return;
  }
  if (param.integer !== undefined && param.integer.min > param.integer.max) {
    report('ERROR', 'empty-range', [...path, 'integer'], 'min is greater than max');
    return;
  }
  const compiled = compileParam(param);
  if (!compiled.accepts(String(param.example)))
    report(
      'ERROR',
      'example',
      [...path, 'example'],
      'the example does not fit its own parameter (whole value, 1-128 characters, no . or .. segment)',
    );
  for (const [index, value] of (param.enum ?? []).entries())
    if (!compiled.accepts(value) || unsafe.test(value))
      report('ERROR', 'enum-value', [...path, 'enum', index], 'this value is never accepted in a resource');
  if (param.from === undefined && probes.every((probe) => compiled.accepts(probe)))
    report(
      'SECURITY',
      'param-unbounded',
      [...path, 'pattern'],
      'this takes nearly any value; say what one looks like',
    );
  const claim = param.from?.slice('workload.claims.'.length);
  const without = spec.workloads.find(
    ({ issuer }) => claim !== undefined && known.keeps(issuer, claim) === false,
  );
  if (without !== undefined)
    report(
      'WARN',
      'claim-not-kept',
      [...path, 'from'],
      `TrustedIssuer ${without.issuer} does not keep the claim ${claim}; add it to its claims`,
    );
}

/** What no resource takes in, whatever the parameter allows (core/variables.ts). */
const unsafe = /[*?$,{}\\\p{Cc}\p{Cs}]/u;
/** Values that have nothing in common: what accepts all of them is no bound. */
const probes = ['a', '0', 'Zz_9-x', '=q.mf', 'probe@mayfly+1'];
