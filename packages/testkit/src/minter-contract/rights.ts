import { expect } from '@jest/globals';
import { withSeed } from '../random.ts';
import {
  type Claim,
  checkOf,
  type MinterUnderTest,
  planOrRefusal,
  type Scope,
  type Wanted,
} from './subject.ts';

/** Enough to meet every pair of parts that a generator of a few choices each can make. */
const scopesMax = 2_000;

/** What was sent, judged as the provider would, opens the thing that was granted and nothing beside it. */
export const rightsClaims: readonly Claim[] = [
  {
    name: `of ${scopesMax} generated scopes none opens more than was granted`,
    lacks: ({ opens, scope }) =>
      (opens === undefined || scope === undefined) && 'no evaluator of what is sent (opens, scope)',
    hold: (subject) =>
      withSeed(async (random) => {
        let planned = 0;
        for (let count = 0; count < scopesMax; count += 1) {
          const scope = subject.scope?.(random);
          if (scope !== undefined && (await holdsScope(subject, scope))) planned += 1;
        }
        // A minter that refuses everything opens nothing either.
        expect(planned).toBeGreaterThan(scopesMax / 2);
      }),
  },
];

/** False when the provider cannot narrow this far, and the minter says so. */
async function holdsScope(given: MinterUnderTest, scope: Scope): Promise<boolean> {
  const resource = scope.resource ?? given.resource;
  const subject = { ...given, resource, request: { ...given.request, ...scope.request } };
  const plan = planOrRefusal(subject);
  if (plan === undefined) return false;
  const { identifier, actions } = subject.request;
  const granted = actions.map((action): Wanted => ({ action, identifier }));
  const outside = actions.map((action): Wanted => ({ action, identifier: subject.outside }));
  const wrong: unknown[] = [checkOf(subject, plan)].filter((problem) => problem !== null);
  if (!scope.neighbours.some((one) => one.identifier !== identifier)) wrong.push('no other thing is tried');
  for (const wanted of granted) if (!(await subject.opens?.(plan, wanted))) wrong.push(['closed', wanted]);
  for (const wanted of [...scope.neighbours, ...outside])
    if (await subject.opens?.(plan, wanted)) wrong.push(['open', wanted]);
  // One assertion a scope: thousands of them are slow.
  if (wrong.length > 0) expect({ scope, wrong }).toEqual({ scope, wrong: [] });
  return true;
}
