import { type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import type { MinterUnderTest } from './subject.ts';

/** A subject with one thing wrong: some claim must fail on it, or the suite proves less than it says. */
export interface Mutant {
  readonly name: string;
  readonly of: (subject: MinterUnderTest) => MinterUnderTest;
  /** Why it lives rightly on this subject; only where the subject lacks what would show it. */
  lives?(subject: MinterUnderTest): string | false;
}

/** A minter that sends something else than it should. Nothing but the plan is wrong: its check is the real one. */
export function planMutant(name: string, change: (plan: MintPlan) => MintPlan): Mutant {
  const wrong = ({ minter }: MinterUnderTest): Partial<Minter> => ({
    plan: (request) => change(minter.plan(request)),
  });
  return { name, of: (subject) => withMinter(subject, wrong(subject)) };
}

/** As `planMutant`, where a member of the body is all that is wrong. */
export function bodyMutant(name: string, change: Readonly<Record<string, unknown>>): Mutant {
  return planMutant(name, (plan) => ({ ...plan, body: { ...plan.body, ...change } }));
}

function withMinter(subject: MinterUnderTest, wrong: Partial<Minter>): MinterUnderTest {
  return { ...subject, minter: { ...subject.minter, ...wrong } };
}

function mintMutant(name: string, change: (minted: Minted) => Minted): Mutant {
  const wrong = ({ minter }: MinterUnderTest): Partial<Minter> => ({
    mint: async (plan, context) => change(await minter.mint(plan, context)),
  });
  return { name, of: (subject) => withMinter(subject, wrong(subject)) };
}

class Loud extends Secret<string> {
  override toString(): string {
    return this.reveal();
  }
  override toJSON(): string {
    return this.reveal();
  }
}

let count = 0;

/** What every minter could get wrong. */
export const commonMutants: readonly Mutant[] = [
  planMutant('a plan that is another each time', (plan) => {
    count += 1;
    return { ...plan, reach: `${plan.reach}-${count}` };
  }),
  planMutant('a plan that lives an hour longer', (plan) => ({
    ...plan,
    notAfter: new Date(Date.parse(plan.notAfter) + 3_600_000).toISOString(),
  })),
  planMutant('a plan without anything to send', (plan) => ({ ...plan, body: {} })),
  {
    name: 'a plan that opens another thing under the right name',
    of: (subject) =>
      withMinter(subject, {
        plan: (request) => ({
          ...subject.minter.plan({ ...request, identifier: subject.outside }),
          identifier: request.identifier,
        }),
      }),
  },
  { name: 'a check that lets everything pass', of: (subject) => ({ ...subject, check: () => null }) },
  { name: 'a check that lets nothing pass', of: (subject) => ({ ...subject, check: () => 'no' }) },
  mintMutant('a credential that says it lives longer', (minted) => ({
    ...minted,
    expiresAt: new Date(minted.expiresAt.getTime() + 3_600_000),
  })),
  mintMutant('a credential that prints', (minted) => ({
    ...minted,
    credential: new Loud(minted.credential.reveal()),
  })),
  {
    name: 'an end that is only said',
    of: (subject) => withMinter(subject, { revoke: async () => 'gone' }),
    lives: ({ minter, request, cloud }) =>
      minter.plan(request).ends.by !== 'expired' && cloud === undefined && 'no cloud that could show it',
  },
  {
    name: 'an end that calls nothing by any name',
    of: (subject) => withMinter(subject, { revoke: async () => 'was-absent' }),
  },
];
