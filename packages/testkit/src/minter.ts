import {
  type BaseCheck,
  compilePattern,
  Fault,
  type Minted,
  type Minter,
  type MintPlan,
  type MintRequest,
  type PlanCheck,
  Refusal,
  type Revocability,
  Secret,
} from '@mayfly/core';
import { formatId } from '@mayfly/protocol';
import type { FakeCloud } from './fake-cloud.ts';

export const fakeTokenType = 'urn:mayfly:token-type:fake';
/** Base sessions of the fake cloud live as long as AWS role chaining allows. */
const baseLifeSeconds = 3600;

export interface FakeMinterOptions {
  readonly cloud: FakeCloud;
  readonly ends?: Revocability['by'];
  /** Agents' credentials are cut from a session per reach. */
  readonly base?: boolean;
}

/** A minter of kind `fake` that calls a cloud: a base session first when told so, one reach per (grant, generation). */
export function createFakeMinter({ cloud, ends = 'denied', base = false }: FakeMinterOptions): Minter {
  const sessions = new Map<string, Date>();
  const cut = (plan: MintPlan, context: { issuanceId: string; now: Date }): MintPlan | undefined => {
    const until = sessions.get(plan.reach);
    if (until !== undefined && until.getTime() >= Date.parse(plan.notAfter)) return undefined;
    const notAfter = new Date(Math.floor(context.now.getTime() / 1000) * 1000 + baseLifeSeconds * 1000);
    const { issuanceId } = context;
    return { ...plan, purpose: 'base', issuanceId, notAfter: notAfter.toISOString() };
  };
  return {
    kind: 'fake',
    local: false,
    plan: (request) => planFake(request, { kind: 'fake', ends: revocability(ends) }),
    ...(base ? { base: cut } : {}),
    mint: async (plan, { signal }) => {
      const { keyId, expiresAt, identifier } = await cloud.mint(plan, signal);
      if (identifier !== plan.identifier)
        throw new Fault('provider_refused', {
          effect: 'unknown',
          detail: 'the cloud answered another thing',
        });
      if (expiresAt.getTime() > Date.parse(plan.notAfter))
        throw new Fault('provider_refused', {
          effect: 'unknown',
          detail: 'the cloud answered a longer life',
        });
      if (plan.purpose === 'base') sessions.set(plan.reach, expiresAt);
      return { credential: new Secret(`secret-of-${keyId}`), expiresAt, keyHash: `hash-of-${keyId}` };
    },
    revoke: async (plan, { signal }) => {
      if (ends === 'expired') return 'wait-for-expiry';
      if (ends === 'deleted') return (await cloud.remove(plan.issuanceId, signal)) ? 'gone' : 'was-absent';
      await cloud.deny(plan.reach, signal);
      return 'gone';
    },
  };
}

/** A minter of kind `fake-local` that signs in memory: nothing outside happens before the one commit. */
export function createFakeLocalMinter({ ends = 'denied' }: { ends?: Revocability['by'] } = {}): Minter {
  return {
    kind: 'fake-local',
    local: true,
    plan: (request) => planFake(request, { kind: 'fake-local', ends: revocability(ends) }),
    mint: async (plan): Promise<Minted> => ({
      credential: new Secret(`signed-${formatId('isn', plan.issuanceId)}`),
      expiresAt: new Date(plan.notAfter),
      keyHash: null,
    }),
    revoke: async () => (ends === 'expired' ? 'wait-for-expiry' : 'gone'),
  };
}

/** Written apart from `planFake`: what would be sent against what was decided. */
export const checkFakePlan: PlanCheck = (plan, allowed) => {
  if (Object.keys(plan.body).join() !== 'open,verbs') return 'body: not the known form';
  const pattern = compilePattern(allowed.resource);
  if (plan.body['open'] !== plan.identifier || plan.identifier !== allowed.identifier)
    return 'opens another thing than was asked for';
  if (!('matches' in pattern) || !pattern.matches(plan.identifier)) return 'opens more than the grant';
  const sent: unknown = plan.body['verbs'];
  if (!Array.isArray(sent) || sent.length === 0) return 'names no verbs';
  if (!sent.every((verb) => allowed.actions.includes(verb))) return 'verbs exceed the grant';
  return Date.parse(plan.notAfter) > allowed.notAfter.getTime() ? 'lives longer than decided' : null;
};

/** As the real one: what a base session shares with the credential that is cut from it. */
export const checkFakeBase: BaseCheck = (base, plan) => {
  if (base.purpose !== 'base' || base.issuanceId === plan.issuanceId) return 'no base session of its own';
  return base.reach === plan.reach && base.grantId === plan.grantId ? null : 'another reach than the plan';
};

function planFake(request: MintRequest, { kind, ends }: { kind: string; ends: Revocability }): MintPlan {
  if (request.mint['cannotNarrow'] === true)
    throw new Refusal('identifier_malformed', { detail: 'too narrow' });
  const { issuanceId, taskId, grantId, generation, access, identifier, actions } = request;
  return {
    ...{ kind, purpose: 'agent', issuanceId, taskId, grantId, generation, access, identifier, actions },
    provider: request.provider.name,
    nativePermissions: actions.map((action) => `fake:${action}`),
    notAfter: request.notAfter.toISOString(),
    reach: `mf-${grantId}-${generation}`,
    ends,
    enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
    issuedTokenType: fakeTokenType,
    tokenType: 'N_A',
    body: { open: identifier, verbs: [...actions] },
  };
}

function revocability(by: Revocability['by']): Revocability {
  if (by === 'expired') return { by };
  return by === 'deleted' ? { by, guaranteedSeconds: 5 } : { by, typicalSeconds: 4 };
}
