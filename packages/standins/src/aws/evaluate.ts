/**
 * A small evaluator of IAM policies: identity policies, permissions boundary, session policies layer by layer,
 * resource policy, explicit deny. Semantics as the AWS policy reference states them; what it does not know denies.
 */
export type Context = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Statement {
  readonly Sid?: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Action?: string | readonly string[];
  readonly NotAction?: string | readonly string[];
  readonly Resource?: string | readonly string[];
  readonly NotResource?: string | readonly string[];
  readonly Principal?: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export interface Policy {
  readonly Version?: string;
  readonly Statement: Statement | readonly Statement[];
}

export interface Request {
  readonly action: string;
  readonly resource: string;
  readonly context: Context;
}

export interface Layers {
  readonly identity: readonly Policy[];
  readonly boundary: Policy | undefined;
  /** Each must allow: the session policy, then one per scoped session. */
  readonly sessions: readonly Policy[];
}

/** Not a policy that AWS would take. */
export class MalformedPolicy extends Error {}

/** True only when every layer allows and none denies. */
export function allows(layers: Layers, request: Request): boolean {
  const boundary = layers.boundary === undefined ? [] : [layers.boundary];
  const all = [...layers.identity, ...boundary, ...layers.sessions];
  if (
    all.some((policy) => statementsOf(policy).some((one) => one.Effect === 'Deny' && applies(one, request)))
  )
    return false;
  const permits = (policies: readonly Policy[]) =>
    policies.some((policy) =>
      statementsOf(policy).some((one) => one.Effect === 'Allow' && applies(one, request)),
    );
  return (
    permits(layers.identity) &&
    boundary.every((one) => permits([one])) &&
    layers.sessions.every((one) => permits([one]))
  );
}

/** Parses and checks the form; throws MalformedPolicy. */
export function parsePolicy(text: string): Policy {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedPolicy('not JSON', { cause });
  }
  const statements: unknown = Reflect.get(Object(value), 'Statement');
  const list: unknown[] = Array.isArray(statements) ? statements : [statements];
  for (const statement of list) checkStatement(statement);
  return value as Policy; // Checked just above.
}

export function statementsOf({ Statement: statement }: Policy): readonly Statement[] {
  return 'Effect' in statement ? [statement] : statement;
}

const members = new Set([
  'Sid',
  'Effect',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Principal',
  'Condition',
]);

function checkStatement(value: unknown): void {
  if (typeof value !== 'object' || value === null) throw new MalformedPolicy('statement');
  for (const key of Object.keys(value)) if (!members.has(key)) throw new MalformedPolicy(`member ${key}`);
  const effect: unknown = Reflect.get(value, 'Effect');
  if (effect !== 'Allow' && effect !== 'Deny') throw new MalformedPolicy('Effect');
  if (!('Action' in value) === !('NotAction' in value)) throw new MalformedPolicy('Action or NotAction');
  const condition: unknown = Reflect.get(value, 'Condition') ?? {};
  for (const operator of Object.keys(Object(condition)))
    if (operatorOf(operator) === undefined) throw new MalformedPolicy(`operator ${operator}`);
}

function applies(statement: Statement, request: Request): boolean {
  const { action, resource, context } = request;
  const some = (patterns: string | readonly string[], value: string, fold: boolean) =>
    listOf(patterns).some((pattern) => wild(substitute(pattern, context), value, fold));
  if (statement.Action !== undefined && !some(statement.Action, action, true)) return false;
  if (statement.NotAction !== undefined && some(statement.NotAction, action, true)) return false;
  if (statement.Resource !== undefined && !some(statement.Resource, resource, false)) return false;
  if (statement.NotResource !== undefined && some(statement.NotResource, resource, false)) return false;
  return holdsAll(statement.Condition, context);
}

export function holdsAll(condition: Statement['Condition'], context: Context): boolean {
  return Object.entries(condition ?? {}).every(([operator, keys]) =>
    Object.entries(keys).every(([key, expected]) =>
      holds(operator, { key, expected: listOf(expected) }, context),
    ),
  );
}

interface Operator {
  readonly negated: boolean;
  test(actual: string, expected: string): boolean;
}

const instant = (text: string) => (/^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text));
const date = (compare: (a: number, b: number) => boolean) => (a: string, b: string) =>
  compare(instant(a), instant(b));
const number = (compare: (a: number, b: number) => boolean) => (a: string, b: string) =>
  compare(Number(a), Number(b));

