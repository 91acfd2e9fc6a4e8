import { Refusal } from '@mayfly/core';
import { type Action, actions } from '@mayfly/protocol';

/** RFC 6749 section 3.3. */
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * `scope` of a request as verbs to narrow to; null when it narrows nothing. Addresses such as
 * `https://www.googleapis.com/auth/cloud-platform` are another service's words, which stock clients send unasked:
 * they widen nothing, and the answer says what was granted (RFC 6749 section 3.3 lets a server ignore scopes).
 * Every other word must be a verb.
 */
export function parseScope(scope: string | null): readonly Action[] | null {
  if (scope === null) return null;
  const words = scope.split(' ');
  if (!words.every((word) => scopeToken.test(word)))
    throw new Refusal('scope_not_allowed', { detail: 'malformed' });
  const ours = words.filter((word) => !word.includes('://'));
  const verbs = actions.filter((action) => ours.includes(action));
  if (ours.some((word) => !actions.some((action) => action === word)))
    throw new Refusal('scope_not_allowed', { detail: 'not a verb' });
  return verbs.length === 0 ? null : verbs;
}

/** A descriptor and a scope that are both sent must agree: verbs outside the scope are not given. */
export function refuseOutsideScope(
  scope: readonly Action[] | null,
  detail: { readonly actions?: readonly Action[] | undefined } | null,
): void {
  if (scope !== null && detail?.actions?.some((action) => !scope.includes(action)))
    throw new Refusal('scope_not_allowed', { detail: 'actions outside the scope' });
}

/** RFC 8693 section 2.2.1: said whenever it is not exactly what was asked for. */
export function scopeAnswer(
  asked: string | null,
  granted: Readonly<Record<string, unknown>>,
): { readonly scope?: string } {
  const verbs = granted['actions'];
  const scope = Array.isArray(verbs) ? verbs.join(' ') : '';
  return scope === '' || scope === asked ? {} : { scope };
}
