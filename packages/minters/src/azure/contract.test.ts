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

/** One suite for each call that a mint makes: a SAS is signed in memory, and Azure never hears of it before it is used. */
const suites = [
  {
    name: 'the Azure minter of blobs',
    action: 'GetUserDelegationKey',
    request: () => cloud.request(),
    resource: 'https://invoices.blob.core.windows.net/reports/2026q3/**',
    outside: 'https://archive.blob.core.windows.net/payroll/2026q3/a.pdf',
    lies: 'lie_longer',
  },
  {
    name: 'the Azure minter of queues',
    action: 'ListKeys',
    request: () => cloud.queue(),
    resource: 'https://finance-bus.servicebus.windows.net/orders',
    outside: 'https://finance-bus.servicebus.windows.net/refunds',
    lies: 'lie_identity',
  },
] as const;

for (const { name, action, request, resource, outside, lies } of suites)
  describeMinter(name, () => {
    cloud.azure.faults.clear();
    const since = cloud.azure.ledger().length;
    return {
      minter: createAzureMinter(cloud.options),
      check: checkPlan,
      request: request(),
      resource,
      outside,
      cloud: {
        plays: ['throttled'],
        failNext: (fault) => {
          if (!isPlayed(fault)) return;
          const mode = fault === 'lies' ? { mode: lies } : {};
          cloud.azure.faults.arm({ action, ...faults[fault], ...mode });
        },
        get hanging() {
          return cloud.azure.faults.taken;
        },
        get minted() {
          const calls = cloud.azure.ledger(since).filter(({ operation }) => operation === action);
          return calls.map(() => ({ issuanceId: '' }));
        },
      },
    };
  });
