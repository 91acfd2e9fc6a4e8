import { type Enforcement, type MintPlan, type MintRequest, Refusal } from '@mayfly/core';
import { tokenType } from '@mayfly/protocol';
import { z } from 'zod';
import { planBlob } from './blob-plan.ts';
import { type AzureProvider, parseAzureProvider } from './provider.ts';
import { planQueue } from './queue-plan.ts';

/** Shorter, the clocks of Azure and of the broker decide more than the life. */
export const lifeSecondsMin = 5;

/** What one access makes of a request: the part of a plan that is its own. */
export interface PlanPart {
  readonly nativePermissions: readonly string[];
  /** The smallest thing that Azure can take back, and whom else that hits. */
  readonly reach: string;
  /** Read from what is sent. */
  readonly enforcement: Enforcement;
  /** Exactly what will be sent but for key and signature; stored before the cloud is called. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** What both kinds of body say of who signs. */
export interface Signer {
  readonly tenant: string;
  readonly client: string;
}

const mintBlock = z.looseObject({ client: z.string().optional() });

/** Pure: a SAS for one blob, one directory or one queue, for seconds. */
export function planAzure(request: MintRequest): MintPlan {
  const provider = parseAzureProvider(request.provider);
  const { access, identifier, actions, notAfter } = request;
  const lifeSeconds = Math.floor(notAfter.getTime() / 1000) - Math.floor(request.now.getTime() / 1000);
  const signer = { tenant: provider.tenant, client: chooseClient(provider, request.mint) };
  const part = (access === 'servicebus.queue' ? planQueue : planBlob)(request, { provider, signer });
  if (lifeSeconds < lifeSecondsMin) throw new Refusal('too_little_time_left', { detail: `${lifeSeconds} s` });
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
    notAfter: notAfter.toISOString(),
    ends: { by: 'expired' },
    issuedTokenType: tokenType.azureSas,
    tokenType: 'N_A',
    ...part,
  };
}

function chooseClient({ clients, name }: AzureProvider, mint: Readonly<Record<string, unknown>>): string {
  const { client = clients[0] } = mintBlock.parse(mint);
  if (client === undefined || !clients.includes(client))
    throw new Refusal('tool_not_granted', { detail: `client is not a ceiling of provider ${name}` });
  return client;
}
