import type { ParamSpec } from '@mayfly/core';
import { RE2JS } from 're2js';
import type { DocumentOf } from './documents/kinds.ts';

export type ParamDocument = DocumentOf<'GrantTemplate'>['spec']['params'][string];

const charactersMax = 128;
/** What a value may hold unless its pattern spells more. */
const plain = /^[A-Za-z0-9._=@+-]+$/;
const dotSegment = /(?:^|\/)\.{1,2}(?:\/|$)/;

/** One parameter, compiled: whole value, 1-128 characters, RE2 (no backtracking), never `.` or `..` as a segment. */
export function compileParam(document: ParamDocument): ParamSpec {
  const fits = compileTest(document);
  return {
    fromClaim: document.from === undefined ? null : document.from.slice('workload.claims.'.length),
    accepts: (value) => {
      if (value.length < 1 || value.length > charactersMax || dotSegment.test(value)) return false;
      return (plain.test(value) || spellsMore(document, value)) && fits(value);
    },
  };
}

/** Why a pattern is none, or null. */
export function patternProblem(pattern: string): string | null {
  try {
    RE2JS.compile(pattern);
    return null;
  } catch {
    return 'not a regular expression of RE2';
  }
}

function compileTest({ pattern, enum: values, integer }: ParamDocument): (value: string) => boolean {
  if (pattern !== undefined) {
    const compiled = RE2JS.compile(`^(?:${pattern})$`, RE2JS.DOTALL);
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

// A character beyond the plain ones passes only where the pattern or the list itself writes it, never by a wildcard.
function spellsMore({ pattern, enum: values }: ParamDocument, value: string): boolean {
  if (values !== undefined) return true;
  return [...value].every((character) => plain.test(character) || (pattern?.includes(character) ?? false));
}
