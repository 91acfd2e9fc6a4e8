import { expect, test } from '@jest/globals';
import type { Minted, MintPlan, MintRequest } from '@mayfly/core';
import { actions } from '@mayfly/protocol';
import { seededIds, TestClock } from './clock.ts';
import {
  bodyMutant,
  claimFailedBy,
  describeMinter,
  planMutant,
  type Scope,
  type Wanted,
} from './contracts.ts';
import { FakeCloud } from './fake-cloud.ts';
import { checkFakePlan, createFakeLocalMinter, createFakeMinter } from './minter.ts';
import type { Random } from './random.ts';

const clock = new TestClock();
const newId = seededIds(clock);

const request: MintRequest = {
  issuanceId: newId(),
  taskId: newId(),
  grantId: newId(),
  generation: 1,
  workload: 'agents/reconciler',
  holder: { actors: [], confirmation: null },
  tool: 's3.read',
  identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
  actions: ['read'],
  access: 's3.object',
  mint: {},
  provider: { name: 'cloud', type: 'fake', spec: {} },
  server: null,
  now: clock.now(),
  notAfter: new Date('2026-07-01T12:01:00Z'),
  argsDigest: null,
};
const invoices = 'arn:aws:s3:::invoices/2026q3/';
const aws = {
  request,
  resource: `${invoices}**`,
  outside: 'arn:aws:s3:::payroll/2026q3/a.pdf',
  check: checkFakePlan,
  scope: (random: Random): Scope => {
    const [identifier, sibling] = [`${invoices}${random.below(1e9)}.pdf`, `${invoices}x.pdf`];
    const action = random.pick(actions);
    const others = actions.filter((one) => one !== action);
    const elsewhere: Wanted[] = [sibling, invoices, '*'].map((one) => ({ action, identifier: one }));
    const neighbours = [...elsewhere, ...others.map((one) => ({ action: one, identifier }))];
    return { request: { identifier, actions: [action] }, neighbours };
  },
  // As the fake cloud would read it: `*` is everything.
  opens: ({ body }: MintPlan, { action, identifier }: Wanted) =>
    [identifier, '*'].includes(String(body['open'])) && [body['verbs']].flat().includes(action),
};

const mutants = [
  bodyMutant('everything instead of one thing', { open: '*' }),
  bodyMutant('every verb instead of one', { verbs: [...actions] }),
  bodyMutant('a member that nobody knows', { also: '*' }),
  planMutant('another issuance', (plan) => ({ ...plan, issuanceId: newId() })),
];

for (const ends of ['deleted', 'denied', 'cut', 'expired'] as const)
  describeMinter(
    `a fake cloud minter whose credentials are ${ends}`,
    () => {
      const cloud = new FakeCloud();
      const keyOf = ({ keyHash }: Minted) => cloud.minted.find(({ keyId }) => keyHash === `hash-of-${keyId}`);
      const accepts = (minted: Minted) => {
        const credential = keyOf(minted);
        return credential !== undefined && cloud.accepts(credential, request.now);
      };
      const behind = {
        failNext: (fault: Parameters<typeof cloud.failNext>[0]) => cloud.failNext(fault),
        hold: () => cloud.hold(),
        plays: ['throttled', 'lies-identity'] as const,
        minted: cloud.minted,
        accepts,
        get hanging() {
          return cloud.hanging;
        },
      };
      const secrets = () => [
        'the key of the broker',
        ...cloud.minted.map(({ keyId }) => `secret-of-${keyId}`),
      ];
      return { ...aws, cloud: behind, secrets, minter: createFakeMinter({ cloud, ends }) };
    },
    mutants,
  );

for (const ends of ['denied', 'expired'] as const)
  describeMinter(
    `a fake local minter whose credentials are ${ends}`,
    () => ({ ...aws, minter: createFakeLocalMinter({ ends }) }),
    mutants,
  );

test('a cloud that is held takes effect only when it is let go', async () => {
  const cloud = new FakeCloud();
  const { held, release } = cloud.hold();
  const minting = cloud.mint(createFakeMinter({ cloud }).plan(request), new AbortController().signal);
  await held;
  expect(cloud.minted).toEqual([]);
  release();
  await minting;
  expect(cloud.minted).toHaveLength(1);
});

test('what is not wrong does not die', async () => {
  const make = () => ({ ...aws, minter: createFakeLocalMinter() });
  expect(await claimFailedBy({ name: 'none', of: (subject) => subject }, make)).toBeNull();
});
