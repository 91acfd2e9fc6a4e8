import { type AnyDocument, type DocumentOf, isDocumentOf } from './documents/kinds.ts';
import { keptClaims } from './documents/trusted-issuer.ts';
import { lintBinding, lintServer } from './lint-document.ts';
import { lintIssuer } from './lint-issuer.ts';
import { lintProvider } from './lint-provider.ts';
import { lintTemplate } from './lint-template.ts';
import { byPosition, formatPath } from './located.ts';
import type { ParsedDocument, Position } from './parse.ts';
import { didYouMean } from './suggest.ts';

/** ERROR refuses lint and apply; SECURITY and WARN are shown. */
export type Level = 'ERROR' | 'SECURITY' | 'WARN';

export interface Finding extends Position {
  readonly level: Level;
  /** Stable id, kebab-case. */
  readonly rule: string;
  readonly path: string;
  /** What is wrong and what to write instead. */
  readonly message: string;
}

export type Report = (
  level: Level,
  rule: string,
  path: readonly (string | number)[],
  message: string,
) => void;

/** What a rule may ask about the documents beside the one it looks at. */
export interface Known {
  /** Always true when nobody can know the others. */
  has(kind: string, name: string): boolean;
  /** Words for a reference to nothing. */
  missing(kind: string, name: string): string;
  server(name: string): DocumentOf<'ResourceServer'> | undefined;
  provider(name: string): DocumentOf<'Provider'> | undefined;
  issuer(name: string): DocumentOf<'TrustedIssuer'> | undefined;
  /** Does this issuer's document keep the claim? undefined when the document is not known. */
  keeps(issuer: string, claim: string): boolean | undefined;
  /** Others of the kind, the document itself left out. */
  beside<K extends AnyDocument['kind']>(kind: K, self: string): readonly DocumentOf<K>[];
}

/** `file:line:col: path: LEVEL rule: message`. */
export function formatFinding({ file, line, column, path, level, rule, message }: Finding): string {
  return `${file}:${line}:${column}: ${path}: ${level} ${rule}: ${message}`;
}

/**
 * What a schema cannot see: references, reach, promises that the provider cannot keep. `others` are documents that
 * will be in force beside these (those about to be replaced or pruned left out); null where nobody can know them
 * (offline lint of one file), so that references are taken on trust. In reading order.
 */
export function lint(
  documents: readonly ParsedDocument[],
  others: readonly ParsedDocument['document'][] | null,
): readonly Finding[] {
  const findings: Finding[] = [];
  const known = knownOf([...documents.map(({ document }) => document), ...(others ?? [])], others === null);
  for (const { document, positionOf } of documents)
    lintDocument(document, known, (level, rule, path, message) => {
      findings.push({ ...positionOf(path), level, rule, path: formatPath(path), message });
    });
  return findings.sort(byPosition);
}

function lintDocument(document: AnyDocument, known: Known, report: Report): void {
  if (document.kind === 'GrantTemplate') lintTemplate(document, known, report);
  else if (document.kind === 'TrustedIssuer') lintIssuer(document, known, report);
  else if (document.kind === 'Provider') lintProvider(document, report);
  else if (document.kind === 'ResourceServer') lintServer(document, known, report);
  else if (document.kind === 'RoleBinding') lintBinding(document, known, report);
  else document satisfies never;
}

function knownOf(documents: readonly AnyDocument[], lenient: boolean): Known {
  const byKey = new Map(documents.map((one) => [`${one.kind}\n${one.metadata.name}`, one]));
  const find = <K extends AnyDocument['kind']>(kind: K, name: string): DocumentOf<K> | undefined => {
    const found = byKey.get(`${kind}\n${name}`);
    return found !== undefined && isDocumentOf(found, kind) ? found : undefined;
  };
  return {
    has: (kind, name) => lenient || byKey.has(`${kind}\n${name}`),
    missing: (kind, name) => {
      const names = documents.filter((one) => one.kind === kind).map((one) => one.metadata.name);
      return `no ${kind} ${name}${didYouMean(name, names)}`;
    },
    server: (name) => find('ResourceServer', name),
    provider: (name) => find('Provider', name),
    issuer: (name) => find('TrustedIssuer', name),
    keeps: (issuer, claim) => {
      const spec = find('TrustedIssuer', issuer)?.spec;
      return spec === undefined
        ? undefined
        : claim === 'sub' || spec.claims.includes(claim) || keptClaims[spec.type].includes(claim);
    },
    beside: (kind, self) =>
      [...byKey.values()].flatMap((one) =>
        isDocumentOf(one, kind) && one.metadata.name !== self ? [one] : [],
      ),
  };
}
