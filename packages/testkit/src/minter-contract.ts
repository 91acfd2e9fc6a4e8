import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Minter, MintPlan, MintRequest, PlanCheck } from '@mayfly/core';
import type { CloudFault } from './fake-cloud.ts';

export interface MinterUnderTest {
  readonly minter: Minter;
  readonly check: PlanCheck;
  readonly request: MintRequest;
  /** The resource of the grant that `request` was decided under. */
  readonly resource: string;
  /** Something of the same form outside that resource. */
  readonly outside: string;
  /** For a minter that calls a cloud: what the next call does, when one hangs, and what the cloud itself has made. */
  readonly cloud?: {
    failNext(fault: CloudFault): void;
    readonly hanging: Promise<void>;
    readonly minted: readonly { readonly issuanceId: string }[];
  };
}

/** Claims that every minter and the check of its plans hold. `make` gives a new one for each claim. */
export function describeMinter(name: string, make: () => MinterUnderTest): void {
  describe(name, () => {
    let subject = make();
    beforeEach(() => {
      subject = make();
    });
    describe('plan', () => testPlan(() => subject));
    describe('check', () => testCheck(() => subject));
    describe('mint and revoke', () => testMint(() => subject));
    if (subject.cloud !== undefined) describe('when the cloud fails', () => testFaults(() => subject));
  });
}

const never = new AbortController().signal;

function planOf({ minter, request }: MinterUnderTest, change: Partial<MintRequest> = {}): MintPlan {
  return minter.plan({ ...request, ...change });
}

function checkOf(subject: MinterUnderTest, plan: MintPlan, change: Partial<Parameters<PlanCheck>[1]> = {}) {
  const { request, resource, check } = subject;
  const { actions, identifier, notAfter, provider, server, taskId, grantId, tool, access } = request;
  const allowed = {
    resource,
    actions,
    identifier,
    notAfter,
    provider,
    server,
    taskId,
    grantId,
    tool,
    access,
  };
  const { workload, holder, mint, argsDigest } = request;
  return check(plan, { ...allowed, workload, holder, mint, argsDigest, ...change });
}

function testPlan(subject: () => MinterUnderTest): void {
  test('the same request gives the same plan, and a plan is plain JSON', () => {
    const plan = planOf(subject());
    expect(planOf(subject())).toEqual(plan);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  test('a plan names what was decided and nothing else', () => {
    const { request, minter } = subject();
    const { issuanceId, taskId, grantId, generation, identifier, access, actions, provider } = request;
    expect(planOf(subject())).toMatchObject({
      ...{ kind: minter.kind, purpose: 'agent', issuanceId, taskId, grantId, generation },
      ...{ identifier, access, actions, provider: provider.name },
    });
  });

  test('a plan ends in a whole second, and not after the decision', () => {
    const { notAfter } = planOf(subject());
    expect(Date.parse(notAfter) % 1000).toBe(0);
    expect(Date.parse(notAfter)).toBeLessThanOrEqual(subject().request.notAfter.getTime());
  });
}

function testCheck(subject: () => MinterUnderTest): void {
  test('its own plan passes', () => {
    expect(checkOf(subject(), planOf(subject()))).toBeNull();
  });

  test('a plan for another thing, inside or outside the grant, does not pass', () => {
    const { outside } = subject();
    const plan = planOf(subject(), { identifier: outside });
    expect(checkOf(subject(), plan)).not.toBeNull();
    expect(checkOf(subject(), plan, { identifier: outside })).not.toBeNull();
  });

  test('a plan with another action than was decided does not pass', () => {
    expect(checkOf(subject(), planOf(subject()), { actions: [] })).not.toBeNull();
  });

  test('a plan that lives longer than was decided does not pass', () => {
    const { notAfter } = subject().request;
    const later = new Date(notAfter.getTime() + 1000);
    expect(checkOf(subject(), planOf(subject(), { notAfter: later }))).not.toBeNull();
  });

  test('a plan whose own part is missing or unknown does not pass', () => {
    const plan = planOf(subject());
    expect(checkOf(subject(), { ...plan, body: {} })).not.toBeNull();
    expect(checkOf(subject(), { ...plan, body: { everything: true } })).not.toBeNull();
  });
}

function testMint(subject: () => MinterUnderTest): void {
  const mint = (plan: MintPlan) => subject().minter.mint(plan, { now: subject().request.now, signal: never });
  const revoke = (plan: MintPlan) =>
    subject().minter.revoke(plan, { now: subject().request.now, signal: never });

  test('a credential never prints and lives no longer than its plan', async () => {
    const plan = planOf(subject());
    const { credential, expiresAt } = await mint(plan);
    expect(credential.reveal().length).toBeGreaterThan(0);
    expect(JSON.stringify({ credential })).not.toContain(credential.reveal());
    expect(expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
  });

  test('minting the same plan again prolongs nothing', async () => {
    const plan = planOf(subject());
    const first = await mint(plan);
    const second = await mint(plan);
    expect(second.expiresAt.getTime()).toBeLessThanOrEqual(first.expiresAt.getTime());
  });

  test('taking back is right before the mint, after it, and again', async () => {
    const plan = planOf(subject());
    const before = await revoke(plan);
    await mint(plan);
    const after = await revoke(plan);
    const again = await revoke(plan);
    const ends = plan.ends.by === 'expired' ? 'wait-for-expiry' : 'gone';
    expect(after).toBe(ends);
    for (const outcome of [before, again]) expect([ends, 'was-absent']).toContain(outcome);
  });
}

function testFaults(subject: () => MinterUnderTest): void {
  const failing = async (fault: CloudFault, signal = never) => {
    subject().cloud?.failNext(fault);
    const plan = planOf(subject());
    const minted = subject().minter.mint(plan, { now: subject().request.now, signal });
    await expect(minted).rejects.toMatchObject({ name: 'Fault' });
    const error: unknown = await minted.catch((thrown: unknown) => thrown);
    return Reflect.get(Object(error), 'effect');
  };

  test('a refusal of the cloud is a Fault without effect', async () => {
    expect(await failing('refused')).toBe('none');
    expect(subject().cloud?.minted).toEqual([]);
  });

  test('a lost request and a lost answer look the same: a Fault whose effect is unknown', async () => {
    expect(await failing('not-applied')).toBe('unknown');
    expect(subject().cloud?.minted).toEqual([]);
    expect(await failing('applied')).toBe('unknown');
    expect(subject().cloud?.minted).toHaveLength(1);
  });

  test('a credential that would live longer than its plan is not answered', async () => {
    expect(await failing('lies')).toBe('unknown');
  });

  test('a call that hangs ends with its signal', async () => {
    const deadline = new AbortController();
    const hanging = subject().cloud?.hanging;
    const failed = failing('hangs', deadline.signal);
    await hanging;
    deadline.abort();
    expect(await failed).toBe('unknown');
  });

  test('an end that the cloud did not confirm is none', async () => {
    const plan = planOf(subject());
    if (plan.ends.by === 'expired') return;
    subject().cloud?.failNext('not-applied');
    const revoked = subject().minter.revoke(plan, { now: subject().request.now, signal: never });
    await expect(revoked).rejects.toMatchObject({ name: 'Fault', effect: 'unknown' });
  });
}
