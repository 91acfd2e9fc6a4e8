import { inspect } from 'node:util';
import { expect } from '@jest/globals';
import {
  type Claim,
  endOf,
  endsWithout,
  type MinterUnderTest,
  mintOf,
  planOf,
  readBack,
  revokeOf,
} from './subject.ts';

const noJudge = 'no cloud that judges credentials (cloud.accepts)';

/** What minting answers, and what taking back does, in every order. */
export const mintClaims: readonly Claim[] = [
  {
    name: 'a credential never prints and lives no longer than its plan',
    hold: async (subject) => {
      const plan = planOf(subject);
      const minted = await mintOf(subject, plan);
      const secret = minted.credential.reveal();
      expect(secret.length).toBeGreaterThan(0);
      const shown = JSON.stringify(minted) + inspect(minted, { depth: 8 }) + String(minted.credential);
      expect(shown.includes(secret)).toBe(false);
      expect(minted.expiresAt.getTime()).toBeLessThanOrEqual(Date.parse(plan.notAfter));
    },
  },
  {
    name: 'minting the same plan again prolongs nothing',
    hold: async (subject) => {
      const plan = planOf(subject);
      const first = await mintOf(subject, plan);
      const second = await mintOf(subject, readBack(plan));
      expect(second.expiresAt.getTime()).toBeLessThanOrEqual(first.expiresAt.getTime());
    },
  },
  {
    name: 'no secret stands in plan or log',
    lacks: ({ secrets }) => secrets === undefined && 'no list of secrets (secrets)',
    hold: async (subject) => {
      const plan = planOf(subject);
      const { credential } = await mintOf(subject, plan);
      await revokeOf(subject, plan);
      const secrets = [credential.reveal(), ...(subject.secrets?.() ?? [])];
      const told = JSON.stringify([plan, planOf(subject), subject.reported?.()]);
      expect(secrets.filter((secret) => told.includes(secret))).toEqual([]);
    },
  },
  {
    name: 'taking back is right before the mint, after it, and again',
    hold: async (subject) => {
      const plan = planOf(subject);
      const before = await revokeOf(subject, plan);
      await mintOf(subject, plan);
      const after = await revokeOf(subject, readBack(plan));
      const again = await revokeOf(subject, readBack(plan));
      expect(after).toBe(endOf(plan));
      for (const outcome of [before, again]) expect(endsWithout(plan)).toContain(outcome);
    },
  },
  {
    name: 'a credential works until it is taken back, and then no more',
    lacks: ({ cloud }) => cloud?.accepts === undefined && noJudge,
    hold: async (subject) => {
      const plan = planOf(subject);
      const minted = await mintOf(subject, plan);
      expect(await subject.cloud?.accepts?.(minted)).toBe(true);
      await revokeOf(subject, readBack(plan));
      // What only expires is not called ended: it works on.
      expect(await subject.cloud?.accepts?.(minted)).toBe(endOf(plan) === 'wait-for-expiry');
    },
  },
  {
    name: 'taking back one credential leaves that of another grant alone',
    lacks: ({ cloud }) => cloud?.accepts === undefined && noJudge,
    hold: async (subject) => {
      const { taskId, grantId } = subject.request;
      // Ids that are there and are not these: what they name does not matter.
      const other = planOf(subject, { issuanceId: taskId, grantId: taskId, taskId: grantId });
      const minted = await mintOf(subject, other);
      const plan = planOf(subject);
      await mintOf(subject, plan);
      await revokeOf(subject, plan);
      expect(await subject.cloud?.accepts?.(minted)).toBe(true);
    },
  },
  {
    name: 'what is taken back while its mint still runs does not outlive a second look',
    lacks: ({ cloud }) => cloud?.hold === undefined && 'no cloud that holds a call (cloud.hold)',
    hold: holdsLateMint,
  },
];

async function holdsLateMint(subject: MinterUnderTest): Promise<void> {
  const plan = planOf(subject);
  const hold = subject.cloud?.hold?.();
  const minting = mintOf(subject, plan);
  await hold?.held;
  expect(endsWithout(plan)).toContain(await revokeOf(subject, readBack(plan)));
  hold?.release();
  const minted = await minting.catch(() => undefined);
  expect(endsWithout(plan)).toContain(await revokeOf(subject, readBack(plan)));
  if (minted !== undefined && endOf(plan) === 'gone')
    expect((await subject.cloud?.accepts?.(minted)) ?? false).toBe(false);
}
