import { isStorableText } from '@mayfly/protocol';
import { type Document, isAlias, isMap, isNode, isPair, LineCounter, parseAllDocuments, visit } from 'yaml';
import type { z } from 'zod';
import { type AnyDocument, isKind, type Kind, kinds, laterKinds } from './documents/kinds.ts';
import { didYouMean } from './suggest.ts';

export interface Source {
  readonly file: string;
  readonly text: string;
}

export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface DocumentError extends Position {
  /** `spec.grants[0].resource`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A document that fits its schema, defaults filled in, knowing where its parts stand. */
export interface ParsedDocument {
  readonly kind: Kind;
  readonly name: string;
  readonly document: AnyDocument;
  positionOf(path: readonly (string | number)[]): Position;
}

type Path = readonly PropertyKey[];

/** One file's worth of templates; also the body limit of the API. */
const sourceCharactersMax = 1_048_576;
const errorsMax = 200;

/** `file:line:col: path: message`. */
export function formatError({ file, line, column, path, message }: DocumentError): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

/**
 * YAML 1.2 without aliases, anchors, tags or duplicate keys into checked documents. Every error of every file at
 * once, in reading order; a document with an error is left out.
 */
export function parseDocuments(sources: readonly Source[]): {
  readonly documents: readonly ParsedDocument[];
  readonly errors: readonly DocumentError[];
} {
  const documents: ParsedDocument[] = [];
  const errors: DocumentError[] = [];
  const seen = new Map<string, Position>();
  for (const source of sources) {
    const found = parseSource(source);
    errors.push(...found.errors);
    for (const document of found.documents) {
      const key = `${document.kind} ${document.name}`;
      const first = seen.get(key);
      const position = document.positionOf(['metadata', 'name']);
      if (first === undefined) seen.set(key, position);
      else
        errors.push({
          ...position,
          path: 'metadata.name',
          message: `${key} is already declared at ${first.file}:${first.line}`,
        });
      documents.push(document);
    }
  }
  const order = (a: DocumentError, b: DocumentError) =>
    a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column;
  return { documents, errors: errors.sort(order).slice(0, errorsMax) };
}

interface Found {
  readonly documents: ParsedDocument[];
  readonly errors: DocumentError[];
}

function parseSource({ file, text }: Source): Found {
  const start = { file, line: 1, column: 1, path: '' };
  if (text.length > sourceCharactersMax)
    return { documents: [], errors: [{ ...start, message: 'larger than 1 MiB' }] };
  if (!isStorableText(text))
    return { documents: [], errors: [{ ...start, message: 'holds NUL or is not UTF-8' }] };
  const lineCounter = new LineCounter();
  const parsed = parseAllDocuments(text, {
    version: '1.2',
    schema: 'core',
    merge: false,
    uniqueKeys: true,
    lineCounter,
    prettyErrors: false,
  });
  const found: Found = { documents: [], errors: [] };
  if (!Array.isArray(parsed)) return { documents: [], errors: [{ ...start, message: 'no document' }] };
  for (const document of parsed) readDocument(new Located(document, file, lineCounter), found);
  return found;
}

/** A YAML document with the way from a path to its place. */
class Located {
  readonly document: Document.Parsed;
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(document: Document.Parsed, file: string, lines: LineCounter) {
    this.document = document;
    this.#file = file;
    this.#lines = lines;
  }

  at(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** The node of the path, or of its nearest parent that is there. */
  find(path: Path): Position {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = this.document.getIn(path.slice(0, length), true);
      if (isNode(node) && node.range) return this.at(node.range[0]);
    }
    return this.at(this.document.range?.[0] ?? 0);
  }

  /** The key itself, for one that should not be there. */
  findKey(path: Path, key: string): Position {
    const parent = path.length === 0 ? this.document.contents : this.document.getIn(path, true);
    if (!isMap(parent)) return this.find(path);
    const pair = parent.items.find((item) => isPair(item) && String(item.key) === key);
    return isNode(pair?.key) && pair.key.range ? this.at(pair.key.range[0]) : this.find(path);
  }
}

function readDocument(located: Located, found: Found): void {
  const { document } = located;
  const before = found.errors.length;
  for (const { pos, message, code } of document.errors)
    found.errors.push({
      ...located.at(pos[0]),
      path: '',
      message: code === 'DUPLICATE_KEY' ? 'duplicate key' : message,
    });
  refuseExtras(located, found);
  if (found.errors.length > before) return;
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  if (value === null || value === undefined) return; // An empty document between two `---`.
  const kind = readKind(value, located, found);
  if (kind === undefined) return;
  const checked = kinds[kind].safeParse(value);
  if (!checked.success) {
    for (const issue of checked.error.issues) reportIssue(issue, [], { located, found, kind });
    return;
  }
  const { data } = checked;
  const positionOf = (path: readonly (string | number)[]) => located.find(path);
  found.documents.push({ kind, name: data.metadata.name, document: data, positionOf });
}

// Aliases and tags make one text mean another thing to another reader.
function refuseExtras(located: Located, { errors }: Found): void {
  visit(located.document, {
    Node: (_key, node) => {
      const place = () => located.at(node.range?.[0] ?? 0);
      if (isAlias(node))
        errors.push({ ...place(), path: '', message: 'aliases are not accepted; write the value out' });
      else if (node.anchor !== undefined)
        errors.push({ ...place(), path: '', message: 'anchors are not accepted' });
      else if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:'))
        errors.push({ ...place(), path: '', message: 'tags are not accepted' });
    },
  });
}

function readKind(value: unknown, located: Located, { errors }: Found): Kind | undefined {
  const stated: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value, 'kind') : undefined;
  if (typeof stated !== 'string') {
    errors.push({
      ...located.find([]),
      path: 'kind',
      message: `a document needs a kind: ${Object.keys(kinds).join(', ')}`,
    });
    return undefined;
  }
  if (isKind(stated)) return stated;
  const later = (laterKinds as readonly string[]).includes(stated);
  const message = later
    ? 'this kind is not built yet in this version'
    : `unknown kind${didYouMean(stated, Object.keys(kinds))}`;
  errors.push({ ...located.find(['kind']), path: 'kind', message });
  return undefined;
}

