import { type Enforcement, type MintRequest, Refusal } from '@mayfly/core';
import type { Action } from '@mayfly/protocol';
import { z } from 'zod';
import type { PlanPart, Signer } from './plan.ts';
import type { AzureProvider } from './provider.ts';

export const queueBody = z.strictObject({
  tenant: z.string(),
  client: z.string(),
  namespace: z.string(),
  queue: z.string(),
  /** The authorization rule of the queue whose key signs, by its path at Azure Resource Manager. */
  rulePath: z.string(),
  /** The one right that this rule must have, and no other. */
  right: z.enum(['Send', 'Listen']),
  /** The SAS without its signature. */
  sas: z.string(),
});
export type QueueBody = z.output<typeof queueBody>;

const rightOf: Readonly<Partial<Record<Action, QueueBody['right']>>> = { send: 'Send', receive: 'Listen' };

/**
 * A SAS of Service Bus says where and how long; what it may do is said by the rule of the queue whose key signed it. So
 * each verb has a rule with that right alone, and a SAS carries one verb.
 */
export function planQueue(
  { identifier, actions, notAfter }: MintRequest,
  { provider, signer }: { provider: AzureProvider; signer: Signer },
): PlanPart {
  const { namespace, queue } = splitIdentifier(identifier);
  const { serviceBus } = provider;
  if (serviceBus?.namespaces.includes(namespace) !== true)
    throw new Refusal('tool_not_granted', { detail: `namespace is not a ceiling of ${provider.name}` });
  const [action, ...more] = actions;
  const right = action === undefined ? undefined : rightOf[action];
  if (right === undefined || more.length > 0)
    throw new Refusal('tool_not_granted', { detail: 'servicebus.queue takes one of send and receive' });
  const rule = ruleOf(serviceBus, { namespace, queue, right });
  if (rule === undefined)
    throw new Refusal('tool_not_granted', { detail: `${provider.name} names no rule for ${action}` });
  const sas = queueSas({ resource: identifier, expiresOn: notAfter, rule: rule.name });
  return {
    nativePermissions: [right],
    // A new key for the rule ends every SAS of it; nothing smaller can be taken back.
    reach: `${namespace}/${queue}/${rule.name}`,
    enforcement: queueEnforcement(sas),
    body: {
      ...signer,
      namespace,
      queue,
      rulePath: rule.path,
      right,
      sas,
    } satisfies QueueBody,
  };
}

/** `sr`, `se` in seconds since 1970, and the name of the rule: what is signed, and with whose key. */
function queueSas({
  resource,
  expiresOn,
  rule,
}: {
  resource: string;
  expiresOn: Date;
  rule: string;
}): string {
  return `sr=${encodeURIComponent(resource)}&se=${expiresOn.getTime() / 1000}&skn=${encodeURIComponent(rule)}`;
}

/** The rule holds the verbs: its rights are read before its key is used. */
export function queueEnforcement(sas: string): Enforcement {
  const fields = new URLSearchParams(sas);
  const by = (held: boolean) => (held ? 'provider' : 'broker');
  const path = /^https:\/\/[^/]+\/(.+)$/.exec(fields.get('sr') ?? '')?.[1];
  return { resource: by(path !== undefined), actions: by(fields.has('skn')), ttl: by(fields.has('se')) };
}

/** The rule that the Provider names for this right, with its path at Azure Resource Manager. */
export function ruleOf(
  { subscription, resourceGroup, rules }: NonNullable<AzureProvider['serviceBus']>,
  { namespace, queue, right }: Pick<QueueBody, 'namespace' | 'queue' | 'right'>,
): { readonly name: string; readonly path: string } | undefined {
  const name = rules[right === 'Send' ? 'send' : 'receive'];
  if (name === undefined) return undefined;
  const path = [
    ...['/subscriptions', subscription, 'resourceGroups', encodeURIComponent(resourceGroup)],
    ...['providers/Microsoft.ServiceBus/namespaces', namespace, 'queues', queue, 'authorizationRules', name],
  ].join('/');
  return { name, path };
}

/** Lower case alone: Service Bus takes `Orders` and `orders` for one queue, the grant does not. */
const form =
  /^https:\/\/([a-z](?:-?[a-z0-9]){5,49})\.servicebus\.windows\.net\/([a-z0-9](?:[a-z0-9._-]{0,258}[a-z0-9])?)$/;

function splitIdentifier(identifier: string): { namespace: string; queue: string } {
  const [, namespace = '', queue = ''] = form.exec(identifier) ?? [];
  if (queue === '' || queue.includes('..'))
    throw new Refusal('identifier_malformed', { detail: 'no plain URL of a queue of Service Bus' });
  return { namespace, queue };
}
