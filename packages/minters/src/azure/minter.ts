import { createHash } from 'node:crypto';
import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { DelegationKeys } from './delegation-keys.ts';
import { EntraTokens } from './entra-tokens.ts';
import { azureBody, planAzure } from './plan.ts';
import { parseAzureProvider } from './provider.ts';
import { signSas } from './sas.ts';

/**
 * Azure: a user delegation SAS for one blob or one directory, signed here with a key that Storage gave the broker.
 * The credential is the whole URL, as `new BlobClient(url)` and curl take it.
 */
export function createAzureMinter({ federation, provider }: MinterServices): Minter {
  const keys = new DelegationKeys(new EntraTokens(federation));
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
      const { client, account, keySeconds, sas, resource, url } = azureBody.parse(plan.body);
      const expiresAt = new Date(plan.notAfter);
      const wanted = { provider: providerOf(plan), client, account, keySeconds, until: expiresAt };
      const key = await keys.keyFor(wanted, context);
      const { query, signature } = signSas(sas, { resource, key });
      return {
        credential: new Secret(`${url}?${query}`),
        expiresAt,
        keyHash: createHash('sha256').update(signature).digest('hex'),
      };
    },
    // Only all keys of an account at once could be taken back (docs/clouds/azure.md, "In an emergency").
    revoke: async () => 'wait-for-expiry',
  };
}
