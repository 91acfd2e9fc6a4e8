import type { PlanCheck } from '@mayfly/core';
import { checkAwsPlan } from './aws/check.ts';
import { checkTokenPlan } from './token/check.ts';

const checks: ReadonlyMap<string, PlanCheck> = new Map([
  ['token', checkTokenPlan],
  ['aws', checkAwsPlan],
]);

/** The independent check before every intent of an agent; a kind without one is refused. */
export const checkPlan: PlanCheck = (plan, allowed) => {
  const check = checks.get(plan.kind);
  if (check === undefined) return `no check for plans of kind ${plan.kind}`;
  if (plan.kind !== allowed.provider.type || plan.provider !== allowed.provider.name)
    return 'plan is for another provider';
  if (plan.purpose !== 'agent') return 'plan is not for an agent';
  if (!isWholeSecond(plan.notAfter)) return 'notAfter is no whole second in UTC';
  if (Date.parse(plan.notAfter) > allowed.notAfter.getTime())
    return 'notAfter is later than the decision allows';
  if (plan.identifier !== allowed.identifier) return 'plan names another resource';
  if (plan.actions.length === 0 || !plan.actions.every((one) => allowed.actions.includes(one)))
    return 'actions exceed the decision';
  if (new Set(plan.actions).size !== plan.actions.length) return 'an action stands there twice';
  return check(plan, allowed);
};

// In one spelling, so that no two readers of it see two times; NaN is later than nothing.
function isWholeSecond(text: string): boolean {
  const time = Date.parse(text);
  return time % 1000 === 0 && new Date(time).toISOString() === text;
}
