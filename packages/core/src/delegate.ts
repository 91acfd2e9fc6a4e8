import type { Reason } from '@mayfly/protocol';
import type { DelegationRule, PolicySet } from './template.ts';
import { type Actor, type Identity, matchesSubject } from './workload.ts';

/** Actors between the subject and the tool (standards.md B10); a longer chain is nobody's intention. */
export const actorsMax = 4;

/**
 * May the present actor act for the subject under this rule? Null when it may. Without a rule nobody may (RFC 8693
 * section 1.1: an actor is never dropped in silence, which would be impersonation); with `required` the subject may
 * not ask alone.
 */
export function delegationRefusal(rule: DelegationRule, actors: readonly Actor[]): Reason | null {
  const [actor] = actors;
  if (actor === undefined) return rule.actor === 'required' ? 'actor_required' : null;
  if (actors.length > actorsMax) return 'delegation_too_deep';
  if (rule.actor === 'none') return 'delegation_not_granted';
  const allowed = actor.named || rule.actors.some((entry) => matchesSubject(entry, actor));
  return allowed ? null : 'delegation_not_granted';
}

/** Does an issuer in force still speak for this identity? */
export function isTrusted(policy: PolicySet, identity: Identity): boolean {
  const issuer = policy.issuers.get(identity.issuer);
  if (issuer === undefined || issuer.name !== identity.issuerName) return false;
  return issuer.subjects.some((pattern) => pattern.matches(identity.subject));
}
