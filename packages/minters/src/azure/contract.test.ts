import { afterAll } from '@jest/globals';
import type { Minted, MintPlan, MintRequest } from '@mayfly/core';
import type { Random } from '@mayfly/testkit';
import {
  bodyMutant,
  describeMinter,
  type MinterUnderTest,
  type Mutant,
  planMutant,
  type Scope,
  type Wanted,
} from '@mayfly/testkit/contracts';
import { answerOf, otherClient, startAzureCloud } from '../../test/azure.ts';
import { checkPlan } from '../check.ts';
import { createAzureMinter } from './minter.ts';

const cloud = await startAzureCloud();
afterAll(() => cloud.close());
/** Stands still: what is minted again then ends at the same time. */
const [blobRequest, queueRequest] = [cloud.request(), cloud.queue()];

type Cloud = NonNullable<MinterUnderTest['cloud']>;
type Faults = Readonly<
  Record<Parameters<Cloud['failNext']>[0], Parameters<typeof cloud.azure.faults.arm>[0]>
>;

/** What goes wrong with the one call that a mint makes; a SAS itself is signed in memory. */
const faultsOf = (action: string): Faults => ({
  refused: { action, mode: 'refuse', status: 403 },
  throttled: { action, mode: 'refuse', status: 429 },
  'not-applied': { action, mode: 'cut' },
  applied: { action, mode: 'applied_and_cut' },
  hangs: { action, mode: 'hold' },
  lies: { action, mode: 'lie_longer' },
  'lies-identity': { action, mode: 'lie_identity' },
});

interface Parts extends Pick<MinterUnderTest, 'request' | 'resource' | 'outside' | 'scope'> {
  readonly action: string;
  readonly faults: Faults;
  opens(sas: string, wanted: Wanted): boolean;
  accepts(minted: Minted): Promise<boolean>;
}

/** A minter for each claim; what it signs is judged by the stand-in, with the key that its first mint asked for. */
function subject({ action, faults, opens, accepts, ...parts }: Parts): MinterUnderTest {
  const minter = createAzureMinter(cloud.options);
  const since = cloud.azure.ledger().length;
  const { azure } = cloud;
  const given: string[] = [];
  const minted = async (plan: MintPlan) => {
    const { credential } = await minter.mint(plan, {
      now: parts.request.now,
      signal: AbortSignal.timeout(20_000),
    });
    return credential.reveal();
  };
  return {
    ...parts,
    minter: {
      ...minter,
      mint: async (plan, context) => {
        const made = await minter.mint(plan, context);
        given.push(made.credential.reveal());
        return made;
      },
    },
    check: checkPlan,
    opens: async (plan, wanted) => opens(await minted(plan), wanted),
    secrets: () => [...cloud.assertions, ...given, ...given.map((one) => one.replace(/^.*sig=/, ''))],
    reported: () => cloud.reports,
    close: () => azure.faults.clear(),
    cloud: {
      failNext: (fault) => void azure.faults.arm(faults[fault]),
      plays: ['throttled', 'lies-identity'],
      hold: () => ({ held: azure.faults.taken, release: azure.faults.arm({ action, mode: 'hold' }) }),
      accepts,
      get hanging() {
        return azure.faults.taken;
      },
      get minted() {
        const calls = azure.ledger(since).filter((one) => one.operation === action);
        return calls.map(() => ({ issuanceId: '' }));
      },
    },
  };
}

const blobs = 'https://invoices.blob.core.windows.net/reports';
const rights = ['read', 'list', 'create', 'write', 'delete'] as const;

/** A directory stands for what is below it. */
function opensBlob(url: string, { action, identifier }: Wanted): boolean {
  const [, account = '', container = '', name = ''] =
    /^https:\/\/([^.]+)\.blob\.core\.windows\.net\/([^/]+)\/(.*)$/.exec(identifier) ?? [];
  const right = rights.find((one) => one === action);
  if (right === undefined) return false;
  const below = name.endsWith('/') && right !== 'list' ? `${name}x` : name;
  return cloud.azure.opens(url.slice(url.indexOf('?') + 1), { account, container, name: below, right });
}

function blobScope(random: Random): Scope {
  const whole = random.below(2) === 0;
  const name = random.pick(['a', 'a/b', 'a/b/c', "A-1_z~!$&'()+,;=:@", 'a.b/c.d', 'aa']);
  const known = rights.filter((one) => whole || one !== 'list');
  const chosen = known.filter(() => random.below(2) === 0);
  const actions = chosen.length === 0 ? (['read'] as const) : chosen;
  const identifier = `${blobs}/${name}${whole ? '/' : ''}`;
  // Who may write may also make what is absent.
  const implied = new Set<string>([...actions, ...(chosen.includes('write') ? ['create'] : [])]);
  const beyond = rights.filter((one) => !implied.has(one));
  const parent = name.includes('/') ? `${blobs}/${name.slice(0, name.lastIndexOf('/'))}/` : `${blobs}/`;
  const elsewhere = [
    ...[
      `${blobs}/${name}x${whole ? '/' : ''}`,
      `${blobs}/x${name}`,
      `${blobs}/${name.toUpperCase()}Q`,
      parent,
    ],
    whole ? `${blobs}/${name}` : `${blobs}/${name}/`,
    identifier.replace('/reports/', '/payroll/'),
    identifier.replace('//invoices.', '//archive.'),
  ];
  return {
    request: { identifier, actions, access: whole ? 'blob.directory' : 'blob.object' },
    resource: `${blobs}/**`,
    neighbours: [
      ...elsewhere.flatMap((one) => actions.map((action): Wanted => ({ action, identifier: one }))),
      ...beyond.map((action): Wanted => ({ action, identifier })),
    ],
  };
}

