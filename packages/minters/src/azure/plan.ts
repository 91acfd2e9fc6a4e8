import { type Enforcement, type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { type Action, tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { type AzureProvider, blobEndpoint, parseAzureProvider } from './provider.ts';
import { sasQuery } from './sas.ts';

/** Shorter, the clocks of Azure and of the broker decide more than the life. */
export const lifeSecondsMin = 5;
/** What a leaked SAS is worth at most; the access table says the same. */
export const lifeSecondsMax = 300;
/** A user delegation key outlives the longest SAS by a minute, so that it can sign several, and dies soon after the last. */
export const keySeconds = lifeSecondsMax + 60;

/** Exactly what will be sent but for key and signature; stored before the cloud is called. */
export const azureBody = z.strictObject({
  tenant: z.string(),
  client: z.string(),
  account: z.string(),
  /** The blob or directory, without the SAS. */
  url: z.string(),
  /** The same as Azure signs it: `/blob/ACCOUNT/CONTAINER/PATH`. */
  resource: z.string(),
  /** The query of the SAS, without key and signature. */
  sas: z.string(),
  /** Life of the user delegation key that is asked for where none is in memory. */
  keySeconds: z.number().int(),
});
export type AzureBody = z.output<typeof azureBody>;

const mintBlock = z.looseObject({ client: z.string().optional() });

// In the order that Azure demands of `sp`; a SAS in another order is refused.
const letters: readonly (readonly [Action, string])[] = [
  ['read', 'r'],
  ['create', 'c'],
  ['write', 'w'],
  ['delete', 'd'],
  ['list', 'l'],
];

/** Pure: a user delegation SAS for one blob or one directory, for seconds. */
export function planAzure(request: MintRequest): MintPlan {
  const provider = parseAzureProvider(request.provider);
  const { access, identifier, actions, notAfter } = request;
  const client = chooseClient(provider, request.mint);
  const { account, path, directoryDepth } = splitIdentifier(identifier, access);
  if (!provider.accounts.includes(account))
    throw new Refusal('tool_not_granted', { detail: `account is not a ceiling of ${provider.name}` });
  const lifeSeconds = Math.floor(notAfter.getTime() / 1000) - Math.floor(request.now.getTime() / 1000);
  if (lifeSeconds < lifeSecondsMin) throw new Refusal('too_little_time_left', { detail: `${lifeSeconds} s` });
  const permissions = permissionsOf(actions, access);
  const sas = sasQuery({
    permissions: permissions.join(''),
    expiresOn: notAfter,
    directoryDepth,
    correlationId: provider.correlationId ? request.issuanceId : null,
  });
  return {
    kind: 'azure',
    purpose: 'agent',
    issuanceId: request.issuanceId,
    taskId: request.taskId,
    grantId: request.grantId,
    generation: request.generation,
    provider: provider.name,
    access,
    identifier,
    actions,
    nativePermissions: permissions,
    notAfter: notAfter.toISOString(),
    // revokeUserDelegationKeys hits every SAS of the account; nothing smaller can be taken back.
    reach: account,
    ends: { by: 'expired' },
    enforcement: enforcementOf(sas),
    issuedTokenType: tokenType.azureSas,
    tokenType: 'N_A',
    body: {
      tenant: provider.tenant,
      client,
      account,
      url: `${blobEndpoint(provider, account)}/${path}`,
      resource: `/blob/${account}/${path}`,
      sas,
      keySeconds,
    } satisfies AzureBody,
  };
}

/** Read from what is sent: a SAS without the field leaves that to the broker. */
export function enforcementOf(sas: string): Enforcement {
  const fields = new URLSearchParams(sas);
  const by = (held: boolean) => (held ? 'provider' : 'broker');
  return {
    resource: by(['b', 'd'].includes(fields.get('sr') ?? '')),
    actions: by(fields.has('sp')),
    ttl: by(fields.has('se')),
  };
}

function chooseClient({ clients, name }: AzureProvider, mint: Readonly<Record<string, unknown>>): string {
  const { client = clients[0] } = mintBlock.parse(mint);
  if (client === undefined || !clients.includes(client))
    throw new Refusal('tool_not_granted', { detail: `client is not a ceiling of provider ${name}` });
  return client;
}

/**
 * Only characters that stand for themselves in a URL, so that the name that is signed and the name that is sent cannot
 * differ. Azure drops dots and slashes at the end of a name: one that has them would open another blob.
 */
const segment = "[A-Za-z0-9._~!$&'()+,;=:@-]*[A-Za-z0-9_~!$&'()+,;=:@-]";
const form = new RegExp(
  `^https://([a-z0-9]{3,24})\\.blob\\.core\\.windows\\.net/([a-z0-9](?:-?[a-z0-9]){2,62}(?:/${segment})+)(/?)$`,
);
/** Bytes of a blob's name (learn.microsoft.com, "Naming and referencing containers, blobs, and metadata"). */
const nameBytesMax = 1024;

function splitIdentifier(identifier: string, access: string) {
  const [, account = '', path = '', slash = ''] = form.exec(identifier) ?? [];
  if (path === '' || path.length > nameBytesMax)
    throw new Refusal('identifier_malformed', { detail: 'no plain URL of a blob at Azure' });
  if (access !== 'blob.object' && access !== 'blob.directory')
    throw new Refusal('tool_not_granted', { detail: `no access ${access}` });
  if ((access === 'blob.directory') !== (slash === '/'))
    throw new Refusal('identifier_malformed', { detail: 'a directory ends in /, a blob does not' });
  return { account, path, directoryDepth: slash === '/' ? path.split('/').length - 1 : null };
}

function permissionsOf(actions: readonly Action[], access: string): readonly string[] {
  const known = letters.filter(([action]) => access === 'blob.directory' || action !== 'list');
  const chosen = known.filter(([action]) => actions.includes(action)).map(([, letter]) => letter);
  if (chosen.length === 0 || !actions.every((one) => known.some(([action]) => action === one)))
    throw new Refusal('tool_not_granted', { detail: `${access} has no such action` });
  return chosen;
}
