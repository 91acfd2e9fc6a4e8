/**
 * The pattern language once more, as a regular expression: written apart from core's, so that one mistake does not
 * pass both the decision and the check of its plan.
 */
export function insidePattern(pattern: string, value: string): boolean {
  const open = pattern.endsWith('/**');
  const fixed = open ? pattern.slice(0, -2) : pattern;
  const source = fixed.replace(/[.\\+?^${}()|[\]]/g, '\\$&').replaceAll('*', '[^/:]*');
  return new RegExp(`^${source}${open ? '[^]+' : ''}$`, 'u').test(value);
}
