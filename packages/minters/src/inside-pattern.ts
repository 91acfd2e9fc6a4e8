/**
 * The pattern language once more, segment by segment: written apart from core's, so that one mistake does not pass
 * both the decision and the check of its plan. Linear: a caller who chooses the value must not choose the time.
 */
export function insidePattern(pattern: string, value: string): boolean {
  const open = pattern.endsWith('/**');
  const fixed = open ? pattern.slice(0, -3) : pattern;
  if (fixed.includes('**')) return false;
  // Segments at even places, the `/` or `:` between them at odd ones; a star never reaches over one.
  const wanted = fixed.split(/([/:])/);
  const given = value.split(/([/:])/);
  const rest = given.slice(wanted.length).join('');
  if (open ? !/^\/[\s\S]/.test(rest) : rest !== '') return false;
  return wanted.every((piece, index) => {
    const found = given[index];
    if (found === undefined) return false;
    return index % 2 === 1 ? piece === found : insideSegment(piece, found);
  });
}

function insideSegment(pattern: string, value: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return value === first;
  const end = value.length - last.length;
  if (first.length > end || !value.startsWith(first) || !value.endsWith(last)) return false;
  let at = first.length;
  for (const piece of others) {
    const found = value.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
