import { notBuiltMessage } from './documents/common.ts';
import { type AnyDocument, isKind, type Kind, kinds, laterKinds } from './documents/kinds.ts';
import { explainIssues } from './explain-issues.ts';
import { byPosition, type DocumentError, type Located, type Position } from './located.ts';
import { readYaml, type Source } from './read-yaml.ts';
import { didYouMean } from './suggest.ts';

/** A document that fits its schema, defaults filled in, knowing where its parts stand. */
export interface ParsedDocument {
  readonly kind: Kind;
  readonly name: string;
  readonly document: AnyDocument;
  positionOf(path: readonly (string | number)[]): Position;
}

/** More help nobody; the rest is counted in one line. */
const errorsMax = 200;

/** `file:line:col: path: message`. */
export function formatError({ file, line, column, path, message }: DocumentError): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

/**
 * YAML 1.2 without aliases, anchors, tags or duplicate keys into checked documents. Every error of every file at
 * once, in reading order; a document with an error is left out. Pure: reading files is the caller's.
 */
export function parseDocuments(sources: readonly Source[]): {
  readonly documents: readonly ParsedDocument[];
  readonly errors: readonly DocumentError[];
} {
  const documents: ParsedDocument[] = [];
  const errors: DocumentError[] = [];
  for (const source of sources) {
    const yaml = readYaml(source);
    errors.push(...yaml.errors);
    for (const located of yaml.documents) {
      const read = readDocument(located);
      if ('document' in read) documents.push(read);
      else errors.push(...read.errors);
    }
  }
  errors.push(...refuseTwins(documents));
  errors.sort(byPosition);
  const [last] = errors.slice(errorsMax - 1);
  if (last === undefined || errors.length === errorsMax) return { documents, errors };
  const more = { ...last, path: '', message: `and ${errors.length - errorsMax + 1} more errors` };
  return { documents, errors: [...errors.slice(0, errorsMax - 1), more] };
}

function readDocument(located: Located): ParsedDocument | { readonly errors: readonly DocumentError[] } {
  const value: unknown = located.document.toJS({ maxAliasCount: 0 });
  const stated = readKind(value);
  if ('message' in stated) return { errors: [{ ...located.find(['kind']), ...stated }] };
  const { kind } = stated;
  const checked = kinds[kind].safeParse(value, { reportInput: true });
  if (!checked.success) return { errors: explainIssues(checked.error.issues, kind, located) };
  const { data } = checked;
  const positionOf = (path: readonly (string | number)[]) => located.find(path);
  return { kind, name: data.metadata.name, document: data, positionOf };
}

function readKind(value: unknown): { kind: Kind } | { path: string; message: string } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { path: '', message: 'a document is a mapping with apiVersion, kind, metadata and spec' };
  const stated: unknown = Reflect.get(value, 'kind');
  if (typeof stated !== 'string')
    return { path: 'kind', message: `a document needs a kind: ${Object.keys(kinds).join(', ')}` };
  if (isKind(stated)) return { kind: stated };
  const later: readonly string[] = laterKinds;
  if (later.includes(stated)) return { path: 'kind', message: notBuiltMessage(`kind ${stated}`) };
  return { path: 'kind', message: `unknown kind${didYouMean(stated, [...Object.keys(kinds), ...later])}` };
}

function refuseTwins(documents: readonly ParsedDocument[]): readonly DocumentError[] {
  const seen = new Map<string, Position>();
  return documents.flatMap(({ kind, name, positionOf }) => {
    const position = positionOf(['metadata', 'name']);
    const first = seen.get(`${kind} ${name}`);
    if (first === undefined) seen.set(`${kind} ${name}`, position);
    const message = `${kind} ${name} is already declared at ${first?.file}:${first?.line}`;
    return first === undefined ? [] : [{ ...position, path: 'metadata.name', message }];
  });
}

export { type DocumentError, formatPath, type Position } from './located.ts';
export type { Source } from './read-yaml.ts';
