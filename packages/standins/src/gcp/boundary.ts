import { Environment } from '@marcbachmann/cel-js';
import { GcpError } from './errors.ts';
import { permissionsOf } from './roles.ts';

export interface Boundary {
  allows(access: Access): boolean;
}

/** One use of one permission. */
export interface Access {
  readonly permission: string;
  readonly bucket: string;
  /** `projects/_/buckets/B`, or with `/objects/O`. */
  readonly name: string;
  /** Of a listing: the prefix that was asked for. */
  readonly listPrefix: string | undefined;
}

// As documented for Credential Access Boundaries.
const rulesMax = 10;
const expressionCharactersMax = 2048;

class Api {
  readonly attributes: ReadonlyMap<string, string>;

  constructor(attributes: ReadonlyMap<string, string>) {
    this.attributes = attributes;
  }
}

const environment = new Environment()
  .registerType('Api', { ctor: Api, fields: {} })
  .registerVariable('resource', { type: 'map' })
  .registerVariable('api', 'Api')
  .registerFunction(
    'Api.getAttribute(string, string): string',
    (api: Api, name: string, otherwise: string) => api.attributes.get(name) ?? otherwise,
  );

/** Reads the `options` of an exchange; anything that Google documents as wrong is refused. */
export function parseBoundary(options: string): Boundary {
  const rules = list(member(member(parseJson(options), 'accessBoundary'), 'accessBoundaryRules'));
  if (rules.length === 0 || rules.length > rulesMax) throw invalid('one to ten rules');
  const parsed = rules.map(parseRule);
  return { allows: (access) => parsed.some((rule) => rule(access)) };
}

function parseRule(rule: unknown): (access: Access) => boolean {
  const roles = list(member(rule, 'availablePermissions')).map((one) => {
    const [, role] = /^inRole:(roles\/[A-Za-z.]+)$/.exec(String(one)) ?? [];
    const permissions = role === undefined ? undefined : permissionsOf(role);
    if (permissions === undefined) throw invalid('a permission is inRole: and a role');
    return permissions;
  });
  if (roles.length === 0) throw invalid('no permission');
  const resource = member(rule, 'availableResource');
  const condition = member(rule, 'availabilityCondition');
  const holds = condition === undefined ? () => true : parseCondition(member(condition, 'expression'));
  return (access) =>
    resource === `//storage.googleapis.com/projects/_/buckets/${access.bucket}` &&
    roles.some((permissions) => permissions.includes(access.permission)) &&
    holds(access);
}

function parseCondition(expression: unknown): (access: Access) => boolean {
  if (typeof expression !== 'string' || expression.length > expressionCharactersMax)
    throw invalid('a condition of at most 2048 characters');
  const program = parsed(expression);
  return ({ name, listPrefix }) => {
    const attributes = new Map<string, string>();
    if (listPrefix !== undefined) attributes.set('storage.googleapis.com/objectListPrefix', listPrefix);
    try {
      return program({ resource: { name }, api: new Api(attributes) }) === true;
    } catch {
      return false; // What cannot be evaluated does not hold.
    }
  };
}

function parsed(expression: string) {
  try {
    return environment.parse(expression);
  } catch {
    throw invalid('a condition in CEL');
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('options in JSON');
  }
}

function member(value: unknown, name: string): unknown {
  return Reflect.get(Object(value), name);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function invalid(wanted: string): GcpError {
  return new GcpError(400, 'invalid_request', `access boundary: ${wanted}`);
}
