/** Why a text is not the JSON we accept. The message never quotes the text. */
export class JsonError extends Error {}

/**
 * JSON.parse that also refuses duplicate keys (RFC 8259 section 4 leaves them undefined; two parsers that
 * disagree about them are an attack), numbers beyond double range, lone surrogates and NUL, which PostgreSQL
 * could not store, so that a caller could make its own refusal unloggable.
 */
export function parseJsonStrict(text: string, { maxDepth = 16 }: { maxDepth?: number } = {}): unknown {
  const value = parse(text);
  const spelled = readKeys(text);
  refuseUnstorable(value, maxDepth);
  return spelled.length === 0 ? value : parseSpelled(text, spelled);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new JsonError('not JSON', { cause });
  }
}

/** True for text that UTF-8 and PostgreSQL can hold unchanged. */
export function isStorableText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\u0000');
}

/** A key that is written with an escape: where, in how many characters, and what it says. */
interface Spelled {
  readonly at: number;
  readonly length: number;
  readonly key: string;
}

// One pass over text that JSON.parse accepted: strings followed by `:` are keys of the innermost object.
// Written without a choice per character: a long text must not fill the stack of the regular expression.
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]/gs;

function readKeys(text: string): readonly Spelled[] {
  const open: (Set<string> | undefined)[] = [];
  const spelled: Spelled[] = [];
  let last: { readonly piece: string; readonly at: number } | undefined;
  for (const { 0: piece, index: at } of text.matchAll(token)) {
    if (piece === '{') open.push(new Set());
    else if (piece === '[') open.push(undefined);
    else if (piece === '}' || piece === ']') open.pop();
    else if (piece === ':') {
      const keys = open.at(-1);
      const { piece: written = '""', at: start = 0 } = last ?? {};
      const key = String(JSON.parse(written));
      if (keys?.has(key)) throw new JsonError('duplicate key');
      keys?.add(key);
      if (written.includes('\\')) spelled.push({ at: start, length: written.length, key });
    } else last = { piece, at };
  }
  return spelled;
}

/**
 * V8 as in Node 24 takes a key that is written with an escape for another one, of which it has seen an object: it compares
 * the text as written (`"\u002c"` is read as a backslash after `{"\\":1}`). So each of them stands aside while it parses.
 */
function parseSpelled(text: string, spelled: readonly Spelled[]): unknown {
  let mark = 'key';
  while (text.includes(mark)) mark += 'x';
  const keys = new Map(spelled.map(({ key }, nth) => [`${mark}${nth}`, key]));
  let [plain, from] = ['', 0];
  for (const [nth, { at, length }] of spelled.entries()) {
    plain += `${text.slice(from, at)}"${mark}${nth}"`;
    from = at + length;
  }
  return renamed(parse(plain + text.slice(from)), keys);
}

function renamed(value: unknown, keys: ReadonlyMap<string, string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((inner) => renamed(inner, keys));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [keys.get(key) ?? key, renamed(inner, keys)]),
  );
}

function refuseUnstorable(value: unknown, depth: number): void {
  if (depth < 0) throw new JsonError('nested too deeply');
  if (typeof value === 'string' && !isStorableText(value))
    throw new JsonError('text with NUL or a lone surrogate');
  if (typeof value === 'number' && !Number.isFinite(value)) throw new JsonError('number out of range');
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    refuseUnstorable(key, depth);
    refuseUnstorable(inner, depth - 1);
  }
}