interface Reporting {
  readonly located: Located;
  readonly found: Found;
  readonly kind: Kind;
}

function reportIssue(issue: z.core.$ZodIssue, base: Path, reporting: Reporting): void {
  const { located, found, kind } = reporting;
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(kind, path);
    for (const key of issue.keys)
      found.errors.push({
        ...located.findKey(path, key),
        path: formatPath([...path, key]),
        message: `unknown key${didYouMean(key, known)}`,
      });
    return;
  }
  if (issue.code === 'invalid_union') {
    // The branch that got furthest says what is wrong with what was meant.
    const [closest] = [...issue.errors].sort((a, b) => a.length - b.length || depth(b) - depth(a));
    for (const inner of closest ?? []) reportIssue(inner, path, reporting);
    if (closest !== undefined && closest.length > 0) return;
  }
  found.errors.push({ ...located.find(path), path: formatPath(path), message: describe(issue) });
}

function depth(issues: readonly z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map(({ path }) => path.length));
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    const stated = typeof issue.input === 'string' ? didYouMean(issue.input, values) : '';
    return issue.message.startsWith('Invalid') ? `one of ${values.join(', ')}${stated}` : issue.message;
  }
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('undefined'))
    return 'is required';
  return issue.message.replace(/^Invalid input: /, '').replace(/^Too (small|big): /, '');
}

export function formatPath(path: Path): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`,
    )
    .join('');
}

/** Keys that the schema knows at a path, for "did you mean". */
function knownKeys(kind: Kind, path: Path): readonly string[] {
  let schema: unknown = kinds[kind];
  for (const part of path) {
    schema = unwrap(schema);
    const shape: unknown = Reflect.get(Object(schema), 'shape');
    schema =
      typeof part === 'number' ? Reflect.get(Object(schema), 'element') : Reflect.get(Object(shape), part);
  }
  return Object.keys(Object(Reflect.get(Object(unwrap(schema)), 'shape')));
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  for (;;) {
    const definition: unknown = Reflect.get(Object(inner), 'def');
    const next: unknown = Reflect.get(Object(definition), 'innerType');
    if (next === undefined) return inner;
    inner = next;
  }
}
