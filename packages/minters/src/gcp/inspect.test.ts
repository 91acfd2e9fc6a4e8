import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Inspection } from '@mayfly/core';
import { account, type GcpCloud, otherAccount, poolProvider, startGcpCloud } from '../../test/gcp-cloud.ts';
import { createGcpMinter } from './minter.ts';

let cloud: GcpCloud;
beforeEach(async () => {
  cloud = await startGcpCloud();
});
afterEach(() => cloud.close());

const pool = 'projects/123456789/locations/global/workloadIdentityPools/mayfly';
const tokenCreators = [`principal://iam.googleapis.com/${pool}/subject/mayfly:mint`];

async function inspected() {
  const provider = cloud.options.provider('prod-gcp');
  if (provider === undefined) throw new TypeError('no provider');
  const found = (await createGcpMinter(cloud.options).inspect?.(provider, cloud.context())) ?? [];
  for (const secret of [...cloud.gcp.tokens(), ...cloud.assertions])
    expect(JSON.stringify(found)).not.toContain(secret);
  return found;
}

const failed = (found: readonly Inspection[]) => found.filter(({ ok }) => !ok);
const binding = (email: string) =>
  `gcloud iam service-accounts add-iam-policy-binding ${email} --project acme-prod --role projects/acme-prod/roles/mayflyMint --member principal://iam.googleapis.com/${pool}/subject/mayfly:prod-gcp:mint`;

test('a project as the docs set it up: the assertion is accepted, each account signs and gives tokens', async () => {
  expect(await inspected()).toEqual([
    { subject: 'federation', ok: true, says: 'our assertion is accepted' },
    ...[account, otherAccount].flatMap((email) => [
      { subject: `signBlob ${email}`, ok: true, says: 'allowed' },
      { subject: `generateAccessToken ${email}`, ok: true, says: 'allowed' },
    ]),
  ]);
  const made = cloud.gcp.ledger().filter(({ action }) => action === 'GenerateAccessToken');
  expect(made.map(({ sent }) => sent['lifetime'])).toEqual(['30s', '30s']);
});

test('an account that the broker may not use prints the binding for both permissions', async () => {
  cloud.gcp.createServiceAccount({ email: otherAccount, tokenCreators: [], roles: {} });
  expect(failed(await inspected())).toEqual([
    {
      subject: `signBlob ${otherAccount}`,
      ok: false,
      says: `SignBlob: 403; needs iam.serviceAccounts.signBlob: ${binding(otherAccount)}`,
    },
    {
      subject: `generateAccessToken ${otherAccount}`,
      ok: false,
      says: `GenerateAccessToken: 403; needs iam.serviceAccounts.getAccessToken: ${binding(otherAccount)}`,
    },
  ]);
});

test('an account that may use itself has too much', async () => {
  cloud.gcp.createServiceAccount({
    email: account,
    tokenCreators: [...tokenCreators, `serviceAccount:${account}`],
    roles: {},
  });
  expect(failed(await inspected())).toEqual([
    {
      subject: `itself ${account}`,
      ok: false,
      says: `too much: whoever holds its token can sign and prolong as it; gcloud iam service-accounts remove-iam-policy-binding ${account} --role ROLE --member serviceAccount:${account}`,
    },
  ]);
});

test('a pool that trusts another issuer prints its whole statement', async () => {
  cloud.gcp.createPoolProvider(poolProvider, 'http://127.0.0.1:9/other');
  const [first, ...more] = await inspected();
  expect(more).toEqual([]);
  expect(first).toMatchObject({ subject: 'federation', ok: false });
  expect(first?.says).toMatch(
    /^ExchangeToken: 400; gcloud iam workload-identity-pools providers create-oidc broker .* --issuer-uri http:\/\/127\.0\.0\.1:[0-9]+\S* .*"assertion\.sub == 'mayfly:prod-gcp:mint'" \(audience https:\/\/iam\.googleapis\.com\/projects/,
  );
});

test.each([
  ['ExchangeToken', { mode: 'refuse', status: 429 }, 'federation', 'ExchangeToken: 429; '],
  ['ExchangeToken', { mode: 'cut' }, 'federation', 'ExchangeToken: '],
  ['SignBlob', { mode: 'refuse', status: 503 }, `signBlob ${account}`, 'SignBlob: 503; '],
  [
    'SignBlob',
    { mode: 'lie_identity' },
    `signBlob ${account}`,
    'the provider answered something else than a sig',
  ],
  [
    'GenerateAccessToken',
    { mode: 'lie_longer' },
    `generateAccessToken ${account}`,
    'the provider answered a longer life than asked for; ',
  ],
] as const)('%s with %j is not taken for a yes', async (action, fault, subject, says) => {
  cloud.gcp.faults.arm({ action, ...fault });
  expect(failed(await inspected())).toEqual([{ subject, ok: false, says: expect.stringContaining(says) }]);
});

test('an account that could not be asked about itself is not said to be narrow', async () => {
  cloud.gcp.createServiceAccount({ email: otherAccount, tokenCreators: [], roles: {} });
  cloud.gcp.faults.arm({ action: 'SignBlob', mode: 'delay', ms: 1 });
  cloud.gcp.faults.arm({ action: 'SignBlob', mode: 'refuse', status: 503 });
  expect(failed(await inspected())[0]).toEqual({
    subject: `itself ${account}`,
    ok: false,
    says: 'SignBlob: 503; whether it may use itself is not known',
  });
});
