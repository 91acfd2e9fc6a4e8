/** Why a text is not the JSON we accept. The message never quotes the text. */
export class JsonError extends Error {}

/**
 * JSON.parse that also refuses duplicate keys (RFC 8259 section 4 leaves them undefined; two parsers that
 * disagree about them are an attack), numbers beyond double range, lone surrogates and NUL, which PostgreSQL
 * could not store, so that a caller could make its own refusal unloggable.
 */
export function parseJsonStrict(text: string, { maxDepth = 16 }: { maxDepth?: number } = {}): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new JsonError('not JSON', { cause });
  }
  refuseDuplicateKeys(text);
  refuseUnstorable(value, maxDepth);
  return value;
}

/** True for text that UTF-8 and PostgreSQL can hold unchanged. */
export function isStorableText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\u0000');
}

// One pass over text that JSON.parse accepted: strings followed by `:` are keys of the innermost object.
// Written without a choice per character: a long text must not fill the stack of the regular expression.
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]/gs;

function refuseDuplicateKeys(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let lastString: string | undefined;
  for (const [piece] of text.matchAll(token)) {
    if (piece === '{') open.push(new Set());
    else if (piece === '[') open.push(undefined);
    else if (piece === '}' || piece === ']') open.pop();
    else if (piece === ':') {
      const keys = open.at(-1);
      const key = String(JSON.parse(lastString ?? '""'));
      if (keys?.has(key)) throw new JsonError('duplicate key');
      keys?.add(key);
    } else lastString = piece;
  }
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
