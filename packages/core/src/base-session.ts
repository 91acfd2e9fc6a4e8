import { auditEvent } from './audit-event.ts';
import { Fault } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import type { Minter, MintPlan } from './minter.ts';
import { baseRecord } from './record.ts';
import type { PolicySet } from './template.ts';
import { unlessAborted } from './unless-aborted.ts';

type BasePorts = Pick<
  ExchangePorts,
  'minters' | 'ledger' | 'newId' | 'clock' | 'baseFlights' | 'digest' | 'checkBase' | 'deadline'
>;

interface Context {
  readonly ports: BasePorts;
  readonly signal: AbortSignal;
  readonly policy: PolicySet;
}

/**
 * Makes the session that `plan` is cut from, when none lives long enough in this process: an issuance of purpose
 * `base` with intent, outcome and end of its own (invariant I1), one flight at a time per reach.
 */
export async function ensureBase(plan: MintPlan, context: Context): Promise<void> {
  const { ports } = context;
  const minter = ports.minters.get(plan.kind);
  if (minter?.base === undefined) return;
  const now = ports.clock.now();
  const flightKey = `${plan.provider}\n${plan.reach}`;
  const running = ports.baseFlights.get(flightKey);
  if (running !== undefined) await waiting(running, context);
  const base = minter.base(plan, { issuanceId: ports.newId(), now });
  if (base === undefined) return;
  const problem = ports.checkBase(base, plan);
  if (problem !== null) throw new Fault('plan_check_failed', { effect: 'none', detail: `base: ${problem}` });
  const flight = ports.baseFlights.get(flightKey) ?? start(flightKey, base, minter, context);
  await waiting(flight, context);
}

function waiting(flight: Promise<void>, { signal }: Context): Promise<void> {
  return unlessAborted(
    signal,
    flight,
    () =>
      new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'base session: the mint deadline has passed',
      }),
  );
}

// Many wait for one flight, so it ends by a deadline of its own and not by that of whoever came first.
function start(flightKey: string, base: MintPlan, minter: Minter, context: Context): Promise<void> {
  const flight = makeBase(base, minter, context).finally(() => context.ports.baseFlights.delete(flightKey));
  context.ports.baseFlights.set(flightKey, flight);
  return flight;
}

async function makeBase(base: MintPlan, minter: Minter, { ports, policy }: Context): Promise<void> {
  const at = { newId: ports.newId, now: ports.clock.now() };
  const ids = { actor: 'mayfly', taskId: base.taskId, issuanceId: base.issuanceId };
  const intended = await ports.ledger.intend({
    record: baseRecord(base, { policyEpoch: policy.epoch, inputDigest: ports.digest(base) }),
    plan: base,
    epoch: policy.epoch,
    generation: base.generation,
    use: { uses: [], attested: [], idempotencyKey: null },
    opening: null,
    budget: { exchanges: null, perMinute: null },
    above: [],
    audit: auditEvent(at, {
      type: 'base.intended',
      ...ids,
      body: { provider: base.provider, reach: base.reach },
    }),
  });
  // The grant ended or the policy moved since the agent's own intent: that one is now the reaper's.
  if (intended.kind !== 'intended')
    throw new Fault('not_delivered', { effect: 'none', detail: `base session: ${intended.kind}` });
  const minted = await minter.mint(base, { now: ports.clock.now(), signal: ports.deadline() });
  const delivered = await ports.ledger.deliver({
    issuanceId: base.issuanceId,
    keyHash: minted.keyHash,
    expiresAt: minted.expiresAt,
    audit: auditEvent(at, { type: 'base.delivered', ...ids, body: { keyHash: minted.keyHash } }),
  });
  if (!delivered)
    throw new Fault('not_delivered', { effect: 'unknown', detail: 'the base intent was reaped' });
}
