import { afterAll } from '@jest/globals';
import type { MintPlan } from '@mayfly/core';
import type { Random } from '@mayfly/testkit';
import { bodyMutant, describeMinter, planMutant, type Scope, type Wanted } from '@mayfly/testkit/contracts';
import { otherClient, startAzureCloud } from '../../test/azure.ts';
import { checkPlan } from '../check.ts';
import { createAzureMinter } from './minter.ts';

const cloud = await startAzureCloud();
afterAll(() => cloud.close());

const account = 'https://invoices.blob.core.windows.net';
const verbs = ['read', 'create', 'write', 'delete'] as const;
const lettersFor: Readonly<Record<string, readonly string[]>> = {
  ...{ read: ['r'], list: ['l'], write: ['w'], delete: ['d'] },
  // An absent blob is made with either.
  create: ['c', 'w'],
};
const sasOf = ({ body }: MintPlan) => String(body['sas']);

/** As Storage verifies a SAS: the name that is asked for, cut to what `sr` and `sdd` say, must be the one signed. */
function opens(plan: MintPlan, { action, identifier }: Wanted): boolean {
  const fields = new URLSearchParams(sasOf(plan));
  const [, name = '', path = ''] =
    /^https:\/\/([a-z0-9]+)\.blob\.core\.windows\.net\/(.+)$/.exec(identifier) ?? [];
  const segments = path.split('/');
  const depth = Number(fields.get('sdd')) + 1;
  const below = fields.get('sr') === 'd';
  if (below && segments.length <= depth) return false;
  const signed = `/blob/${name}/${below ? segments.slice(0, depth).join('/') : path}`;
  const letters = lettersFor[action] ?? [];
  return signed === plan.body['resource'] && letters.some((one) => fields.get('sp')?.includes(one));
}

/** One blob, and what lies beside it; a directory, and what lies above and beside that. */
function scope(random: Random): Scope {
  const [folder, name] = [random.pick(['2026q3', 'a', 'x.y']), random.pick(['a.pdf', 'b', 'c=d'])];
  const actions = verbs.filter(() => random.below(2) === 0);
  const granted = actions.length === 0 ? [random.pick(verbs)] : actions;
  const covered = granted.includes('write') ? [...granted, 'create' as const] : granted;
  const beyond = [...verbs, 'list' as const].filter((one) => !covered.some((other) => other === one));
  const directory = random.below(2) === 0;
  const identifier = `${account}/reports/${folder}/${directory ? '' : name}`;
  const inside = directory ? `${identifier}${name}` : identifier;
  const elsewhere = [
    `${account}/payroll/${folder}/${name}`,
    `${account}/reports/${folder}x/${name}`,
    `${account}/reports/${name}`,
    `https://archive.blob.core.windows.net/reports/${folder}/${name}`,
    ...(directory ? [] : [`${identifier}x`, `${identifier}/x`]),
  ];
  const access = directory ? 'blob.directory' : 'blob.object';
  return {
    request: { identifier, actions: granted, access, mint: { provider: 'prod-azure', access } },
    resource: `${account}/reports/**`,
    neighbours: [
      ...elsewhere.flatMap((one) => granted.map((action): Wanted => ({ action, identifier: one }))),
      ...beyond.map((action): Wanted => ({ action, identifier: inside })),
    ],
  };
}

const sasMutant = (name: string, change: (sas: string) => string) =>
  planMutant(name, (plan) => ({ ...plan, body: { ...plan.body, sas: change(sasOf(plan)) } }));

describeMinter('the Azure minter, by what its SAS opens', () => {
  const tokens: string[] = [];
  const minter = createAzureMinter(cloud.options);
  return {
    minter: {
      ...minter,
      mint: async (plan, context) => {
        const minted = await minter.mint(plan, context);
        tokens.push(new URL(minted.credential.reveal()).searchParams.get('sig') ?? '');
        return minted;
      },
    },
    check: checkPlan,
    request: cloud.request(),
    resource: `${account}/reports/2026q3/**`,
    outside: 'https://archive.blob.core.windows.net/payroll/2026q3/a.pdf',
    secrets: () => tokens,
    opens,
    scope,
  };
}, [
  sasMutant('a SAS that writes too', (sas) => sas.replace('sp=r', 'sp=rw')),
  sasMutant('a SAS over http', (sas) => sas.replace('spr=https', 'spr=https,http')),
  sasMutant('a SAS for the whole container', (sas) => sas.replace('sr=b', 'sr=c')),
  sasMutant('a SAS for a directory', (sas) => sas.replace('sr=b', 'sr=d&sdd=1')),
  sasMutant('a SAS of next year', (sas) => sas.replace(/se=\d{4}/, 'se=2099')),
  sasMutant('a SAS without an end', (sas) => sas.replace(/&se=[^&]+/, '')),
  sasMutant('a SAS that names no issuance', (sas) => sas.replace(/&scid=[^&]+/, '')),
  sasMutant('a SAS that starts later', (sas) => `${sas}&st=2026-01-01T00%3A00%3A00Z`),
  bodyMutant('a signature over another blob', { resource: '/blob/invoices/payroll/2026q3/a.pdf' }),
  bodyMutant('a signature over the container', { resource: '/blob/invoices/reports' }),
  bodyMutant('the URL of another blob', { url: `${account}/payroll/2026q3/a.pdf` }),
  bodyMutant('another account', { account: 'archive' }),
  bodyMutant('another client', { client: otherClient }),
  bodyMutant('a key of a week', { keySeconds: 604_800 }),
  planMutant('an end that Azure does not have', (plan) => ({
    ...plan,
    ends: { by: 'deleted', guaranteedSeconds: 5 },
  })),
]);
