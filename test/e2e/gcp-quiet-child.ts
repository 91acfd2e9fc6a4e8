import { minterLoaders } from '@mayfly/minters';
import { uuidV7 } from '@mayfly/protocol';

/** Mints one downscoped token with Google's libraries as they are, for a test that reads what they print. */
const { GCP_URL: url = '', ASSERTION: assertion = '', POOL_PROVIDER: workloadIdentityProvider } = process.env;
const endpoints = { sts: url, iamcredentials: url, storage: url };
const serviceAccounts = ['finance@acme-prod.iam.gserviceaccount.com'];
const spec = { type: 'gcp', workloadIdentityProvider, serviceAccounts, endpoints };
const provider = { name: 'local-gcp', type: 'gcp', spec };
const never = () => Promise.reject(new Error('not used'));

const minter = await minterLoaders['gcp']?.({
  federation: { sign: async () => assertion },
  deny: {
    request: never,
    acknowledge: never,
    release: never,
    due: never,
    observed: never,
    untold: never,
    told: never,
    unproven: never,
    proven: never,
  },
  provider: () => provider,
  now: () => new Date(),
  report: () => undefined,
});
const now = new Date();
const id = (fill: number) => uuidV7(now.getTime(), new Uint8Array(10).fill(fill));
const plan = minter?.plan({
  ...{ issuanceId: id(1), taskId: id(2), grantId: id(3), generation: 1, workload: 'local/reconciler' },
  ...{ holder: { actors: [], confirmation: null }, tool: 'gcs.browse', argsDigest: null, server: null },
  ...{
    identifier: 'gs://invoices/2026q3/',
    actions: ['read'],
    access: 'gcs.prefix',
    mint: {},
    provider,
    now,
  },
  notAfter: new Date((Math.floor(now.getTime() / 1000) + 60) * 1000),
});
if (plan === undefined) throw new Error('no minter');
const minted = await minter?.mint(plan, { now, signal: AbortSignal.timeout(10_000) });
console.log(`minted until ${minted?.expiresAt.toISOString()}`);
process.exit(0); // Connections that are kept alive would hold the process.
