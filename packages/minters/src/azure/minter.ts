import { createHash } from 'node:crypto';
import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import { createRest } from '../rest/rest.ts';
import type { MinterServices } from '../services.ts';
import { blobBody } from './blob-plan.ts';
import { DelegationKeys } from './delegation-keys.ts';
import { EntraTokens } from './entra-tokens.ts';
import { inspectAzure } from './inspect.ts';
import { planAzure, type Signer } from './plan.ts';
import { type AzureProvider, blobEndpoint, parseAzureProvider } from './provider.ts';
import { queueBody, ruleOf } from './queue-plan.ts';
import { RuleKeys } from './rule-keys.ts';
import { signQueueSas, signSas } from './sas.ts';

interface Keys {
  readonly delegation: DelegationKeys;
  readonly rule: RuleKeys;
}

/**
 * Azure: a SAS for one blob, directory or queue, signed here with a key that Azure gave the broker. The credential is
 * what Azure's own clients take: the whole URL (`new BlobClient(url)`), or a connection string (`new ServiceBusClient`).
 */
export function createAzureMinter(services: MinterServices): Minter {
  const { federation, provider } = services;
  const tokens = new EntraTokens(federation);
  const rest = createRest();
  const keys: Keys = { delegation: new DelegationKeys(tokens, rest), rule: new RuleKeys(tokens, rest) };
  const providerOf = (plan: MintPlan) => {
    const found = provider(plan.provider);
    if (found === undefined)
      throw new Fault('provider_refused', { effect: 'none', detail: `provider ${plan.provider} is gone` });
    return parseAzureProvider(found);
  };
  return {
    kind: 'azure',
    local: false,
    plan: planAzure,
    mint: async (plan: MintPlan, context: CallContext): Promise<Minted> => {
      const sign = plan.access === 'servicebus.queue' ? signQueue : signBlob;
      const { credential, signature } = await sign(plan, { provider: providerOf(plan), keys, context });
      return {
        credential: new Secret(credential),
        expiresAt: new Date(plan.notAfter),
        keyHash: createHash('sha256').update(signature).digest('hex'),
      };
    },
    // Only all SAS of an account, or of a queue's rule, could be taken back (docs/clouds/azure.md, "In an emergency").
    revoke: async () => 'wait-for-expiry',
    inspect: (of, context) =>
      inspectAzure(parseAzureProvider(of), { services, tokens, keys: keys.delegation }, context),
  };
}

interface Signing {
  readonly provider: AzureProvider;
  readonly keys: Keys;
  readonly context: CallContext;
}

interface Signed {
  readonly credential: string;
  readonly signature: string;
}

/** A Provider that was changed after the decision must not sign what the old one allowed. */
function refuseUnlessStill(still: boolean, { name }: AzureProvider): void {
  if (still) return;
  throw new Fault('provider_refused', {
    effect: 'none',
    detail: `provider ${name} has changed since the plan`,
  });
}

function isSigner(provider: AzureProvider, { tenant, client }: Signer): boolean {
  return provider.tenant === tenant && provider.clients.includes(client);
}

async function signBlob(plan: MintPlan, { provider, keys, context }: Signing): Promise<Signed> {
  const { tenant, client, account, keySeconds, sas, resource, url } = blobBody.parse(plan.body);
  const still = provider.accounts.includes(account) && url.startsWith(`${blobEndpoint(provider, account)}/`);
  refuseUnlessStill(still && isSigner(provider, { tenant, client }), provider);
  const wanted = { provider, client, account, keySeconds, until: new Date(plan.notAfter) };
  const key = await keys.delegation.keyFor(wanted, context);
  const { query, signature } = signSas(sas, { resource, key });
  return { credential: `${url}?${query}`, signature };
}

async function signQueue(plan: MintPlan, { provider, keys, context }: Signing): Promise<Signed> {
  const body = queueBody.parse(plan.body);
  const { serviceBus } = provider;
  const still =
    serviceBus?.namespaces.includes(body.namespace) === true &&
    ruleOf(serviceBus, body)?.path === body.rulePath;
  refuseUnlessStill(still && isSigner(provider, body), provider);
  const key = await keys.rule.keyFor({ provider, body }, context);
  const { token, signature } = signQueueSas(body.sas, key);
  const endpoint = `Endpoint=sb://${body.namespace}.servicebus.windows.net/`;
  return { credential: `${endpoint};SharedAccessSignature=${token};EntityPath=${body.queue}`, signature };
}
