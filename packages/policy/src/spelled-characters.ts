/**
 * Characters that a pattern (RE2 syntax) writes as themselves. A wildcard, a negated class, a class by name, the inside
 * of a range and the signs of the language itself spell nothing: `[^:]+` must not let a `/` through.
 */
export function spelledCharacters(pattern: string): ReadonlySet<string> {
  const spelled = new Set<string>();
  for (const [piece] of pattern.matchAll(pieces)) {
    if (piece.startsWith('\\Q')) addAll(piece.slice(2).replace(/\\E$/, ''), spelled);
    else if (piece.startsWith('[') && piece.length > 1) addClass(piece, spelled);
    else if (piece.startsWith('\\')) addEscaped(piece, spelled);
    else if ([...piece].length === 1 && !/[.*+?()[\]{}|^$]/.test(piece)) spelled.add(piece);
  }
  return spelled;
}

const pieces = new RegExp(
  [
    String.raw`\\Q.*?(?:\\E|$)`, // quoted text
    String.raw`\\[pP](?:\{[^}]*\}|.)`, // a class by name
    String.raw`\\x(?:\{[^}]*\}|[0-9A-Fa-f]{2})`, // a character by number
    String.raw`\\.`,
    String.raw`\[\^?\]?(?:\[:[^\]]*:\]|\\.|[^\]\\])*\]`, // a class
    String.raw`\(\?[^:)]*[:)]?`, // flags and names of groups
    String.raw`\{[0-9,]*\}`, // a repeat
    '.',
  ].join('|'),
  'gsu',
);

function addClass(piece: string, spelled: Set<string>): void {
  if (piece.startsWith('[^')) return;
  const named = /\[:[^\]]*:\]|\\[pP](?:\{[^}]*\}|.)/gsu;
  for (const [one] of piece.slice(1, -1).replaceAll(named, '').matchAll(/\\.|./gsu))
    if (one.startsWith('\\')) addEscaped(one, spelled);
    else spelled.add(one);
}

// `\d`, `\x2f` and the like name a character, they do not write it.
function addEscaped(piece: string, spelled: Set<string>): void {
  if (/^\\[^\p{L}\p{N}]$/u.test(piece)) spelled.add(piece.slice(1));
}

function addAll(text: string, spelled: Set<string>): void {
  for (const one of text) spelled.add(one);
}
