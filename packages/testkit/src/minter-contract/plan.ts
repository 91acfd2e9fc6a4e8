import { expect } from '@jest/globals';
import { type Claim, checkOf, planOf, planOrRefusal, readBack } from './subject.ts';

/** A plan is plain, complete and the same each time; the check takes it and nothing that differs from the decision. */
export const planClaims: readonly Claim[] = [
  {
    name: 'the same request gives the same plan, and a plan is plain JSON',
    hold: (subject) => {
      const plan = planOf(subject);
      expect(planOf(subject)).toEqual(plan);
      expect(readBack(plan)).toEqual(plan);
    },
  },
  {
    name: 'a plan names what was decided and nothing else',
    hold: (subject) => {
      const { request, minter } = subject;
      const { issuanceId, taskId, grantId, generation, identifier, access, actions, provider } = request;
      expect(planOf(subject)).toMatchObject({
        ...{ kind: minter.kind, purpose: 'agent', issuanceId, taskId, grantId, generation },
        ...{ identifier, access, actions, provider: provider.name },
      });
    },
  },
  {
    name: 'a plan ends in a whole second, and not after the decision',
    hold: (subject) => {
      const { notAfter } = planOf(subject);
      expect(Date.parse(notAfter) % 1000).toBe(0);
      expect(Date.parse(notAfter)).toBeLessThanOrEqual(subject.request.notAfter.getTime());
    },
  },
  {
    name: 'its own plan passes the check, read back as well',
    hold: (subject) => {
      expect(checkOf(subject, planOf(subject))).toBeNull();
      expect(checkOf(subject, readBack(planOf(subject)))).toBeNull();
    },
  },
  {
    name: 'a plan for another thing, inside or outside the grant, does not pass',
    hold: (subject) => {
      const identifier = subject.outside;
      const plan = planOrRefusal(subject, { identifier });
      // Not even planned: beyond the ceilings of its provider.
      if (plan === undefined) return;
      expect(checkOf(subject, plan)).not.toBeNull();
      expect(checkOf(subject, plan, { identifier })).not.toBeNull();
      // The right name on what opens another thing.
      const mislabelled = { ...plan, identifier: subject.request.identifier };
      expect(checkOf(subject, mislabelled)).not.toBeNull();
    },
  },
  {
    name: 'a plan with another action than was decided does not pass',
    hold: (subject) => {
      expect(checkOf(subject, planOf(subject), { actions: [] })).not.toBeNull();
    },
  },
  {
    name: 'a plan that lives longer than was decided does not pass',
    hold: (subject) => {
      const later = new Date(subject.request.notAfter.getTime() + 1000);
      expect(checkOf(subject, planOf(subject, { notAfter: later }))).not.toBeNull();
    },
  },
  {
    name: 'a plan whose own part is missing or unknown does not pass',
    hold: (subject) => {
      const plan = planOf(subject);
      expect(checkOf(subject, { ...plan, body: {} })).not.toBeNull();
      expect(checkOf(subject, { ...plan, body: { everything: true } })).not.toBeNull();
      expect(checkOf(subject, { ...plan, body: { ...plan.body, everything: true } })).not.toBeNull();
    },
  },
];
