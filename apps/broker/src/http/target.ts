import { Refusal } from '@mayfly/core';
import { parseId } from '@mayfly/protocol';

export interface NamedTarget {
  /** The stored grant that an `audience` names. */
  readonly grantId: string | null;
  /** All other `resource` and `audience` values: each must turn out to mean the one target. */
  readonly targets: readonly string[];
}

/**
 * `resource` and `audience` of a request (RFC 8693 section 2.1, RFC 8707). Both may be repeated; what they name is one
 * target or nothing, since a credential opens one thing. Pure; values are compared byte for byte later on.
 */
export function parseTarget(form: URLSearchParams, issuer: string): NamedTarget {
  const resources = present(form, 'resource');
  for (const resource of resources) refuseOtherThanUri(resource);
  const prefix = `${issuer}/grants/`;
  const audiences = present(form, 'audience');
  const grants = audiences.filter((audience) => audience.startsWith(prefix));
  const ids = new Set(grants.map((audience) => parseGrant(audience.slice(prefix.length))));
  if (ids.size > 1) throw new Refusal('target_ambiguous', { detail: 'more than one grant' });
  const [grantId = null] = ids;
  const named = audiences.filter((audience) => !audience.startsWith(prefix));
  return { grantId, targets: [...new Set([...resources, ...named])] };
}

function present(form: URLSearchParams, name: string): string[] {
  return form.getAll(name).filter((value) => value !== '');
}

/** RFC 8707 section 2: an absolute URI without fragment. */
function refuseOtherThanUri(resource: string): void {
  if (!URL.canParse(resource) || resource.includes('#'))
    throw new Refusal('target_ambiguous', { detail: 'resource' });
}

/** The same answer as for a grant of someone else's task. */
function parseGrant(text: string): string {
  const id = parseId('grt', text);
  if (id === undefined) throw new Refusal('task_unknown', { detail: 'grant id' });
  return id;
}
