import type { ClaimValue } from './workload.ts';

export interface VariableValues {
  readonly params: Readonly<Record<string, string>>;
  readonly claims: Readonly<Record<string, ClaimValue>>;
  /** The bare 26-character form. */
  readonly taskId: string;
}

const variable = /\$\{([^}]*)\}/g;
// A value that could widen the resource it stands in, whatever its own pattern allowed.
const unsafe = /[*?$,{}\\\p{Cc}\p{Cs}]|(?:^|\/)\.{1,2}(?:\/|$)/u;

/** Replaces the variables of a resource, or undefined when one is missing, an array, or unsafe where it stands. */
export function resolveVariables(text: string, values: VariableValues): string | undefined {
  let complete = true;
  const resolved = text.replace(variable, (_, name: string) => {
    const value = lookUp(name, values);
    if (value === undefined || value === '' || unsafe.test(value)) {
      complete = false;
      return '';
    }
    return value;
  });
  return complete && !resolved.includes('${') ? resolved : undefined;
}

/** The names used in a text, in order. */
export function variablesOf(text: string): readonly string[] {
  return [...text.matchAll(variable)].map(([, name = '']) => name);
}

function lookUp(name: string, values: VariableValues): string | undefined {
  if (name === 'task.id') return values.taskId;
  const [scope, key] = name.startsWith('params.')
    ? [values.params, name.slice(7)]
    : [values.claims, name.slice(16)];
  if (!name.startsWith('params.') && !name.startsWith('workload.claims.')) return undefined;
  const value = Object.hasOwn(scope, key) ? scope[key] : undefined;
  return typeof value === 'string' ? value : undefined;
}
