import { expect } from '@jest/globals';
import { type Claim, endOf, type MinterUnderTest, mintOf, planOf, readBack, revokeOf } from './subject.ts';

const onlyExpires = (subject: MinterUnderTest) =>
  endOf(planOf(subject)) === 'wait-for-expiry' && 'its credentials only expire';

/** The same names mean something else elsewhere: an end is one where the credential is, and nowhere else. */
export const placeClaims: readonly Claim[] = [
  {
    name: 'of two providers with the same native names, ending one leaves the other and never claims it',
    lacks: (subject) =>
      (subject.second === undefined && 'no second provider (second)') || onlyExpires(subject),
    hold: async (subject) => {
      const { minter, cloud, second, request } = subject;
      if (second === undefined) return;
      const [here, there] = [planOf(subject), minter.plan(second.request)];
      const [mine, theirs] = [await mintOf(subject, here), await mintOf(subject, there)];
      const works = async () => [await cloud?.accepts?.(mine), await second.accepts(theirs)];
      expect(await revokeOf(subject, readBack(here))).toBe('gone');
      expect(await works()).toEqual([false, true]);
      expect(await revokeOf(subject, readBack(there))).toBe('gone');
      expect(await works()).toEqual([false, false]);
      // Together: what is gathered into one call must be of one place.
      const ids = ({ taskId, grantId }: typeof request) => ({
        issuanceId: taskId,
        grantId: taskId,
        taskId: grantId,
      });
      const plans = [
        planOf(subject, ids(request)),
        minter.plan({ ...second.request, ...ids(second.request) }),
      ] as const;
      const [first, other] = [await mintOf(subject, plans[0]), await mintOf(subject, plans[1])];
      expect(await Promise.all(plans.map((plan) => revokeOf(subject, plan)))).toEqual(['gone', 'gone']);
      expect([await cloud?.accepts?.(first), await second.accepts(other)]).toEqual([false, false]);
    },
  },
  {
    name: 'at a provider that moved since the plan nothing is ever gone',
    lacks: (subject) => (subject.move === undefined && 'no place to move to (move)') || onlyExpires(subject),
    hold: async (subject) => {
      const plan = planOf(subject);
      const minted = await mintOf(subject, plan);
      subject.move?.();
      const told: unknown = await revokeOf(subject, readBack(plan)).catch((error: unknown) => error);
      if (told !== 'wait-for-expiry') expect(told).toMatchObject({ name: 'Fault', effect: 'none' });
      expect(await subject.cloud?.accepts?.(minted)).toBe(true);
    },
  },
];
