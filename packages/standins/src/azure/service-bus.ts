import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { AzureError } from './error.ts';
import type { App } from './state.ts';

export type QueueRight = 'Send' | 'Listen' | 'Manage';

export interface SeedQueue {
  readonly subscription: string;
  readonly resourceGroup: string;
  readonly namespace: string;
  readonly queue: string;
  /** Rights of each rule by its name. */
  readonly rules: Readonly<Record<string, readonly QueueRight[]>>;
}

interface Rule {
  readonly rights: readonly QueueRight[];
  key: string;
}

interface Queue {
  readonly path: string;
  readonly rules: ReadonlyMap<string, Rule>;
  readonly messages: string[];
}

export interface ServiceBusRequest {
  readonly method: string;
  readonly url: URL;
  readonly body: Buffer;
  readonly authorization: string;
  readonly now: Date;
  /** Holder of a token for Azure Resource Manager. */
  readonly caller: App | undefined;
}

export interface ServiceBusAnswer {
  readonly status: number;
  readonly body: string;
  readonly type: string;
  readonly principal: string | null;
}

/** Queues of Service Bus with the keys of their rules: Resource Manager reads keys, `/servicebus/...` takes messages. */
export class ServiceBus {
  readonly #queues = new Map<string, Queue>();

  create({ subscription, resourceGroup, namespace, queue, rules }: SeedQueue): void {
    const group = `/subscriptions/${subscription}/resourceGroups/${resourceGroup}`;
    const path = `${group}/providers/Microsoft.ServiceBus/namespaces/${namespace}/queues/${queue}`;
    const made = Object.entries(rules).map(([name, rights]) => [name, { rights, key: newKey() }] as const);
    this.#queues.set(`${namespace}/${queue}`, { path, rules: new Map(made), messages: [] });
  }

  /** As `az servicebus queue authorization-rule keys renew`: every SAS of the rule is dead. */
  renewKey(queue: string, name: string): void {
    const rule = this.#queues.get(queue)?.rules.get(name);
    if (rule !== undefined) rule.key = newKey();
  }

  /** Azure Resource Manager: a rule, or its keys, for whoever holds the right on the queue. */
  manage({ method, url, caller }: ServiceBusRequest): ServiceBusAnswer {
    if (caller === undefined) throw new AzureError('AuthenticationFailed', 401);
    const [, path = '', name = '', keys] =
      /^(.*)\/authorizationRules\/([^/]+)(\/listKeys)?$/.exec(decodeURIComponent(url.pathname)) ?? [];
    const [id, queue] = [...this.#queues].find(([, one]) => one.path === path) ?? [];
    if (id === undefined || !(caller.queues ?? []).includes(id))
      throw new AzureError('AuthorizationFailed', 403);
    const rule = queue?.rules.get(name);
    if (rule === undefined) throw new AzureError('ResourceNotFound', 404);
    if (!url.searchParams.has('api-version')) throw new AzureError('MissingApiVersionParameter', 400);
    const answer =
      keys === undefined
        ? { name, properties: { rights: rule.rights } }
        : { keyName: name, primaryKey: rule.key, secondaryKey: newKey() };
    if (method !== (keys === undefined ? 'GET' : 'POST')) throw new AzureError('MethodNotAllowed', 405);
    const principal = caller.objectId;
    return { status: 200, body: JSON.stringify(answer), type: 'application/json', principal };
  }

  /** Would this SAS be let in for that right on that queue, `NAMESPACE/QUEUE`? Throws the refusal. */
  authorize(authorization: string, { id, right, now }: { id: string; right: QueueRight; now: Date }): Queue {
    const queue = this.#queues.get(id);
    if (queue === undefined) throw new AzureError('MessagingEntityNotFound', 404);
    const target = `https://${id.replace('/', '.servicebus.windows.net/')}`;
    if (!verify(authorization, { target, queue, now }).rights.includes(right))
      throw new AzureError('Unauthorized', 401);
    return queue;
  }

  /** The data plane: `POST .../messages` sends, `DELETE .../messages/head` receives and deletes. */
  serve({ method, url, body, authorization, now }: ServiceBusRequest): ServiceBusAnswer {
    const [, namespace = '', name = '', head] =
      /^\/servicebus\/([^/]+)\/([^/]+)\/messages(\/head)?$/.exec(url.pathname) ?? [];
    const id = `${namespace}/${name}`;
    if (!this.#queues.has(id)) throw new AzureError('MessagingEntityNotFound', 404);
    const right =
      method === 'POST' && head === undefined ? 'Send' : method === 'DELETE' && head ? 'Listen' : null;
    if (right === null) throw new AzureError('MethodNotAllowed', 405);
    const queue = this.authorize(authorization, { id, right, now });
    if (right === 'Send') {
      queue.messages.push(body.toString('utf8'));
      return { status: 201, body: '', type: 'text/plain', principal: null };
    }
    const message = queue.messages.shift();
    return {
      status: message === undefined ? 204 : 200,
      body: message ?? '',
      type: 'text/plain',
      principal: null,
    };
  }
}

/** A signature of one of the queue's rules over this queue, not yet past; anything else is 401 alike. */
function verify(
  authorization: string,
  { target, queue, now }: { target: string; queue: Queue; now: Date },
): Rule {
  const refused = new AzureError('Unauthorized', 401);
  const [, text] = /^SharedAccessSignature (.+)$/.exec(authorization) ?? [];
  if (text === undefined) throw refused;
  const fields = text.split('&').map((field) => field.split('=', 2));
  const raw = (name: string) => fields.find(([one]) => one === name)?.[1] ?? '';
  const rule = queue.rules.get(decodeURIComponent(raw('skn')));
  if (rule === undefined || new Set(fields.map(([name]) => name)).size !== fields.length) throw refused;
  const expected = createHmac('sha256', rule.key)
    .update(`${raw('sr')}\n${raw('se')}`)
    .digest('base64');
  const [ours, given] = [Buffer.from(expected), Buffer.from(decodeURIComponent(raw('sig')))];
  if (ours.length !== given.length || !timingSafeEqual(ours, given)) throw refused;
  if (decodeURIComponent(raw('sr')) !== target) throw refused;
  if (!(now.getTime() < Number(raw('se')) * 1000)) throw refused;
  return rule;
}

function newKey(): string {
  return randomBytes(32).toString('base64');
}
