import type { BaseCheck, MintPlan, PlanCheck } from '@mayfly/core';
import { checkAwsBase, checkAwsPlan } from './aws/check.ts';
import { checkAzurePlan } from './azure/check.ts';
import { checkGithubPlan } from './github/check.ts';
import { checkKubernetesPlan } from './kubernetes/check.ts';
import { checkTokenPlan } from './token/check.ts';

const checks: ReadonlyMap<string, PlanCheck> = new Map([
  ['token', checkTokenPlan],
  ['aws', checkAwsPlan],
  ['azure', checkAzurePlan],
  ['kubernetes', checkKubernetesPlan],
  ['github', checkGithubPlan],
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
  if (plan.taskId !== allowed.taskId || plan.grantId !== allowed.grantId) return 'plan is for another grant';
  if (plan.access !== allowed.access) return 'plan opens another access';
  if (plan.identifier !== allowed.identifier) return 'plan names another resource';
  if (plan.actions.length === 0 || !plan.actions.every((one) => allowed.actions.includes(one)))
    return 'actions exceed the decision';
  if (new Set(plan.actions).size !== plan.actions.length) return 'an action stands there twice';
  return check(plan, allowed);
};

/** What a base session and the credential that is cut from it have in common; the rest is the provider's. */
const shared = [
  'kind',
  'taskId',
  'grantId',
  'generation',
  'provider',
  'access',
  'identifier',
  'reach',
  'issuedTokenType',
  'tokenType',
] as const satisfies readonly (keyof MintPlan)[];

export const checkBase: BaseCheck = (base, plan) => {
  if (base.purpose !== 'base' || plan.purpose !== 'agent')
    return 'not a base session for an agent’s credential';
  if (base.issuanceId === plan.issuanceId) return 'the base session has no issuance of its own';
  for (const name of shared) if (base[name] !== plan[name]) return `${name} is not that of the plan`;
  if (JSON.stringify(base.ends) !== JSON.stringify(plan.ends)) return 'it would not end as the plan does';
  if (base.actions.length > 0 || base.nativePermissions.length > 0) return 'it claims to be narrowed';
  if (!isWholeSecond(base.notAfter)) return 'notAfter is no whole second in UTC';
  return base.kind === 'aws' ? checkAwsBase(base, plan) : `no base sessions of kind ${base.kind}`;
};

// In one spelling, so that no two readers of it see two times; NaN is later than nothing.
function isWholeSecond(text: string): boolean {
  const time = Date.parse(text);
  return time % 1000 === 0 && new Date(time).toISOString() === text;
}
