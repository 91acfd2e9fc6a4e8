/**
 * The one pattern language of Mayfly (contract.md section 4): `*` is any run inside one segment, never `/` or `:`;
 * `**` only as the whole last segment after `/`; always the whole value, bytes compared, case-sensitive.
 */
export interface Pattern {
  readonly text: string;
  matches(value: string): boolean;
}

/** Compiles a pattern, or says why it is none. */
export function compilePattern(text: string): Pattern | { readonly problem: string } {
  const open = text.endsWith('/**');
  const body = open ? text.slice(0, -2) : text;
  if (body.includes('**')) return { problem: '`**` may stand only as the whole last segment' };
  const pieces = body.split('*');
  return { text, matches: (value) => matchPieces(pieces, open, value) };
}

/** True when the text holds no pattern character, so that it names one thing. */
export function isPlain(text: string): boolean {
  return !text.includes('*');
}

// Linear in the value for the usual one or two stars; `open` lets any non-empty rest follow the last `/`.
function matchPieces(pieces: readonly string[], open: boolean, value: string): boolean {
  const [first = '', ...rest] = pieces;
  if (!value.startsWith(first)) return false;
  let ends = [first.length];
  for (const piece of rest) {
    const next = new Set<number>();
    for (const from of ends) for (const end of runsTo(value, from, piece)) next.add(end);
    if (next.size === 0) return false;
    ends = [...next];
  }
  return ends.some((end) => (open ? end < value.length : end === value.length));
}

function* runsTo(value: string, from: number, piece: string): Generator<number> {
  for (let at = from; at <= value.length; at += 1) {
    if (value.startsWith(piece, at)) yield at + piece.length;
    const character = value[at];
    if (character === '/' || character === ':') return;
  }
}
