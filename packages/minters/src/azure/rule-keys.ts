import { type CallContext, Secret } from '@mayfly/core';
import { z } from 'zod';
import { get, post, refuseUnlessOk } from './call.ts';
import { type EntraTokens, managementScope } from './entra-tokens.ts';
import { type Kept, KeptKeys, lying } from './kept-keys.ts';
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
  readonly #kept = new KeptKeys<Secret<string>>();

  constructor(tokens: EntraTokens) {
    this.#tokens = tokens;
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
    const found = await get('Get a rule', `${rule}?${apiVersion}`, { headers, signal });
    refuseUnlessOk('Get a rule', found);
    const { rights } = parse(ruleForm, found.text).properties;
    // A rule that may more would let its SAS do more than was granted.
    if (rights.length !== 1 || rights[0] !== body.right) throw lying('a rule with other rights');
    const answer = await post(call, `${rule}/listKeys?${apiVersion}`, { headers, body: '', signal });
    refuseUnlessOk(call, answer);
    const { keyName, primaryKey } = parse(keysForm, answer.text);
    if (!body.rulePath.endsWith(`/${keyName}`)) throw lying('the key of another rule');
    return { key: new Secret(primaryKey), usableUntil: new Date(now.getTime() + keptSeconds * 1000) };
  }
}

function parse<Form extends z.ZodType>(form: Form, text: string): z.output<Form> {
  try {
    return form.parse(JSON.parse(text));
  } catch {
    // The parser's own error quotes the text, which may hold a key.
    throw lying('nothing that can be read');
  }
}
