import type { CallContext, Inspection } from '@mayfly/core';
import { issuerOf, saidBy } from '../said.ts';
import type { MinterServices } from '../services.ts';
import { keySeconds } from './blob-plan.ts';
import type { DelegationKeys } from './delegation-keys.ts';
import { assertionAudience, type EntraTokens, managementScope, storageScope } from './entra-tokens.ts';
import type { AzureProvider } from './provider.ts';

interface Tools {
  readonly services: MinterServices;
  readonly tokens: EntraTokens;
  readonly keys: DelegationKeys;
}

/**
 * Each client by its tokens of Entra, each account by a user delegation key, which stays in memory as those of mints
 * do. Which containers and queues there are, only grants say.
 */
export async function inspectAzure(
  provider: AzureProvider,
  tools: Tools,
  context: CallContext,
): Promise<readonly Inspection[]> {
  const found: Inspection[] = [];
  const accepted: string[] = [];
  for (const client of provider.clients) {
    const looked = await lookAtClient(client, { provider, ...tools }, context);
    if (looked.ok) accepted.push(client);
    found.push(looked);
  }
  // Without a token every account would be said to lack what it has.
  if (accepted.length === 0) return found;
  for (const account of provider.accounts)
    found.push(await lookAtAccount(account, accepted, { provider, keys: tools.keys, context }));
  return found;
}

async function lookAtClient(
  client: string,
  { provider, services, tokens }: Tools & { readonly provider: AzureProvider },
  { signal }: CallContext,
): Promise<Inspection> {
  const subject = `client ${client}`;
  const scopes = [
    ...(provider.accounts.length > 0 ? [storageScope] : []),
    ...(provider.serviceBus == null ? [] : [managementScope]),
  ];
  try {
    for (const scope of scopes) await tokens.tokenFor({ provider, client, scope }, signal);
    return { subject, ok: true, says: 'our assertion is accepted' };
  } catch (error) {
    return {
      subject,
      ok: false,
      says: `${saidBy(error)}; ${await credentialOf(client, provider, services)}`,
    };
  }
}

interface OfAccount {
  readonly provider: AzureProvider;
  readonly keys: DelegationKeys;
  readonly context: CallContext;
}

/** A team's client has its own accounts, so one that gets the key is enough. */
async function lookAtAccount(
  account: string,
  clients: readonly string[],
  { provider, keys, context }: OfAccount,
): Promise<Inspection> {
  const subject = `account ${account}`;
  const able: string[] = [];
  let last: unknown;
  for (const client of clients)
    try {
      await keys.keyFor({ provider, client, account, keySeconds, until: context.now }, context);
      able.push(client);
    } catch (error) {
      last = error;
    }
  if (able.length > 0) return { subject, ok: true, says: `gives user delegation keys to ${able.join(', ')}` };
  return { subject, ok: false, says: `${saidBy(last)}; ${roleOf(account, clients)}` };
}

/** As in docs/clouds/azure.md. */
function roleOf(account: string, [client = 'CLIENT']: readonly string[]): string {
  return [
    `az role assignment create --assignee ${client} --role "Storage Blob Delegator"`,
    `--scope $(az storage account show --name ${account} --query id -o tsv)`,
  ].join(' ');
}

async function credentialOf(
  client: string,
  { name }: AzureProvider,
  { federation }: MinterServices,
): Promise<string> {
  const sign = { provider: name, purpose: 'mint' as const, audience: assertionAudience };
  const issuer = issuerOf(await federation.sign(sign));
  const subject = `mayfly:${name}:mint`;
  const parameters = JSON.stringify({ name: 'mayfly', issuer, subject, audiences: [assertionAudience] });
  return `az ad app federated-credential create --id ${client} --parameters '${parameters}'`;
}
