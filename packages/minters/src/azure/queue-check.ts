import type { MintPlan, PlanCheck } from '@mayfly/core';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from queue-plan.ts, as check.ts is from blob-plan.ts.
const sent = z.strictObject({
  tenant: z.string(),
  client: z.string(),
  namespace: z.string(),
  queue: z.string(),
  rulePath: z.string(),
  right: z.string(),
  sas: z.string().max(1024),
});
type Sent = z.output<typeof sent>;
type Allowed = Parameters<PlanCheck>[1];

/** The one spelling of a SAS of Service Bus that is ever signed. */
const spelling =
  /^sr=https%3A%2F%2F([a-z][a-z0-9-]{5,49})\.servicebus\.windows\.net%2F([a-z0-9._-]{1,260})&se=([1-9][0-9]{9})&skn=([A-Za-z0-9._-]{1,50})$/;

/** Each verb, the key of the Provider's rule for it, and the one right that this rule may have. */
const verbs: readonly (readonly [verb: string, right: string])[] = [
  ['send', 'Send'],
  ['receive', 'Listen'],
];

const ceilings = z.looseObject({
  subscription: z.string(),
  resourceGroup: z.string(),
  namespaces: z.array(z.string()),
  rules: z.record(z.string(), z.string()),
});

/** What is sent for a queue, against the grant; who signs and what is promised is checked beside it. */
export function checkQueue(plan: MintPlan, allowed: Allowed): string | null {
  const parsed = sent.safeParse(plan.body);
  if (!parsed.success) return 'body: not the known form';
  return checkTarget(parsed.data, allowed) ?? checkSas(plan, parsed.data, allowed);
}

function checkTarget({ namespace, queue }: Sent, { identifier, resource, provider }: Allowed): string | null {
  if (identifier !== `https://${namespace}.servicebus.windows.net/${queue}`)
    return 'the identifier is another queue';
  if (!/^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/.test(queue)) return 'the identifier is no plain queue';
  if (!insidePattern(resource, identifier)) return 'the identifier lies outside the grant';
  const parsed = ceilings.safeParse(provider.spec['serviceBus']);
  return parsed.success && parsed.data.namespaces.includes(namespace)
    ? null
    : 'namespace is not a ceiling of the provider';
}

function checkSas(plan: MintPlan, body: Sent, { provider, notAfter }: Allowed): string | null {
  const [, namespace, queue, end = '', rule = ''] = spelling.exec(body.sas) ?? [];
  if (namespace !== body.namespace || queue !== body.queue) return 'sas: not in its one spelling';
  const endsAt = Number(end) * 1000;
  if (!(endsAt <= notAfter.getTime())) return 'se is later than allowed';
  if (endsAt !== Date.parse(plan.notAfter)) return 'se is not the end of the plan';
  const [verb, right] = verbs.find(([one]) => one === plan.actions.join()) ?? [];
  if (
    verb === undefined ||
    body.right !== right ||
    JSON.stringify(plan.nativePermissions) !== JSON.stringify([right])
  )
    return 'the right is not that of the one action';
  const { subscription, resourceGroup, rules } = ceilings.parse(provider.spec['serviceBus']);
  if (rule !== rules[verb]) return 'the rule is not the provider’s for this action';
  const group = `/subscriptions/${subscription}/resourceGroups/${encodeURIComponent(resourceGroup)}`;
  const path = `${group}/providers/Microsoft.ServiceBus/namespaces/${namespace}/queues/${queue}/authorizationRules/${rule}`;
  if (body.rulePath !== path) return 'the path is not that of the rule';
  return plan.reach === `${namespace}/${queue}/${rule}` ? null : 'reach is not the rule';
}
