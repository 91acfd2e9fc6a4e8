import { compilePattern, variablesOf } from '@mayfly/core';
import type { AccessRow } from './access-table.ts';
import type { Known, Report } from './lint.ts';
import type { GrantAt } from './lint-grant.ts';
import { didYouMean } from './suggest.ts';

interface ResourceAt extends GrantAt {
  readonly row: AccessRow | undefined;
  readonly report: (level: 'ERROR' | 'SECURITY' | 'WARN', rule: string, message: string) => void;
}

/** Of S3, Cloud Storage and Azure alike; no other key may be longer either. */
const keyBytesMax = 1_024;

const variable = /\$\{[^}]*\}/g;

/** The outer bound of a grant: variables that exist, a form that the access knows, nothing chosen that must be fixed. */
export function lintResource(
  at: GrantAt,
  row: AccessRow | undefined,
  { known, report }: { known: Known; report: Report },
): void {
  const path = ['spec', 'grants', at.index, 'resource'];
  const here: ResourceAt = {
    ...at,
    row,
    report: (level, rule, message) => report(level, rule, path, message),
  };
  const { resource } = at.grant;
  lintVariables(resource, at.spec, here.report);
  for (const [position, text] of at.grant.data.entries())
    lintVariables(text, at.spec, (level, rule, message) =>
      report(level, rule, ['spec', 'grants', at.index, 'data', position], message),
    );
  lintClaims(here, known);
  const compiled = compilePattern(resource.replaceAll(variable, 'x'));
  if ('problem' in compiled) here.report('ERROR', 'pattern', compiled.problem);
  else lintAnchors(here);
  if (row !== undefined) lintForm(here, row);
}

function lintVariables(text: string, spec: GrantAt['spec'], report: ResourceAt['report']): void {
  const params = Object.keys(spec.params);
  for (const name of variablesOf(text)) {
    if (name === 'task.id' || /^workload\.claims\.[A-Za-z0-9_.:/-]+$/.test(name)) continue;
    const param = /^params\.(.+)$/.exec(name)?.[1];
    if (param === undefined) {
      const words = ['task.id', 'workload.claims.NAME', ...params.map((one) => `params.${one}`)];
      const hint = didYouMean(name, words) || ` (known: ${words.join(', ')})`;
      report('ERROR', 'unknown-variable', `\${${name}} is no variable${hint}`);
    } else if (!Object.hasOwn(spec.params, param))
      report(
        'ERROR',
        'undefined-param',
        `no parameter ${param}${didYouMean(param, params)}; declare it in spec.params`,
      );
  }
  if (text.replaceAll(variable, '').includes('${'))
    report('ERROR', 'unclosed-variable', 'a variable is not closed: write ${...}');
}

// A claim that no issuer of the workloads keeps is never there, so that no task could open.
function lintClaims({ grant, spec, report }: ResourceAt, known: Known): void {
  const claims = variablesOf(grant.resource).filter((name) => name.startsWith('workload.claims.'));
  for (const name of new Set(claims.map((one) => one.slice('workload.claims.'.length)))) {
    const without = spec.workloads.find(({ issuer }) => known.keeps(issuer, name) === false);
    if (without !== undefined)
      report(
        'WARN',
        'claim-not-kept',
        `TrustedIssuer ${without.issuer} does not keep the claim ${name}; add it to its claims`,
      );
  }
}

// `2026q3*` also opens `2026q3-draft`: a name that starts alike is another thing.
function lintAnchors({ grant: { resource }, report }: ResourceAt): void {
  const segments = resource.replaceAll(variable, (one) => one.replaceAll('/', '_')).split('/');
  // Bucket and host have a rule of their own.
  const below = segments.slice(resource.includes('://') ? 3 : 1);
  const loose = below.find((segment) => segment.length > 1 && segment !== '**' && segment.endsWith('*'));
  if (loose === undefined) return;
  const fixed = `${resource.slice(0, resource.indexOf(`${loose.slice(0, -1)}*`))}${loose.replace(/\*+$/, '')}/**`;
  report(
    'SECURITY',
    'pattern-not-anchored-to-segment',
    `"${loose}" also opens every name that starts like this; write "${fixed}"`,
  );
}

