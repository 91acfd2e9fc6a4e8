import type { MintRequest } from '@mayfly/core';
import { checkPlan, createTokenMinter } from '@mayfly/minters';
import { seededIds, TestClock } from './clock.ts';
import { describeMinter } from './contracts.ts';
import { FakeCloud } from './fake-cloud.ts';
import { checkFakePlan, createFakeLocalMinter, createFakeMinter } from './minter.ts';

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
const aws = {
  request,
  resource: 'arn:aws:s3:::invoices/2026q3/**',
  outside: 'arn:aws:s3:::payroll/2026q3/a.pdf',
};

for (const ends of ['deleted', 'denied', 'cut', 'expired'] as const)
  describeMinter(`a fake cloud minter whose credentials are ${ends}`, () => {
    const cloud = new FakeCloud();
    return { ...aws, cloud, minter: createFakeMinter({ cloud, ends }), check: checkFakePlan };
  });

for (const ends of ['denied', 'expired'] as const)
  describeMinter(`a fake local minter whose credentials are ${ends}`, () => ({
    ...aws,
    minter: createFakeLocalMinter({ ends }),
    check: checkFakePlan,
  }));

for (const verification of ['introspect', 'offline'] as const)
  describeMinter(`the token minter for a server that verifies by ${verification}`, () => ({
    minter: createTokenMinter({
      issuer: 'https://mayfly.example',
      sign: async (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url'),
    }),
    check: checkPlan,
    request: {
      ...request,
      tool: 'report.post',
      access: 'token',
      identifier: 'https://reports.example/2026q3/x',
      actions: ['write'],
      mint: { server: 'reports' },
      provider: { name: 'token', type: 'token', spec: {} },
      server: {
        ...{ name: 'reports', audience: 'https://reports.example/mcp', cacheSeconds: 5, subjects: [] },
        signingAlgorithm: 'ES256',
        verification,
      },
    },
    resource: 'https://reports.example/2026q3/**',
    outside: 'https://payroll.example/2026q3/x',
  }));
