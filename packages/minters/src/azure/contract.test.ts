import { afterAll } from '@jest/globals';
import { describeMinter, type MinterUnderTest } from '@mayfly/testkit/contracts';
import { startAzureCloud } from '../../test/azure.ts';
import { checkPlan } from '../check.ts';
import { createAzureMinter } from './minter.ts';

const cloud = await startAzureCloud();
afterAll(() => cloud.close());

type Fault = Parameters<NonNullable<MinterUnderTest['cloud']>['failNext']>[0];
const faults = {
  refused: { mode: 'refuse', status: 403 },
  'not-applied': { mode: 'cut' },
  applied: { mode: 'applied_and_cut' },
  hangs: { mode: 'hold' },
  lies: { mode: 'lie_longer' },
  throttled: { mode: 'refuse', status: 429 },
} as const satisfies Partial<Record<Fault, object>>;
const isPlayed = (fault: Fault): fault is keyof typeof faults => Object.hasOwn(faults, fault);

// The one call that mints is that for a key: a SAS is signed in memory, and Azure never hears of it before it is used.
describeMinter('the Azure minter', () => {
  cloud.azure.faults.clear();
  const since = cloud.azure.ledger().length;
  return {
    minter: createAzureMinter(cloud.options),
    check: checkPlan,
    request: cloud.request(),
    resource: 'https://invoices.blob.core.windows.net/reports/2026q3/**',
    outside: 'https://archive.blob.core.windows.net/payroll/2026q3/a.pdf',
    cloud: {
      plays: ['throttled'],
      failNext: (fault) => {
        if (isPlayed(fault)) cloud.azure.faults.arm({ action: 'GetUserDelegationKey', ...faults[fault] });
      },
      get hanging() {
        return cloud.azure.holding;
      },
      get minted() {
        const keys = cloud.azure.ledger(since).filter((one) => one.operation === 'GetUserDelegationKey');
        return keys.map(() => ({ issuanceId: '' }));
      },
    },
  };
});
