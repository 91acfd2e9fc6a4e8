import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { faultClaims } from './minter-contract/faults.ts';
import { mintClaims } from './minter-contract/mint.ts';
import { commonMutants, type Mutant } from './minter-contract/mutants.ts';
import { placeClaims } from './minter-contract/places.ts';
import { planClaims } from './minter-contract/plan.ts';
import { rightsClaims } from './minter-contract/rights.ts';
import type { Claim, MinterUnderTest } from './minter-contract/subject.ts';

export { bodyMutant, type Mutant, planMutant } from './minter-contract/mutants.ts';
export type { CloudUnderTest, MinterUnderTest, Scope, Wanted } from './minter-contract/subject.ts';

const claims: readonly Claim[] = [
  ...planClaims,
  ...mintClaims,
  ...placeClaims,
  ...faultClaims,
  ...rightsClaims,
];

type Make = () => MinterUnderTest | Promise<MinterUnderTest>;

/**
 * Claims that every minter and the check of its plans hold, and mutants that must fail one of them: those that any
 * minter could be, and `mutants` of its own (wider policy, missing condition, wrong target). `make` gives a new subject
 * for each. What is skipped because the subject gives too little for it is printed with its reason.
 */
export function describeMinter(name: string, make: Make, mutants: readonly Mutant[] = []): void {
  describe(name, () => {
    const skipped = new Map<string, string[]>();
    const skip = (reason: string, what: string) =>
      skipped.set(reason, [...(skipped.get(reason) ?? []), what]);
    let subject: MinterUnderTest;
    beforeEach(async () => {
      subject = await make();
    });
    afterEach(() => subject.close?.());
    for (const claim of claims)
      test(claim.name, async () => {
        const missing = claim.lacks?.(subject) ?? false;
        if (missing === false) await claim.hold(subject);
        else skip(missing, claim.name);
      });
    for (const mutant of [...commonMutants, ...mutants])
      test(`dies: ${mutant.name}`, async () => {
        const missing = mutant.lives?.(subject) ?? false;
        if (missing === false) expect(await claimFailedBy(mutant, make)).not.toBeNull();
        else skip(missing, mutant.name);
      });
    afterAll(() => {
      for (const [reason, what] of skipped)
        console.info(`${name}: ${reason}; ${what.length} skipped: ${what.join(' · ')}`);
    });
  });
}

/** The first claim that the mutant fails; null when it lives. */
export async function claimFailedBy(mutant: Mutant, make: Make): Promise<string | null> {
  for (const claim of claims) {
    const subject = await make();
    try {
      const wrong = mutant.of(subject);
      if ((claim.lacks?.(wrong) ?? false) === false) await claim.hold(wrong);
    } catch {
      return claim.name;
    } finally {
      await subject.close?.();
    }
  }
  return null;
}
