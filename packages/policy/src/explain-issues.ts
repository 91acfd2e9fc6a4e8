import type { z } from 'zod';
import { isNotBuilt, oneOf } from './documents/common.ts';
import { type Kind, kinds } from './documents/kinds.ts';
import { type DocumentError, formatPath, type Located, type Path } from './located.ts';
import { didYouMean } from './suggest.ts';

type Issue = z.core.$ZodIssue;

/** What zod found in one document, as errors with a place and words for people; never more than one per place and message. */
export function explainIssues(issues: readonly Issue[], kind: Kind, located: Located): DocumentError[] {
  const errors = decisive(issues).flatMap((issue) => explain(issue, [], { kind, located }));
  const seen = new Set<string>();
  return errors.filter(({ path, message }) => {
    const key = `${path}\n${message}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

// A `type` that is not built yet has keys of its own: complaining about each of them would hide the one cause.
function decisive(issues: readonly Issue[]): readonly Issue[] {
  const type = issues.find(({ path, message }) => path.join('.') === 'spec.type' && isNotBuilt(message));
  return type === undefined ? issues : [type, ...issues.filter(({ path }) => path[0] !== 'spec')];
}

interface Context {
  readonly kind: Kind;
  readonly located: Located;
}

function explain(issue: Issue, base: Path, context: Context): DocumentError[] {
  const { located, kind } = context;
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(kind, path);
    return issue.keys.map((key) => ({
      ...located.findKey(path, key),
      path: formatPath([...path, key]),
      message: `unknown key${didYouMean(key, known)}`,
    }));
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0)
    return closest(issue.errors).flatMap((inner) => explain(inner, path, context));
  const key = path.at(-1);
  const place =
    issue.code === 'invalid_key' || isNotBuilt(issue.message)
      ? located.findKey(path.slice(0, -1), String(key))
      : located.find(path);
  return [{ ...place, path: formatPath(path), message: describe(issue) }];
}

/** The branch of a union that was meant: the right sort of value first, then the fewest complaints. */
function closest(branches: readonly (readonly Issue[])[]): readonly Issue[] {
  const wrongSort = (issues: readonly Issue[]) =>
    issues.some(
      ({ path, code }) => path.length === 0 && (code === 'invalid_type' || code === 'invalid_value'),
    );
  const [best = []] = [...branches].sort(
    (a, b) => Number(wrongSort(a)) - Number(wrongSort(b)) || a.length - b.length,
  );
  return best;
}

function describe(issue: Issue): string {
  if (issue.code === 'invalid_value' && issue.message.startsWith('Invalid'))
    return oneOf(issue.input, issue.values.map(String));
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('undefined'))
    return 'is required';
  if (issue.message.startsWith('Invalid input: expected string') && isUnquoted(issue.input))
    return `text expected: quote it ("${String(issue.input)}")`;
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? 'not a key';
  return issue.message.replace(/^Invalid input: /, '').replace(/^Too (small|big): /, '');
}

function isUnquoted(input: unknown): boolean {
  return typeof input === 'number' || typeof input === 'boolean';
}

/** Keys that the schema knows at a path, for "did you mean". */
function knownKeys(kind: Kind, path: Path): readonly string[] {
  let schemas: readonly unknown[] = [kinds[kind]];
  for (const part of path) schemas = schemas.flatMap(membersOf).map((schema) => childOf(schema, part));
  return schemas.flatMap(membersOf).flatMap((one) => Object.keys(Object(Reflect.get(Object(one), 'shape'))));
}

/** The schema itself, or the branches of a union. */
function membersOf(schema: unknown): readonly unknown[] {
  return optionsOf(unwrap(schema)).map(unwrap);
}

function childOf(schema: unknown, part: PropertyKey): unknown {
  const shape: unknown = Reflect.get(Object(schema), 'shape');
  const list: unknown = Reflect.get(Object(schema), 'element');
  const record: unknown = Reflect.get(Object(Reflect.get(Object(schema), 'def')), 'valueType');
  return typeof part === 'number' ? list : (Reflect.get(Object(shape), part) ?? record);
}

function optionsOf(schema: unknown): readonly unknown[] {
  const options: unknown = Reflect.get(Object(Reflect.get(Object(schema), 'def')), 'options');
  return Array.isArray(options) ? options : [schema];
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  for (;;) {
    const definition: unknown = Reflect.get(Object(inner), 'def');
    const next: unknown = Reflect.get(Object(definition), 'innerType');
    if (next === undefined) return inner;
    inner = next;
  }
}
