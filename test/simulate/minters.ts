import { type CallContext, Fault, type Minter, type MintPlan, Secret } from '@mayfly/core';
import { createFakeMinter, FakeCloud } from '@mayfly/testkit';
import type { DenyDocuments } from '../../packages/minters/src/aws/deny.ts';
import { baseSeconds } from '../../packages/minters/src/aws/plan.ts';
import type { CloudCredential, CloudKind } from './clouds.ts';
import { denyEndpoints, denyRole } from './documents.ts';

/** A base must outlive what is cut from it. */
const baseMarginMs = 5_000;

/** Requests to one account, as the replica sends them. */
export interface CloudCalls {
  mint(plan: MintPlan, signal: AbortSignal): Promise<CloudCredential>;
  remove(issuanceId: string, signal: AbortSignal): Promise<boolean>;
}

/** Plans are those of the testkit's minter, which its own check judges. */
const planners = {
  denying: createFakeMinter({ cloud: new FakeCloud(), ends: 'denied' }),
  deleting: createFakeMinter({ cloud: new FakeCloud(), ends: 'deleted' }),
  expiring: createFakeMinter({ cloud: new FakeCloud(), ends: 'expired' }),
};

function planned(kind: CloudKind): Pick<Minter, 'kind' | 'local' | 'plan'> {
  const { local, plan } = planners[kind];
  return { kind, local, plan: (request) => ({ ...plan(request), kind }) };
}

/** As AWS: a base session per reach, denied by name in one document per role, which the product's own code writes. */
export function createDenyingMinter(calls: CloudCalls, denials: DenyDocuments): Minter {
  const sessions = new Map<string, Date>();
  return {
    ...planned('denying'),
    base: (plan, { issuanceId, now }) => {
      const until = sessions.get(plan.reach)?.getTime() ?? 0;
      if (until >= Date.parse(plan.notAfter) + baseMarginMs) return undefined;
      const notAfter = new Date((Math.floor(now.getTime() / 1000) + baseSeconds) * 1000).toISOString();
      return { ...plan, purpose: 'base', issuanceId, notAfter };
    },
    mint: async (plan, context) => {
      const minted = await mintBy(calls, plan, context);
      if (plan.purpose === 'base') sessions.set(plan.reach, minted.expiresAt);
      return minted;
    },
    revoke: async ({ provider, reach, taskId }, context) => {
      await denials.deny({ provider, role: denyRole, reach, taskId, ...denyEndpoints }, context);
      return 'gone';
    },
    watch: (olderThanSeconds, { newId, ...context }) => denials.watch(olderThanSeconds, context, newId),
  };
}

export function createDeletingMinter(calls: CloudCalls): Minter {
  return {
    ...planned('deleting'),
    mint: (plan, context) => mintBy(calls, plan, context),
    revoke: async ({ issuanceId }, { signal }) =>
      (await calls.remove(issuanceId, signal)) ? 'gone' : 'was-absent',
  };
}

export function createExpiringMinter(calls: CloudCalls): Minter {
  return {
    ...planned('expiring'),
    mint: (plan, context) => mintBy(calls, plan, context),
    revoke: async () => 'wait-for-expiry',
  };
}

async function mintBy({ mint }: CloudCalls, plan: MintPlan, { signal }: CallContext) {
  const { serial, expiresAt } = await mint(plan, signal);
  if (expiresAt.getTime() > Date.parse(plan.notAfter))
    throw new Fault('provider_refused', { effect: 'unknown', detail: 'a longer life than asked for' });
  return { credential: new Secret(`secret-${serial}`), expiresAt, keyHash: `hash-${serial}` };
}
