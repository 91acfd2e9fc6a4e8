import { createSasTokenProvider } from '@azure/core-amqp';
import { ClientAssertionCredential } from '@azure/identity';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type LocalIssuer, startIssuer } from '../issuer/issuer.ts';
import { selfSigned } from '../tls/self-signed.ts';
import { trust } from '../tls/trust.ts';
import { type AzureStandin, startAzure } from './server.ts';

const subject = 'mayfly:prod-azure:mint';
const group = {
  subscription: '3b1c4c66-5a51-4b4d-8f5c-0f1f2a3b4c5d',
  resourceGroup: 'finance',
  namespace: 'finance-bus',
};
const queues = `/subscriptions/${group.subscription}/resourceGroups/finance/providers/Microsoft.ServiceBus/namespaces/finance-bus/queues`;
let issuer: LocalIssuer;
let azure: AzureStandin;
let offsetMs = 0;

beforeAll(async () => {
  const certificate = selfSigned();
  trust(certificate);
  issuer = await startIssuer();
  azure = await startAzure({ certificate, now: () => new Date(Date.now() + offsetMs) });
  for (const queue of ['orders', 'refunds'])
    azure.createQueue({ ...group, queue, rules: { send: ['Send'], listen: ['Listen'] } });
});
afterAll(async () => {
  await Promise.all([azure.close(), issuer.close()]);
});

async function tokenOf(queuesOfApp: readonly string[], scope = 'https://management.azure.com/.default') {
  const client = azure.createApp({ issuer: issuer.issuer, subject, assignments: [], queues: queuesOfApp });
  const sign = () => issuer.assertion({ subject, audience: 'api://AzureADTokenExchange', alg: 'RS256' });
  const options = { authorityHost: azure.url, disableInstanceDiscovery: true };
  return (await new ClientAssertionCredential(azure.tenant, client, sign, options).getToken(scope)).token;
}

async function manage(token: string, path: string, method = 'POST') {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${azure.url}${queues}/${path}?api-version=2024-01-01`, { method, headers });
  return { status: answer.status, body: answer.status === 200 ? await answer.json() : undefined };
}
async function keyOf(rule: string, queue = 'orders'): Promise<string> {
  const { body } = await manage(
    await tokenOf([`finance-bus/${queue}`]),
    `${queue}/authorizationRules/${rule}/listKeys`,
  );
  return String(Reflect.get(Object(body), 'primaryKey'));
}

/** As Microsoft's own library signs: for an hour. */
async function sas(rule: string, { queue = 'orders', key = '' } = {}): Promise<string> {
  const sharedAccessKey = key === '' ? await keyOf(rule) : key;
  const provider = createSasTokenProvider({ sharedAccessKeyName: rule, sharedAccessKey });
  return (await provider.getToken(`https://finance-bus.servicebus.windows.net/${queue}`)).token;
}
async function call(authorization: string, what: 'send' | 'receive', queue = 'orders'): Promise<number> {
  const url = `${azure.url}/servicebus/finance-bus/${queue}/messages${what === 'send' ? '' : '/head'}`;
  const headers = { authorization };
  const init = what === 'send' ? { method: 'POST', headers, body: 'x' } : { method: 'DELETE', headers };
  return (await fetch(url, init)).status;
}

test('a SAS of Microsoft’s own library sends, and one of the other rule receives', async () => {
  const [send, listen] = [await sas('send'), await sas('listen')];
  expect(await call(listen, 'receive')).toBe(204);
  expect(await call(send, 'send')).toBe(201);
  expect(await call(listen, 'receive')).toBe(200);
  expect([await call(send, 'receive'), await call(listen, 'send')]).toEqual([401, 401]);
});

test('a SAS opens no other queue, ends in time, and is dead when the key is renewed', async () => {
  const send = await sas('send');
  expect(await call(send, 'send', 'refunds')).toBe(401);
  expect(await call(await sas('send', { queue: 'refunds' }), 'send')).toBe(401);
  for (const changed of [
    send.replace('orders', 'refunds'),
    send.replace(/se=1/, 'se=2'),
    send.replace('skn=send', 'skn=listen'),
    `${send}&se=9999999999`,
    send.replace(/sig=..../, 'sig=AAAA'),
    'Bearer x',
    '',
  ])
    expect([changed, await call(changed, 'send')]).toEqual([changed, 401]);
  offsetMs = 3_601_000;
  expect(await call(send, 'send')).toBe(401);
  offsetMs = 0;
  expect(await call(send, 'send')).toBe(201);
  azure.renewRuleKey('finance-bus/orders', 'send');
  expect(await call(send, 'send')).toBe(401);
});

test('rules and keys are for whoever has the right on that queue, with a token for Resource Manager', async () => {
  const token = await tokenOf(['finance-bus/orders']);
  expect(await manage(token, 'orders/authorizationRules/send', 'GET')).toMatchObject({
    ...{ status: 200, body: { name: 'send', properties: { rights: ['Send'] } } },
  });
  expect((await manage(token, 'refunds/authorizationRules/send/listKeys')).status).toBe(403);
  expect((await manage(token, 'orders/authorizationRules/root/listKeys')).status).toBe(404);
  expect((await manage(token, 'orders/authorizationRules/send/listKeys', 'GET')).status).toBe(405);
  const forStorage = await tokenOf(['finance-bus/orders'], 'https://storage.azure.com/.default');
  expect((await manage(forStorage, 'orders/authorizationRules/send/listKeys')).status).toBe(401);
});