const operators: Readonly<Record<string, Operator>> = {
  StringEquals: { negated: false, test: (a, b) => a === b },
  StringNotEquals: { negated: true, test: (a, b) => a === b },
  StringEqualsIgnoreCase: { negated: false, test: (a, b) => a.toLowerCase() === b.toLowerCase() },
  StringLike: { negated: false, test: (a, b) => wild(b, a, false) },
  StringNotLike: { negated: true, test: (a, b) => wild(b, a, false) },
  ArnEquals: { negated: false, test: (a, b) => wild(b, a, false) },
  ArnLike: { negated: false, test: (a, b) => wild(b, a, false) },
  ArnNotEquals: { negated: true, test: (a, b) => wild(b, a, false) },
  ArnNotLike: { negated: true, test: (a, b) => wild(b, a, false) },
  DateLessThan: { negated: false, test: date((a, b) => a < b) },
  DateLessThanEquals: { negated: false, test: date((a, b) => a <= b) },
  DateGreaterThan: { negated: false, test: date((a, b) => a > b) },
  DateGreaterThanEquals: { negated: false, test: date((a, b) => a >= b) },
  DateEquals: { negated: false, test: date((a, b) => a === b) },
  NumericEquals: { negated: false, test: number((a, b) => a === b) },
  NumericLessThan: { negated: false, test: number((a, b) => a < b) },
  NumericLessThanEquals: { negated: false, test: number((a, b) => a <= b) },
  NumericGreaterThan: { negated: false, test: number((a, b) => a > b) },
  NumericGreaterThanEquals: { negated: false, test: number((a, b) => a >= b) },
  Bool: { negated: false, test: (a, b) => a.toLowerCase() === b.toLowerCase() },
};

interface ParsedOperator {
  readonly base: string;
  readonly set: 'ForAllValues' | 'ForAnyValue' | undefined;
  readonly ifExists: boolean;
}

function operatorOf(text: string): ParsedOperator | undefined {
  const [, set, base = '', ifExists] =
    /^(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?$/.exec(text) ?? [];
  if (base !== 'Null' && !Object.hasOwn(operators, base)) return undefined;
  return {
    base,
    set: set === 'ForAllValues' || set === 'ForAnyValue' ? set : undefined,
    ifExists: ifExists !== undefined,
  };
}

function holds(
  operator: string,
  { key, expected }: { key: string; expected: readonly string[] },
  context: Context,
): boolean {
  const parsed = operatorOf(operator);
  if (parsed === undefined) throw new MalformedPolicy(`operator ${operator}`);
  const stated = lookUp(context, key);
  const actual = stated === undefined ? undefined : listOf(stated);
  if (parsed.base === 'Null') return expected.some((one) => (one === 'true') === (actual === undefined));
  const { negated, test } = operators[parsed.base] ?? { negated: false, test: () => false };
  const wanted = expected.map((one) => substitute(one, context));
  const one = (value: string) => wanted.some((pattern) => test(value, pattern)) !== negated;
  if (actual === undefined)
    return parsed.ifExists || parsed.set === 'ForAllValues' || (negated && parsed.set === undefined);
  if (parsed.set === 'ForAllValues') return actual.every(one);
  return negated && parsed.set === undefined ? actual.every(one) : actual.some(one);
}

function lookUp(context: Context, key: string): string | readonly string[] | undefined {
  const wanted = key.toLowerCase();
  return Object.entries(context).find(([name]) => name.toLowerCase() === wanted)?.[1];
}

// `${*}`, `${?}` and `${$}` are the characters themselves; a variable without a value matches nothing.
function substitute(text: string, context: Context): string {
  return text.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    if (name === '*' || name === '?' || name === '$') return `\u0001${name}`;
    const value = lookUp(context, name);
    return typeof value === 'string' ? value.replace(/[*?]/g, (character) => `\u0001${character}`) : '\u0000';
  });
}

function wild(pattern: string, value: string, fold: boolean): boolean {
  const source = pattern
    .replace(/[.\\+^${}()|[\]]/g, '\\$&')
    .replace(/\u0001(.)|\*|\?/g, (match, literal: string | undefined) =>
      literal !== undefined ? `\\${literal}` : match === '*' ? '[\\s\\S]*' : '[\\s\\S]',
    );
  return new RegExp(`^${source}$`, fold ? 'iu' : 'u').test(value);
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}
