import { type CallContext, Secret } from '@mayfly/core';
import { z } from 'zod';
import { lying, type Rest, refusalOf } from '../rest/rest.ts';
import { type EntraTokens, managementScope } from './entra-tokens.ts';
import { type Kept, KeptKeys } from './kept-keys.ts';
import { type AzureProvider, managementEndpoint } from './provider.ts';
import type { QueueBody } from './queue-plan.ts';

const apiVersion = 'api-version=2024-01-01';
const call = 'List Keys of a rule';
/** A key that was renewed is used no longer than this; long enough that a mint seldom waits for it. */
const keptSeconds = 300;

export interface RuleKeyRequest {
  readonly provider: AzureProvider;
  readonly body: QueueBody;
}

const ruleForm = z.object({ properties: z.object({ rights: z.array(z.string()) }) });
const keysForm = z.object({ keyName: z.string(), primaryKey: z.string().min(16).max(256) });

/**
 * Keys of authorization rules, read by the broker's own token and never stored. They live as long as nobody renews them:
 * whoever holds one can make a SAS of any life for that queue and right. Hence one right each, and memory only.
 */
export class RuleKeys {
  readonly #tokens: EntraTokens;
  readonly #rest: Rest;
  readonly #kept = new KeptKeys<Secret<string>>();

  constructor(tokens: EntraTokens, rest: Rest) {
    this.#tokens = tokens;
    this.#rest = rest;
  }

  keyFor(request: RuleKeyRequest, context: CallContext): Promise<Secret<string>> {
    const { provider, body } = request;
    const { authority = '', management = '' } = provider.endpoints ?? {};
    const name = [provider.name, authority, management, body.tenant, body.client, body.rulePath].join('\n');
    const find = { call, until: context.now, fetch: (own: CallContext) => this.#fetch(request, own) };
    return this.#kept.find(`${name}\n${body.right}`, find, context);
  }

  async #fetch(
    { provider, body }: RuleKeyRequest,
    { now, signal }: CallContext,
  ): Promise<Kept<Secret<string>>> {
    const scope = managementScope;
    const token = await this.#tokens.tokenFor({ provider, client: body.client, scope }, signal);
    const headers = { authorization: `Bearer ${token.reveal()}` };
    const rule = `${managementEndpoint(provider)}${body.rulePath}`;
    const ask = async <Form extends z.ZodType>(
      form: Form,
      asked: { name: string; method: 'GET' | 'POST'; url: string },
    ) => {
      const answer = await this.#rest.call({ ...asked, headers, signal });
      if (answer.status !== 200) throw refusalOf(asked.name, answer);
      const parsed = form.safeParse(answer.body);
      // What did not parse may hold a key: it is not quoted.
      if (!parsed.success) throw lying('nothing that can be read');
      return parsed.data;
    };
    const get = { name: 'Get a rule', method: 'GET', url: `${rule}?${apiVersion}` } as const;
    const { rights } = (await ask(ruleForm, get)).properties;
    // A rule that may more would let its SAS do more than was granted.
    if (rights.length !== 1 || rights[0] !== body.right) throw lying('a rule with other rights');
    const list = { name: call, method: 'POST', url: `${rule}/listKeys?${apiVersion}` } as const;
    const { keyName, primaryKey } = await ask(keysForm, list);
    if (!body.rulePath.endsWith(`/${keyName}`)) throw lying('the key of another rule');
    return { key: new Secret(primaryKey), usableUntil: new Date(now.getTime() + keptSeconds * 1000) };
  }
}
