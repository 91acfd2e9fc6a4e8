import { inspect } from 'node:util';
import { expect } from '@jest/globals';
import type { CloudFault } from '../fake-cloud.ts';
import {
  type Claim,
  endsWithout,
  faultOf,
  type MinterUnderTest,
  mintOf,
  never,
  planOf,
  revokeOf,
} from './subject.ts';

const noCloud = ({ cloud }: MinterUnderTest) => cloud === undefined && 'it calls no cloud';
const cannotPlay = (fault: CloudFault) => (subject: MinterUnderTest) =>
  noCloud(subject) ||
  (subject.cloud?.plays?.includes(fault) !== true && `its cloud cannot play ${fault} (cloud.plays)`);

/** A mint that fails so. */
async function failing(subject: MinterUnderTest, fault: CloudFault, signal = never): Promise<unknown> {
  subject.cloud?.failNext(fault);
  return faultOf(mintOf(subject, planOf(subject), signal));
}
const known = { effect: 'none' };
const unknown = { effect: 'unknown' };

/** Every failure is a Fault that says whether something may have happened, and shows nothing that it should not. */
export const faultClaims: readonly Claim[] = [
  {
    name: 'a refusal of the cloud is a Fault without effect',
    lacks: noCloud,
    hold: async (subject) => {
      expect(await failing(subject, 'refused')).toMatchObject(known);
      expect(subject.cloud?.minted).toEqual([]);
    },
  },
  {
    name: 'a cloud that asks for patience has done nothing, and is not away for good',
    lacks: cannotPlay('throttled'),
    hold: async (subject) => {
      expect(await failing(subject, 'throttled')).toMatchObject({ ...known, reason: 'provider_unavailable' });
      expect(subject.cloud?.minted).toEqual([]);
    },
  },
  {
    name: 'a lost request and a lost answer look the same: a Fault whose effect is unknown',
    lacks: noCloud,
    hold: async (subject) => {
      expect(await failing(subject, 'not-applied')).toMatchObject(unknown);
      expect(subject.cloud?.minted).toEqual([]);
      expect(await failing(subject, 'applied')).toMatchObject(unknown);
      expect(subject.cloud?.minted).toHaveLength(1);
    },
  },
  {
    name: 'what was made without an answer is taken back by its plan',
    lacks: noCloud,
    hold: async (subject) => {
      await failing(subject, 'applied');
      const plan = planOf(subject);
      const outcome = await revokeOf(subject, plan);
      expect(endsWithout(plan).filter((one) => one !== 'was-absent')).toContain(outcome);
    },
  },
  {
    name: 'a credential that would live longer than its plan is not answered',
    lacks: noCloud,
    hold: async (subject) => expect(await failing(subject, 'lies')).toMatchObject(unknown),
  },
  {
    name: 'a credential of another identity or size than was asked for is not answered',
    lacks: cannotPlay('lies-identity'),
    hold: async (subject) => expect(await failing(subject, 'lies-identity')).toMatchObject(unknown),
  },
  {
    name: 'a call that hangs ends with its signal',
    lacks: noCloud,
    hold: async (subject) => {
      const deadline = new AbortController();
      const hanging = subject.cloud?.hanging;
      const failed = failing(subject, 'hangs', deadline.signal);
      await hanging;
      // Taken back while it runs: an answer, never a wait for it.
      await revokeOf(subject, planOf(subject));
      deadline.abort();
      expect(await failed).toMatchObject(unknown);
    },
  },
  {
    name: 'an end that the cloud did not confirm is none',
    lacks: (subject) =>
      noCloud(subject) || (planOf(subject).ends.by === 'expired' && 'its credentials only expire'),
    hold: async (subject) => {
      await mintOf(subject, planOf(subject));
      subject.cloud?.failNext('not-applied');
      const error = await faultOf(revokeOf(subject, planOf(subject)));
      expect(error).toMatchObject(unknown);
    },
  },
  {
    name: 'no secret stands in a Fault',
    lacks: (subject) => noCloud(subject) || (subject.secrets === undefined && 'no list of secrets (secrets)'),
    hold: async (subject) => {
      const faults: CloudFault[] = ['refused', 'not-applied', 'applied', 'lies'];
      for (const fault of [...faults, ...(subject.cloud?.plays ?? [])]) {
        const error = await failing(subject, fault);
        // As a logger writes it: own members, and the whole chain of causes.
        const shown = JSON.stringify(error) + inspect(error, { depth: 8 });
        const found = subject.secrets?.().filter((secret) => shown.includes(secret)) ?? [];
        expect([fault, found.length]).toEqual([fault, 0]);
      }
      expect(subject.secrets?.().length).toBeGreaterThan(0);
    },
  },
];
