import type { DocumentOf } from './documents/kinds.ts';
import { lintGrant } from './lint-grant.ts';
import { compileParam, patternProblem } from './params.ts';
import { formatPath, type ParsedDocument, type Position } from './parse.ts';

/** ERROR refuses lint and apply; SECURITY and WARN are shown. */
export type Level = 'ERROR' | 'SECURITY' | 'WARN';

export interface Finding extends Position {
  readonly level: Level;
  readonly rule: string;
  readonly path: string;
  readonly message: string;
}

export interface Known {
  has(kind: string, name: string): boolean;
  server(name: string): DocumentOf<'ResourceServer'> | undefined;
  provider(name: string): DocumentOf<'Provider'> | undefined;
}

export type Report = (
  level: Level,
  rule: string,
  path: readonly (string | number)[],
  message: string,
) => void;

/** `file:line:col: path: LEVEL rule: message`. */
export function formatFinding({ file, line, column, path, level, rule, message }: Finding): string {
  return `${file}:${line}:${column}: ${path}: ${level} ${rule}: ${message}`;
}

/**
 * What a schema cannot see: references, reach, promises that the provider cannot keep. `others` are documents in force
 * beside these, for references; pass null where nobody can know them (offline lint of one file).
 */
export function lint(
  documents: readonly ParsedDocument[],
  others: readonly ParsedDocument['document'][] | null,
): readonly Finding[] {
  const findings: Finding[] = [];
  const known = knownOf([...documents.map(({ document }) => document), ...(others ?? [])], others === null);
  for (const parsed of documents) {
    const report: Report = (level, rule, path, message) => {
      findings.push({ ...parsed.positionOf(path), level, rule, path: formatPath(path), message });
    };
    const { document } = parsed;
    if (document.kind === 'GrantTemplate') lintTemplate(document, known, report);
    if (document.kind === 'TrustedIssuer') lintIssuer(document, report);
    if (document.kind === 'Provider') lintProvider(document, report);
    if (document.kind === 'ResourceServer')
      lintReferences(document.spec.subjects, ['spec', 'subjects'], { known, report });
    if (document.kind === 'RoleBinding')
      lintReferences(document.spec.subjects, ['spec', 'subjects'], { known, report });
  }
  return findings.sort((a, b) =>
    a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column,
  );
}

function knownOf(documents: readonly ParsedDocument['document'][], lenient: boolean): Known {
  const names = new Set(documents.map(({ kind, metadata }) => `${kind}\n${metadata.name}`));
  return {
    has: (kind, name) => lenient || names.has(`${kind}\n${name}`),
    server: (name) =>
      documents.find(
        (one): one is DocumentOf<'ResourceServer'> =>
          one.kind === 'ResourceServer' && one.metadata.name === name,
      ),
    provider: (name) =>
      documents.find(
        (one): one is DocumentOf<'Provider'> => one.kind === 'Provider' && one.metadata.name === name,
      ),
  };
}

function lintTemplate(document: DocumentOf<'GrantTemplate'>, known: Known, report: Report): void {
  const { spec, metadata } = document;
  if (spec.risk !== 'low' && metadata.owner === undefined)
    report(
      'ERROR',
      'owner-missing',
      ['metadata'],
      `risk ${spec.risk} needs metadata.owner: the people to ask`,
    );
  if (spec.workloads.length === 0)
    report('WARN', 'no-workload', ['spec', 'workloads'], 'an empty list denies everybody');
  if (spec.grants.length === 0)
    report('WARN', 'no-grant', ['spec', 'grants'], 'an empty list grants nothing');
  lintReferences(spec.workloads, ['spec', 'workloads'], { known, report });
  lintParams(spec, report);
  const names = new Set<string>();
  for (const [index, grant] of spec.grants.entries()) {
    if (names.has(grant.name))
      report('ERROR', 'duplicate-grant', ['spec', 'grants', index, 'name'], 'another grant has this name');
    names.add(grant.name);
    lintGrant({ grant, index, spec }, known, report);
  }
}

function lintReferences(
  subjects: readonly { readonly issuer: string }[],
  path: readonly (string | number)[],
  { known, report }: { known: Known; report: Report },
): void {
  for (const [index, { issuer }] of subjects.entries())
    if (!known.has('TrustedIssuer', issuer))
      report('ERROR', 'unknown-issuer', [...path, index, 'issuer'], `no TrustedIssuer ${issuer}`);
}

function lintParams({ params }: DocumentOf<'GrantTemplate'>['spec'], report: Report): void {
  for (const [name, param] of Object.entries(params)) {
    const path = ['spec', 'params', name];
    const problem = param.pattern === undefined ? null : patternProblem(param.pattern);
    if (problem !== null) {
      report('ERROR', 'pattern', [...path, 'pattern'], problem);
      continue;
    }
    if (param.integer !== undefined && param.integer.min > param.integer.max)
      report('ERROR', 'empty-range', [...path, 'integer'], 'min is greater than max');
    if (!compileParam(param).accepts(String(param.example)))
      report('ERROR', 'example', [...path, 'example'], 'the example does not fit its own parameter');
  }
}

function lintIssuer({ spec }: DocumentOf<'TrustedIssuer'>, report: Report): void {
  if (spec.subjects.length === 0)
    report('WARN', 'no-subject', ['spec', 'subjects'], 'an empty list believes nothing');
  if (spec.subjects.includes('**') || spec.subjects.some((pattern) => /^\*+$/.test(pattern)))
    report(
      'SECURITY',
      'any-subject',
      ['spec', 'subjects'],
      'this issuer may speak for any name; write the namespaces it owns',
    );
  if (spec.jwksUri !== undefined && spec.jwksFile !== undefined)
    report('ERROR', 'two-key-sources', ['spec', 'jwksFile'], 'jwksUri and jwksFile exclude each other');
}

function lintProvider({ spec }: DocumentOf<'Provider'>, report: Report): void {
  if (spec.revoke === 'deny-policy' && spec.revoker === undefined)
    report(
      'SECURITY',
      'revoker-missing',
      ['spec', 'revoke'],
      'the minting identity would also write deny policies; name a revoker role',
    );
  if (spec.revoker !== undefined && spec.roles.includes(spec.revoker.role))
    report(
      'ERROR',
      'revoker-is-ceiling',
      ['spec', 'revoker', 'role'],
      'the reaper’s role must not be one that credentials are cut from',
    );
}
