import { isStorableText } from '@mayfly/protocol';
import { Composer, type CST, isAlias, isScalar, LineCounter, Parser, visit } from 'yaml';
import { type DocumentError, Located } from './located.ts';

export interface Source {
  readonly file: string;
  readonly text: string;
}

/** The body limit of /v1: what lints also fits into one request. */
const sourceBytesMax = 1_048_576;
/** The deepest document of ours nests 9 levels; the composer recurses, so more would be a way to end the process. */
const depthMax = 32;
/** Far above any installation we know of; each document costs a compile at every epoch. */
const documentsMax = 1_000;

/**
 * YAML 1.2 (core schema) without what lets one text mean two things: aliases, anchors, merge keys, tags, directives,
 * duplicate keys, keys that are not text, characters that do not show. Documents with an error are left out.
 */
export function readYaml({ file, text }: Source): {
  readonly documents: readonly Located[];
  readonly errors: readonly DocumentError[];
} {
  const start = { file, line: 1, column: 1, path: '' };
  if (new TextEncoder().encode(text).length > sourceBytesMax)
    return { documents: [], errors: [{ ...start, message: 'larger than 1 MiB' }] };
  const hidden = findHidden(text);
  if (hidden !== null) return { documents: [], errors: [{ file, path: '', ...hidden }] };
  const lines = new LineCounter();
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col), path: '' };
  };
  const unfit = refuseTokens(tokens);
  if (unfit.length > 0)
    return { documents: [], errors: unfit.map(({ offset, message }) => ({ ...place(offset), message })) };
  const options = {
    version: '1.2',
    schema: 'core',
    merge: false,
    uniqueKeys: true,
    stringKeys: true,
  } as const;
  const composed = [...new Composer({ ...options, prettyErrors: false }).compose(tokens)];
  if (composed.length > documentsMax)
    return {
      documents: [],
      errors: [{ ...start, message: `more than ${documentsMax} documents in one file` }],
    };
  const checked = composed.map((document) => {
    const located = new Located(document, file, lines);
    return { located, errors: refuseDocument(located), empty: isEmpty(document.contents) };
  });
  const errors = checked.flatMap((one) => one.errors);
  // An empty body with `prune` would delete the whole set.
  if (errors.length === 0 && checked.every(({ empty }) => empty))
    return { documents: [], errors: [{ ...start, message: 'no document in this file' }] };
  const sound = checked.filter((one) => one.errors.length === 0 && !one.empty);
  return { documents: sound.map(({ located }) => located), errors };
}

/** Nothing between two `---`. */
function isEmpty(contents: unknown): boolean {
  return contents === null || (isScalar(contents) && contents.value === null);
}

// NUL and lone surrogates cannot be stored; other controls and the bidirectional ones make a reviewer read another
// text than we do (CVE-2021-42574).
const hiddenCharacter = /(?![\t\n\r])[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/u;

function findHidden(text: string): { line: number; column: number; message: string } | null {
  const offset = text.search(hiddenCharacter);
  if (offset < 0) return null;
  const before = text.slice(0, offset).split('\n');
  const code = text.charCodeAt(offset).toString(16).toUpperCase().padStart(4, '0');
  const column = (before.at(-1)?.length ?? 0) + 1;
  return { line: before.length, column, message: `character U+${code} is not accepted` };
}

interface Unfit {
  readonly offset: number;
  readonly message: string;
}

// Before anything is composed: iterative, because what it looks for is depth.
function refuseTokens(tokens: readonly CST.Token[]): readonly Unfit[] {
  const found: Unfit[] = [];
  const open = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (token.type === 'directive')
      found.push({ offset: token.offset, message: 'directives are not accepted; YAML 1.2 is meant' });
    if (depth > depthMax)
      return [{ offset: token.offset, message: `nested more than ${depthMax} levels deep` }];
    for (const inner of childrenOf(token)) open.push({ token: inner, depth: depth + 1 });
  }
  return found;
}

function childrenOf(token: CST.Token): readonly CST.Token[] {
  if (token.type === 'document') return token.value === undefined ? [] : [token.value];
  if (!('items' in token)) return [];
  return token.items.flatMap(({ key, value }) =>
    [key, value].filter((one) => one !== undefined && one !== null),
  );
}

function refuseDocument(located: Located): DocumentError[] {
  const { document } = located;
  // An unresolved tag is only a warning there; the visit below refuses it where it stands.
  const warnings = document.warnings.filter(({ code }) => code !== 'TAG_RESOLVE_FAILED');
  const errors = [...document.errors, ...warnings].map(({ pos, message, code }) => ({
    ...located.at(pos[0]),
    path: '',
    message: wordsOf[code] ?? lowerFirst(message),
  }));
  const refuse = (offset: number | undefined, message: string) => {
    errors.push({ ...located.at(offset ?? 0), path: '', message });
  };
  visit(document, {
    Pair: (_key, { key }) => {
      if (isScalar(key) && (key.value === '__proto__' || key.value === '<<'))
        refuse(key.range?.[0], `the key ${key.value} is not accepted`);
    },
    Node: (_key, node) => {
      const offset = node.range?.[0];
      if (isAlias(node)) return refuse(offset, 'aliases are not accepted; write the value out');
      if (node.anchor !== undefined)
        refuse(offset, 'anchors are not accepted; write the value out where it is used');
      if (node.tag !== undefined && !isCoreTag(node.tag))
        refuse(offset, `the tag ${node.tag.replace(coreStart, '!!')} is not accepted; quote text instead`);
      if (isScalar(node) && typeof node.value === 'string' && !isStorableText(node.value))
        refuse(offset, node.value.includes('\0') ? 'text with NUL' : 'text with a lone surrogate');
    },
  });
  return errors;
}

const wordsOf: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'duplicate key; the first one stands above',
  NON_STRING_KEY: 'keys are text: quote it',
  TAG_RESOLVE_FAILED: 'tags are not accepted; quote text instead',
  BAD_ALIAS: 'aliases are not accepted; write the value out',
};

const coreStart = 'tag:yaml.org,2002:';
const coreTags: ReadonlySet<string> = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => coreStart + name),
);

function isCoreTag(tag: string): boolean {
  return coreTags.has(tag);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
