import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Inspection, Provider } from '@mayfly/core';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type AzureCloud, startAzureCloud } from '../../test/azure.ts';
import { createAzureMinter } from './minter.ts';

let issuer: LocalIssuer;
let cloud: AzureCloud;
beforeAll(async () => {
  issuer = await startIssuer();
  cloud = await startAzureCloud(undefined, issuer);
});
afterAll(async () => {
  await cloud.close();
  await issuer.close();
});
afterEach(() => cloud.azure.faults.clear());

const subject = 'mayfly:prod-azure:mint';
const clients = () => [Reflect.get(cloud.provider.spec, 'clients')].flat().map(String);
const withClients = (...named: string[]): Provider => ({
  ...cloud.provider,
  spec: { ...cloud.provider.spec, clients: named },
});

async function inspected(provider = cloud.provider) {
  const found = (await createAzureMinter(cloud.options).inspect?.(provider, cloud.context())) ?? [];
  for (const secret of cloud.assertions) expect(JSON.stringify(found)).not.toContain(secret);
  return found;
}

const failed = (found: readonly Inspection[]) => found.filter(({ ok }) => !ok);

test('a tenant as the docs set it up: each client is accepted, each account gives keys', async () => {
  const both = clients().join(', ');
  expect(await inspected()).toEqual([
    ...clients().map((client) => ({
      subject: `client ${client}`,
      ok: true,
      says: 'our assertion is accepted',
    })),
    { subject: 'account invoices', ok: true, says: `gives user delegation keys to ${both}` },
    { subject: 'account archive', ok: true, says: `gives user delegation keys to ${both}` },
  ]);
});

test('a client without our federated credential prints the line that makes it, and the others are looked at', async () => {
  const [good = ''] = clients();
  const bare = cloud.azure.createApp({ issuer: issuer.issuer, subject: 'somebody:else', assignments: [] });
  const parameters = `{"name":"mayfly","issuer":"${issuer.issuer}","subject":"${subject}","audiences":["api://AzureADTokenExchange"]}`;
  const found = await inspected(withClients(good, bare));
  expect(failed(found)).toEqual([
    {
      subject: `client ${bare}`,
      ok: false,
      says: `Entra token: AuthenticationRequiredError; az ad app federated-credential create --id ${bare} --parameters '${parameters}'`,
    },
  ]);
  expect(found).toContainEqual({
    ...{ subject: 'account invoices', ok: true },
    says: `gives user delegation keys to ${good}`,
  });
});

test('where no client is accepted, no account is said to lack anything', async () => {
  const bare = cloud.azure.createApp({ issuer: issuer.issuer, subject: 'somebody:else', assignments: [] });
  expect((await inspected(withClients(bare))).map((one) => one.subject)).toEqual([`client ${bare}`]);
});

test('an account that gives nobody a key prints the role assignment', async () => {
  const assignments = [{ account: 'invoices', rights: ['read', 'delegate'] as const }];
  const narrow = cloud.azure.createApp({ issuer: issuer.issuer, subject, assignments });
  expect(failed(await inspected(withClients(narrow)))).toEqual([
    {
      subject: 'account archive',
      ok: false,
      says: `Get User Delegation Key: 403; az role assignment create --assignee ${narrow} --role "Storage Blob Delegator" --scope $(az storage account show --name archive --query id -o tsv)`,
    },
  ]);
});

test.each([
  ['Token', { mode: 'refuse', status: 503 }, 'client ', 'Entra token: '],
  ['GetUserDelegationKey', { mode: 'refuse', status: 429 }, 'account invoices', 'Key: 429; '],
  ['GetUserDelegationKey', { mode: 'cut' }, 'account invoices', 'Key: UND_ERR_SOCKET; '],
  ['GetUserDelegationKey', { mode: 'lie_longer' }, 'account invoices', 'lives longer than asked for; '],
] as const)('%s with %j is not taken for a yes', async (action, fault, about, says) => {
  const [one = ''] = clients();
  cloud.azure.faults.arm({ action, ...fault });
  const [found, ...more] = failed(await inspected(withClients(one)));
  expect(more).toEqual([]);
  expect(found?.subject).toContain(about);
  expect(found?.says).toContain(says);
});
