import { createHash } from 'node:crypto';
import { createSasTokenProvider } from '@azure/core-amqp';
import { parseServiceBusConnectionString } from '@azure/service-bus';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type Minter, type MintRequest, Secret } from '@mayfly/core';
import { type AzureCloud, serviceBus, startAzureCloud } from '../../test/azure.ts';
import { outcome } from '../../test/cloud.ts';
import { createAzureMinter } from './minter.ts';
import { signQueueSas } from './sas.ts';

let cloud: AzureCloud;
let minter: Minter;

beforeAll(async () => {
  cloud = await startAzureCloud();
  minter = createAzureMinter(cloud.options);
});
afterAll(() => cloud.close());
afterEach(() => cloud.azure.faults.clear());

const fresh = () => createAzureMinter(cloud.options);
const mint = (of: Minter, request: MintRequest = cloud.queue()) =>
  outcome(() => of.mint(of.plan(request), cloud.context()));
const tokenOf = (connection: string) =>
  parseServiceBusConnectionString(connection).sharedAccessSignature ?? '';

const fieldsOf = (token: string) => new URLSearchParams(token.replace('SharedAccessSignature ', ''));

async function call(connection: string, what: 'send' | 'receive', queue = 'orders'): Promise<number> {
  const headers = { authorization: tokenOf(connection) };
  const url = `${cloud.azure.url}/servicebus/finance-bus/${queue}/messages${what === 'send' ? '' : '/head'}`;
  const init = what === 'send' ? { method: 'POST', headers, body: 'x' } : { method: 'DELETE', headers };
  return (await fetch(url, init)).status;
}

test('the credential is a connection string of Microsoft’s own form for one queue', async () => {
  const connection = await cloud.url(minter, cloud.queue());
  expect(parseServiceBusConnectionString(connection)).toMatchObject({
    ...{ fullyQualifiedNamespace: 'finance-bus.servicebus.windows.net', entityPath: 'orders' },
    sharedAccessSignature: expect.stringMatching(/^SharedAccessSignature sr=https%3A/),
  });
  expect(connection).not.toMatch(/SharedAccessKey/);
});

test('it sends to the one queue, and neither receives nor reaches another', async () => {
  const [send, receive] = [
    await cloud.url(minter, cloud.queue()),
    await cloud.url(minter, cloud.queue({ actions: ['receive'] })),
  ];
  expect([await call(send, 'send'), await call(receive, 'receive')]).toEqual([201, 200]);
  expect([await call(send, 'receive'), await call(receive, 'send')]).toEqual([401, 401]);
  expect([await call(send, 'send', 'refunds'), await call(receive, 'receive', 'refunds')]).toEqual([
    401, 401,
  ]);
});

test('it signs as Microsoft’s own library does', async () => {
  const sharedAccessKey = 'a-key-of-nobody-that-is-long-enough';
  const resource = 'https://finance-bus.servicebus.windows.net/orders';
  const library = createSasTokenProvider({ sharedAccessKeyName: 'mayfly-send', sharedAccessKey });
  const theirs = fieldsOf((await library.getToken(resource)).token);
  // Theirs lives for an hour from their own clock: the plan's text with that end is signed.
  const { sas } = minter.plan(cloud.queue()).body;
  const { token, signature } = signQueueSas(
    String(sas).replace(/se=\d+/, `se=${theirs.get('se')}`),
    new Secret(sharedAccessKey),
  );
  expect([...fieldsOf(token)].sort()).toEqual([...theirs].sort());
  expect(signature).toBe(theirs.get('sig'));
});

test('our log holds the digest of the signature, and the end is that of the plan', async () => {
  const plan = minter.plan(cloud.queue());
  const minted = await minter.mint(plan, cloud.context());
  const fields = fieldsOf(tokenOf(minted.credential.reveal()));
  expect(Number(fields.get('se')) * 1000).toBe(Date.parse(plan.notAfter));
  const digest = createHash('sha256').update(fields.get('sig') ?? '');
  expect(minted.keyHash).toBe(digest.digest('hex'));
});

test('it is dead after its seconds, and with every SAS of its rule once the key is renewed', async () => {
  const late = await startAzureCloud(cloud.azure.certificate);
  try {
    const own = createAzureMinter(late.options);
    const at = async (connection: string) => {
      const headers = { authorization: tokenOf(connection) };
      const url = `${late.azure.url}/servicebus/finance-bus/orders/messages`;
      return (await fetch(url, { method: 'POST', headers, body: 'x' })).status;
    };
    const first = await late.url(own, late.queue());
    expect(await at(first)).toBe(201);
    late.advance(61);
    expect(await at(first)).toBe(401);
    const second = await late.url(own, late.queue());
    expect(await at(second)).toBe(201);
    late.azure.renewRuleKey('finance-bus/orders', 'mayfly-send');
    expect(await at(second)).toBe(401);
    // A renewed key is noticed within five minutes.
    late.advance(300);
    expect(await at(await late.url(own, late.queue()))).toBe(201);
  } finally {
    await late.close();
  }
});

test('the key of a rule is read once for all who wait, and each rule has its own', async () => {
  const own = fresh();
  const calls = cloud.calls('ListKeys');
  await Promise.all(Array.from({ length: 10 }, () => cloud.url(own, cloud.queue())));
  expect(cloud.calls('ListKeys') - calls).toBe(1);
  await cloud.url(own, cloud.queue({ actions: ['receive'] }));
  expect(cloud.calls('ListKeys') - calls).toBe(2);
});

test.each([
  [
    'with more rights',
    { rules: { send: 'mayfly-both' } },
    'provider_refused (unknown): the provider answered a rule with other rights',
  ],
  ['that does not exist', { rules: { send: 'mayfly-gone' } }, 'provider_refused (none): Get a rule: 404'],
])('a rule %s signs nothing, and its key is not asked for', async (_, more, expected) => {
  const provider = {
    ...cloud.provider,
    spec: { ...cloud.provider.spec, serviceBus: { ...serviceBus, ...more } },
  };
  const own = createAzureMinter({ ...cloud.options, provider: () => provider });
  const calls = cloud.calls('ListKeys');
  expect(await mint(own, cloud.queue({ provider }))).toBe(expected);
  expect(cloud.calls('ListKeys')).toBe(calls);
});

test('a queue whose keys the client may not read gets nothing', async () => {
  const identifier = 'https://finance-bus.servicebus.windows.net/refunds';
  expect(await mint(fresh(), cloud.queue({ identifier }))).toBe('provider_refused (none): Get a rule: 403');
});

test.each([
  ['lie_identity', 'the key of another rule'],
  ['cut', undefined],
  ['refuse', undefined],
] as const)('keys that are answered with a %s are not used, and the next ones work', async (mode, lie) => {
  const own = fresh();
  cloud.azure.faults.arm({ action: 'ListKeys', mode });
  const told = await mint(own);
  if (lie === undefined) expect(told).toMatch(/^provider_unavailable \(unknown\): List Keys of a rule: /);
  else expect(told).toBe(`provider_refused (unknown): the provider answered ${lie}`);
  expect(await mint(own)).toBe('ok');
});

test('neither key nor signature is in plan, fault or print', async () => {
  const plan = minter.plan(cloud.queue());
  const minted = await minter.mint(plan, cloud.context());
  const signature = /sig=([^;&]+)/.exec(minted.credential.reveal())?.[1] ?? '';
  expect(signature.length).toBeGreaterThan(40);
  for (const text of [JSON.stringify(plan), JSON.stringify(minted), String(minted.credential)])
    expect(text).not.toContain(signature);
});
