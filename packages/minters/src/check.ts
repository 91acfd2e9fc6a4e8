import type { PlanCheck } from '@mayfly/core';
import { checkAwsPlan } from './aws/check.ts';
import { checkTokenPlan } from './token/check.ts';

const checks: ReadonlyMap<string, PlanCheck> = new Map([
  ['token', checkTokenPlan],
  ['aws', checkAwsPlan],
]);

/** The independent check before every intent; a kind without one is refused. */
export const checkPlan: PlanCheck = (plan, allowed) => {
  if (Date.parse(plan.notAfter) > allowed.notAfter.getTime())
    return 'notAfter is later than the decision allows';
  if (plan.identifier !== allowed.identifier) return 'plan names another resource';
  const check = checks.get(plan.kind);
  return check === undefined ? `no check for plans of kind ${plan.kind}` : check(plan, allowed);
};