const sasMutant = (name: string, change: (sas: string) => string): Mutant =>
  planMutant(name, (plan) => ({ ...plan, body: { ...plan.body, sas: change(String(plan.body['sas'])) } }));
const promises: readonly Mutant[] = [
  bodyMutant('a key of another client', { client: otherClient }),
  bodyMutant('a key of another tenant', { tenant: otherClient }),
  sasMutant('an end of its own', (sas) => sas.replace(/se=[^&]+/, 'se=2099-01-01T00%3A00%3A00Z')),
  sasMutant('no end', (sas) => sas.replace(/&se=[^&]+/, '')),
  planMutant('a promise to end within seconds', (plan) => ({
    ...plan,
    ends: { by: 'deleted', guaranteedSeconds: 5 },
  })),
  planMutant('an enforcement that Azure does not have', (plan) => ({
    ...plan,
    enforcement: { ...plan.enforcement, resource: 'broker' },
  })),
  planMutant('permissions that are not said', (plan) => ({ ...plan, nativePermissions: [] })),
];

describeMinter(
  'the Azure minter of blobs',
  () =>
    subject({
      ...{ request: blobRequest, resource: `${blobs}/2026q3/**` },
      outside: 'https://archive.blob.core.windows.net/payroll/2026q3/a.pdf',
      action: 'GetUserDelegationKey',
      faults: faultsOf('GetUserDelegationKey'),
      opens: opensBlob,
      scope: blobScope,
      accepts: async (minted) => (await answerOf(minted.credential.reveal())) === '200',
    }),
  [
    ...promises,
    sasMutant('a whole container', (sas) => sas.replace('sr=b', 'sr=c')),
    sasMutant('a directory', (sas) => sas.replace('sr=b', 'sr=d&sdd=1')),
    sasMutant('a SAS that may write', (sas) => sas.replace('sp=r', 'sp=rw')),
    sasMutant('a SAS that may change owners', (sas) => sas.replace('sp=r', 'sp=ro')),
    sasMutant('a SAS for http', (sas) => sas.replace('&spr=https', '')),
    sasMutant('a SAS without the issuance', (sas) => sas.replace(/&scid=.*/, '')),
    bodyMutant('a signature over the neighbour', { resource: '/blob/invoices/reports/2026q3/b.pdf' }),
    bodyMutant('a key of another account', { account: 'archive' }),
    bodyMutant('a URL elsewhere', { url: 'https://evil.example/reports/2026q3/a.pdf' }),
    bodyMutant('a key for a week', { keySeconds: 604_800 }),
  ],
);

const queues = 'https://finance-bus.servicebus.windows.net';

function opensQueue(connection: string, { action, identifier }: Wanted): boolean {
  const [, namespace = '', name = ''] =
    /^https:\/\/([^.]+)\.servicebus\.windows\.net\/(.*)$/.exec(identifier) ?? [];
  const token = /SharedAccessSignature=(SharedAccessSignature [^;]+)/.exec(connection)?.[1] ?? '';
  const right = action === 'send' ? 'Send' : action === 'receive' ? 'Listen' : 'Manage';
  return cloud.azure.opens(token, { queue: `${namespace}/${name}`, right });
}

function queueScope(random: Random): Scope {
  const [action, other] = random.pick<['send' | 'receive', 'send' | 'receive']>([
    ['send', 'receive'],
    ['receive', 'send'],
  ]);
  const request: Partial<MintRequest> = { identifier: `${queues}/orders`, actions: [action] };
  const elsewhere = ['refunds', 'orders/messages', 'order', ''].map((name) => `${queues}/${name}`);
  return {
    request,
    resource: `${queues}/orders`,
    neighbours: [
      ...elsewhere.map((identifier): Wanted => ({ action, identifier })),
      ...[other, 'delete' as const].map((one): Wanted => ({ action: one, identifier: `${queues}/orders` })),
    ],
  };
}

describeMinter(
  'the Azure minter of queues',
  () =>
    subject({
      ...{ request: queueRequest, resource: `${queues}/orders`, outside: `${queues}/refunds` },
      action: 'ListKeys',
      // A rule lies by more rights, its keys by another name.
      faults: { ...faultsOf('ListKeys'), lies: { action: 'GetRule', mode: 'lie_longer' } },
      opens: opensQueue,
      scope: queueScope,
      accepts: async (minted) =>
        opensQueue(minted.credential.reveal(), { action: 'send', identifier: `${queues}/orders` }),
    }),
  [
    ...promises,
    sasMutant('the whole namespace', (sas) => sas.replace('%2Forders', '')),
    sasMutant('another queue', (sas) => sas.replace('orders', 'refunds')),
    sasMutant('the rule that may receive', (sas) => sas.replace('mayfly-send', 'mayfly-listen')),
    bodyMutant('a rule with another right', { right: 'Listen' }),
    bodyMutant('another queue in the connection', { queue: 'refunds' }),
  ],
);
