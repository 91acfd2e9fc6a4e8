import type { ClaimValue, ParamSpec } from '@mayfly/core';
import { RE2JS } from 're2js';
import type { DocumentOf } from './documents/kinds.ts';
import { spelledCharacters } from './spelled-characters.ts';

export type ParamDocument = DocumentOf<'GrantTemplate'>['spec']['params'][string];

const charactersMax = 128;
/** What a value may hold unless its pattern spells more. */
const plain = /^[A-Za-z0-9._=@+-]$/;
const dotSegment = /(?:^|\/)\.{1,2}(?:\/|$)/;
/** A bounded repeat of a bounded repeat grows the automaton without growing the text. */
const programSizeMax = 5_000;

/** One parameter, compiled: whole value, 1-128 characters, RE2 (no backtracking), never `.` or `..` as a segment. */
export function compileParam(document: ParamDocument): ParamSpec {
  const fits = compileTest(document);
  const spelled = spelledCharacters(document.pattern ?? '');
  const isSpelled = (value: string) =>
    document.enum !== undefined ||
    [...value].every((character) => plain.test(character) || spelled.has(character));
  return {
    fromClaim: document.from === undefined ? null : document.from.slice('workload.claims.'.length),
    accepts: (value) =>
      value.length >= 1 &&
      value.length <= charactersMax &&
      !dotSegment.test(value) &&
      isSpelled(value) &&
      fits(value),
  };
}

/** Why a pattern is none, or null. */
export function patternProblem(pattern: string): string | null {
  try {
    const compiled = RE2JS.compile(pattern);
    return compiled.programSize() > programSizeMax
      ? 'a pattern this large is refused; bound its repeats'
      : null;
  } catch {
    return 'RE2 refuses this pattern (no look-around, no back-references, at most 1000 repeats)';
  }
}

export type ParamsChecked =
  | { readonly ok: true; readonly params: Readonly<Record<string, string>> }
  | { readonly ok: false; readonly problem: string };

/**
 * The parameters of a task as its template settles them: all declared, none else, those with `from` taken from the
 * proven claims and never from the caller. The problem names the parameter, never a value.
 */
export function checkParams(
  specs: Readonly<Record<string, ParamSpec>>,
  given: Readonly<Record<string, string | number>>,
  claims: Readonly<Record<string, ClaimValue>>,
): ParamsChecked {
  const params: Record<string, string> = {};
  for (const name of Object.keys(given)) {
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (spec === undefined) return { ok: false, problem: 'a parameter that the template does not declare' };
    if (spec.fromClaim !== null) return { ok: false, problem: `parameter ${name} is taken from a claim` };
  }
  for (const [name, spec] of Object.entries(specs)) {
    const source = spec.fromClaim === null ? given : claims;
    const key = spec.fromClaim ?? name;
    const value = Object.hasOwn(source, key) ? source[key] : undefined;
    if (value === undefined) return { ok: false, problem: `parameter ${name} is missing` };
    const text = typeof value === 'number' ? String(value) : value;
    if (typeof text !== 'string' || !spec.accepts(text))
      return { ok: false, problem: `parameter ${name} does not fit` };
    params[name] = text;
  }
  return { ok: true, params };
}

function compileTest({ pattern, enum: values, integer }: ParamDocument): (value: string) => boolean {
  if (pattern !== undefined) {
    // `matches` is the whole value; wrapping in ^(?:...)$ would let a stray bracket pair up with ours.
    const compiled = RE2JS.compile(pattern);
    return (value) => compiled.matches(value);
  }
  if (values !== undefined) return (value) => values.includes(value);
  if (integer !== undefined)
    return (value) =>
      /^(?:0|-?[1-9][0-9]{0,14})$/.test(value) &&
      Number(value) >= integer.min &&
      Number(value) <= integer.max;
  return () => false;
}
