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

// Each star looks once at each place of the value; `open` lets any non-empty rest follow the last `/`.
function matchPieces(pieces: readonly string[], open: boolean, value: string): boolean {
  const [first = '', ...rest] = pieces;
  if (!value.startsWith(first)) return false;
  let ends: ReadonlySet<number> = new Set([first.length]);
  for (const piece of rest) {
    ends = endsAfter(piece, ends, value);
    if (ends.size === 0) return false;
  }
  return open ? [...ends].some((end) => end < value.length) : ends.has(value.length);
}

/** Where `piece` may end when a run that stays inside its segment leads to it from any of `starts`. */
function endsAfter(piece: string, starts: ReadonlySet<number>, value: string): ReadonlySet<number> {
  const ends = new Set<number>();
  let inRun = false;
  for (let at = 0; at <= value.length; at += 1) {
    inRun ||= starts.has(at);
    if (inRun && value.startsWith(piece, at)) ends.add(at + piece.length);
    const character = value[at];
    if (character === '/' || character === ':') inRun = false;
  }
  return ends;
}

/** Stands for whatever a star of the inner pattern may stand for; no text that is compared holds it. */
const anyRun = '\u0001';

/**
 * Does the outer pattern match whatever the inner one does? Never a wrong yes: a star of the inner one must be met
 * by one of the outer, since nothing else matches the mark that stands for it, and an open end by an open end.
 */
export function patternWithin(inner: string, outer: string): boolean {
  const compiled = compilePattern(outer);
  if (!('matches' in compiled) || !('matches' in compilePattern(inner))) return false;
  if (inner.includes(anyRun) || outer.includes(anyRun)) return false;
  if (inner.endsWith('/**') && !outer.endsWith('/**')) return false;
  const open = inner.replace(/\*\*$/, anyRun);
  // A star may stand for nothing at all, an open end may not.
  return compiled.matches(open.replaceAll('*', anyRun)) && compiled.matches(open.replaceAll('*', ''));
}