function lintForm(at: ResourceAt, row: AccessRow): void {
  const { grant, report } = at;
  const { resource } = grant;
  const start = new RegExp(row.start).exec(resource)?.[0];
  if (start === undefined) {
    report('ERROR', 'resource-form', `${row.access} takes ${row.resource}`);
    return;
  }
  const rest = resource.slice(start.length);
  // A slash inside a variable's name is no segment.
  const masked = rest.replaceAll(variable, (one) => one.replaceAll('/', '_'));
  const slash = masked.indexOf('/');
  const head = slash < 0 ? rest : rest.slice(0, slash);
  const tail = slash < 0 ? '' : rest.slice(slash + 1);
  lintHead(at, row, head);
  if (row.tail === 'key') lintKey(at, row, tail);
  else if (row.tail === 'name') lintName(at, row, rest);
  else if (row.tail === 'none' && slash >= 0)
    report('ERROR', 'resource-form', `nothing follows the ${row.head.what}: ${row.resource}`);
  else if (/[?#%@\\]/.test(rest.replaceAll(variable, 'x')))
    report(
      'ERROR',
      'resource-form',
      `${row.access} takes ${row.resource}: no query, fragment, user name or %`,
    );
}

/** Bucket, account and host: who chooses them chooses whose data it is. */
function lintHead({ spec, report }: ResourceAt, row: AccessRow, head: string): void {
  const { what, form } = row.head;
  const names = variablesOf(head);
  const chosen = names.filter((name) => {
    const param = name.startsWith('params.') ? spec.params[name.slice(7)] : undefined;
    return param !== undefined && param.from === undefined;
  });
  for (const name of chosen)
    report(
      'ERROR',
      `caller-chosen-${what}`,
      `the caller would choose the ${what} by \${${name}}; write the ${what} out`,
    );
  const literal = head.replaceAll(variable, '');
  if (head.includes('*') || (literal === '' && chosen.length === 0)) {
    report('ERROR', 'no-fixed-first-segment', `the ${what} must be written out`);
    return;
  }
  // Three: some names are no shorter.
  const sample = head.replaceAll(variable, 'xxx');
  if (!new RegExp(form).test(sample)) report('ERROR', 'resource-form', `"${sample}" is no name of a ${what}`);
}

/** A name that may hold slashes: whole, as the access opens it, or a folder of names. */
function lintName({ report }: ResourceAt, row: AccessRow, name: string): void {
  // A variable may bring the characters that end the ARN.
  const sample = name.replaceAll(variable, '-xxxxxx');
  if (!/^[A-Za-z0-9/_+=.@*-]+$/.test(sample))
    report('ERROR', 'resource-form', `"${sample}" is no name of a ${row.head.what}: ${row.resource}`);
  else if (!/-[A-Za-z0-9]{6}$|\*$/.test(sample))
    report(
      'ERROR',
      'resource-form',
      `the full ARN ends in the six characters that AWS has put after the name: ${row.resource}`,
    );
}

function lintKey({ report }: ResourceAt, row: AccessRow, tail: string): void {
  const start = row.keyStart ?? '';
  const key = tail.slice(start.length);
  if (!tail.startsWith(start) || key === '') {
    report('ERROR', 'resource-form', `a key must follow the ${row.head.what}: ${row.resource}`);
    return;
  }
  const sample = key.replaceAll(variable, 'x');
  if (/[?\\,"]|(?:^|\/)\.{1,2}(?:\/|$)|\/\/|^\//.test(sample))
    report(
      'ERROR',
      'resource-form',
      'no key of this form is ever opened: no ? \\ , " and no empty, . or .. segment',
    );
  if (row.keyRefused !== undefined && new RegExp(row.keyRefused, 'u').test(sample))
    report('ERROR', 'resource-form', `${row.access} opens no key with these characters`);
  if (Buffer.byteLength(key.replaceAll(variable, '')) > keyBytesMax)
    report('ERROR', 'resource-form', `no key is longer than ${keyBytesMax} bytes`);
  const whole = key.endsWith('/') || key === '**' || key.endsWith('/**');
  if (row.size === 'prefix' && !whole)
    report('ERROR', 'prefix-form', `${row.access} opens a prefix: end the resource in / or /**`);
  if (row.size === 'one' && key.endsWith('/'))
    report(
      'ERROR',
      'object-form',
      `${row.access} opens one key and none ends in /: write /** for the keys below`,
    );
}
