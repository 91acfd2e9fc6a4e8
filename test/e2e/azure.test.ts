import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseServiceBusConnectionString } from '@azure/service-bus';
import {
  BlobClient,
  BlobServiceClient,
  ContainerClient,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { parseId } from '@mayfly/protocol';
import { Mayfly } from '@mayfly/sdk';
import {
  type AzureStandin,
  type Azurite,
  selfSigned,
  startAzure,
  startAzurite,
  trust,
} from '@mayfly/standins';
import { tryAzure } from '../../scripts/live/azure.ts';
import { type Answer, form, startWorld, type World } from './world.ts';

/** Microsoft's Azurite and client library as judges of what a credential opens; the stand-in for what Azurite lacks. */
const certificate = selfSigned();
const at = 'https://invoices.blob.core.windows.net/reports';
const names = ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf'];
let world: World;
let azure: AzureStandin;
let azurite: Azurite;
/** The stand-in's clock runs ahead of ours by this much: what has expired there, without waiting for it. */
let aheadMs = 0;

beforeAll(async () => {
  trust(certificate);
  azure = await startAzure({ certificate, now: () => new Date(Date.now() + aheadMs) });
  azurite = await startAzurite({ account: 'invoices', certificate });
  world = await startWorld();
  await seed();
  const bearer = await world.person();
  const applied = await world.api('POST', '/v1/apply?set=azure', { bearer, yaml: documents() });
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
}, 90_000);

afterAll(async () => {
  await Promise.all([world?.stop(), azure?.close(), azurite?.close()]);
});

beforeEach(() => {
  aheadMs = 0;
});

async function seed(): Promise<void> {
  for (const queue of ['reports-done', 'payments'])
    azure.createQueue({
      ...{ subscription: 'aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e', resourceGroup: 'finance' },
      ...{ namespace: 'finance-bus', queue },
      rules: { 'mayfly-send': ['Send'], 'mayfly-listen': ['Listen'] },
    });
  azure.createAccount('invoices', { hierarchical: true });
  for (const name of names) azure.putBlob('invoices', `reports/${name}`, name);
  const { name, key } = azurite.account;
  const service = new BlobServiceClient(`${azurite.url}/${name}`, new StorageSharedKeyCredential(name, key));
  const container = service.getContainerClient('reports');
  await container.create();
  for (const one of names) await container.getBlockBlobClient(one).upload(one, one.length);
}

const example = readFileSync(new URL('../../examples/clouds/azure.yaml', import.meta.url), 'utf8');

/** The shipped example twice, with the ids and addresses of this test: where Azurite keeps the blobs, and where the stand-in does. */
function documents(): string {
  const at = (name: string, blob: string, correlationId: boolean) => {
    const client = azure.createApp({
      issuer: `${world.url}/federation`,
      subject: `mayfly:${name}:mint`,
      assignments: [
        { account: 'invoices', rights: ['delegate'] },
        { account: 'invoices', container: 'reports', rights: ['read', 'list'] },
      ],
      queues: ['finance-bus/reports-done'],
    });
    return example
      .replaceAll('prod-azure', name)
      .replace('name: blob-reconcile', `name: ${name}-reader`)
      .replace(/tenant: .*/, `tenant: ${azure.tenant}\n  correlationId: ${correlationId}`)
      .replace(/clients: .*/, `clients: [${client}]`)
      .replace(
        'spec:\n',
        `spec:\n  endpoints: { authority: "${azure.url}", management: "${azure.url}", blob: "${blob}" }\n`,
      );
  };
  return [at('azurite', azurite.url, false), at('standin', azure.url, true)].join('---\n');
}

let tasks = 0;
async function exchange(
  template: string,
  detail: Record<string, unknown> = {},
): Promise<Answer & { url: string }> {
  tasks += 1;
  const task = { template, ref: `t${tasks}`, params: { quarter: '2026q3' }, objective: 'test' };
  const asked = { tool: 'blob.read', identifier: `${at}/2026q3/a.pdf`, task, ...detail };
  const answer = await world.exchange(form(await world.workload(), asked));
  return { ...answer, url: String(answer.body.access_token) };
}

const inSdk = { template: 'standin-reader', params: { quarter: '2026q3' }, objective: 'test' };
const agent = () => new Mayfly({ server: world.url, env: {}, assertion: () => world.workload() });

/** What the unmodified client meets: the status of its answer, or of the error it throws. */
async function statusOf(run: Promise<{ readonly _response: { readonly status: number } }>): Promise<number> {
  return run.then(
    ({ _response }) => _response.status,
    (error: unknown) => Number(Reflect.get(Object(error), 'statusCode')),
  );
}
const read = (url: string) => statusOf(new BlobClient(url).download());
const query = (url: string) => url.slice(url.indexOf('?') + 1);

test('Azurite lets the unmodified client read the one blob and nothing else', async () => {
  const { status, body, url } = await exchange('azurite-reader');
  expect([status, body.issued_token_type, body.token_type]).toEqual([
    ...[200, 'urn:mayfly:token-type:azure-sas', 'N_A'],
  ]);
  const blob = new BlobClient(url);
  expect((await blob.downloadToBuffer()).toString()).toBe('2026q3/a.pdf');
  expect(await read(url.replace('a.pdf', 'b.pdf'))).toBe(403);
  expect(await statusOf(blob.getBlockBlobClient().upload('x', 1))).toBe(403);
  expect(await statusOf(blob.delete())).toBe(403);
  expect(await read(url.replace('sp=r', 'sp=rw'))).toBe(403);
  const container = new ContainerClient(`${azurite.url}/invoices/reports?${query(url)}`);
  const listing = container.listBlobsFlat().byPage().next();
  await expect(listing).rejects.toMatchObject({ statusCode: 403 });
});

test('the answer says what Azure enforces, and that nothing but time ends it', async () => {
  const { body } = await exchange('azurite-reader');
  expect(body.issuance).toMatchObject({
    ends: { by: 'expired', worst_case_seconds: expect.any(Number) },
    enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
  });
  expect(body.issuance.ends.worst_case_seconds).toBeLessThanOrEqual(60);
});

test('Azurite refuses a credential of five seconds after them', async () => {
  const { url } = await exchange('azurite-reader', { ttl: 5 });
  const ends = Date.parse(new URL(url).searchParams.get('se') ?? '');
  expect(await read(url)).toBe(200);
  let last = 200;
  // Its own clock decides; the loop ends by the deadline of the test.
  while (last === 200) last = await read(url);
  expect([last, Date.now() >= ends - 1000, Date.now() <= ends + 2000]).toEqual([403, true, true]);
});

test.each([
  ['a blob of another quarter', { identifier: `${at}/2026q4/a.pdf` }],
  ['a blob of another container', { identifier: `${at.replace('reports', 'payroll')}/2026q3/a.pdf` }],
  ['another verb', { actions: ['write'] }],
])('the broker refuses %s before Azure is asked', async (_, detail) => {
  const before = azure.ledger().length;
  const { status, body } = await exchange('azurite-reader', detail);
  expect([status, body.error]).toEqual([400, 'invalid_target']);
  expect(azure.ledger().length).toBe(before);
});

test('a directory is read and listed, its neighbour not', async () => {
  const asked = { tool: 'folder.read', identifier: `${at}/2026q3/` };
  const { status, url } = await exchange('standin-reader', asked);
  expect(status).toBe(200);
  const below = (name: string) => read(url.replace('/reports/2026q3?', `/reports/${name}?`));
  expect(await Promise.all(names.map(below))).toEqual([200, 200, 403]);
  const listed = async (prefix: string) => {
    const list = `restype=container&comp=list&prefix=${prefix}`;
    const answer = await fetch(`${azure.url}/invoices/reports?${list}&${query(url)}`);
    return [answer.status, [...(await answer.text()).matchAll(/<Name>([^<]+)/g)].map(([, name]) => name)];
  };
  expect(await listed('2026q3/')).toEqual([200, ['2026q3/a.pdf', '2026q3/b.pdf']]);
  expect((await listed('2026q4/'))[0]).toBe(403);
  const put = { method: 'PUT', body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } };
  const inside = url.replace('/reports/2026q3?', '/reports/2026q3/a.pdf?');
  expect((await fetch(inside, put)).status).toBe(403);
  aheadMs = 61_000;
  expect([await read(inside), (await listed('2026q3/'))[0]]).toEqual([403, 403]);
});

test('a queue takes a message, and neither gives one nor lets another queue be reached', async () => {
  const asked = { tool: 'queue.send', identifier: 'https://finance-bus.servicebus.windows.net/reports-done' };
  const { status, body, url: connection } = await exchange('standin-reader', asked);
  expect([status, body.issuance.ends.by]).toEqual([200, 'expired']);
  const { entityPath, sharedAccessSignature = '' } = parseServiceBusConnectionString(connection);
  expect(entityPath).toBe('reports-done');
  const call = async (method: string, path: string) => {
    const headers = { authorization: sharedAccessSignature };
    return (await fetch(`${azure.url}/servicebus/finance-bus/${path}`, { method, headers })).status;
  };
  expect(await call('POST', 'reports-done/messages')).toBe(201);
  expect(await call('DELETE', 'reports-done/messages/head')).toBe(401);
  expect(await call('POST', 'payments/messages')).toBe(401);
  aheadMs = 61_000;
  expect(await call('POST', 'reports-done/messages')).toBe(401);
  aheadMs = 0;
  const foreign = { ...asked, identifier: 'https://finance-bus.servicebus.windows.net/payments' };
  expect((await exchange('standin-reader', foreign)).body.error).toBe('invalid_target');
});

test('the sdk gives an agent the SAS, once for all who ask, and no header that would show it to a tool', async () => {
  await agent().run(inSdk, async (task) => {
    const ask = () => task.sas('blob.read', `${at}/2026q3/a.pdf`);
    const [url, again] = await Promise.all([ask(), ask()]);
    expect(again).toBe(url);
    expect((await new BlobClient(url).downloadToBuffer()).toString()).toBe('2026q3/a.pdf');
    const wrong = { reason: 'wrong_credential_kind', message: expect.stringContaining('task.sas') };
    await expect(task.headers('blob.read', `${at}/2026q3/a.pdf`)).rejects.toMatchObject(wrong);
    await expect(task.aws('blob.read', `${at}/2026q3/a.pdf`)()).rejects.toMatchObject(wrong);
  });
});

test.each([
  ['Azurite', 'azurite-reader'],
  ['the stand-in', 'standin-reader'],
])(
  'the live script finds at %s what the page of Azure claims, and tells what does not hold',
  async (_, template) => {
    const lines: string[] = [];
    const run = (allowed: string) =>
      tryAzure({
        ...{ mayfly: agent(), template, params: { quarter: '2026q3' }, tool: 'blob.read', ttl: 5 },
        ...{ allowed, neighbour: `${at}/2026q3/b.pdf`, say: (line: string) => void lines.push(line) },
      });
    expect(await run(`${at}/2026q3/a.pdf`)).toBe(true);
    expect(lines.filter((line) => line.startsWith('held'))).toHaveLength(5);
    lines.length = 0;
    expect(await run(`${at}/2026q3/absent.pdf`)).toBe(false);
    expect(lines).toContain('FAILED the blob: 404, not 200');
  },
);

test('the log of Storage joins to the issuance, and no table or file holds a key or signature', async () => {
  const { body, url } = await exchange('standin-reader');
  expect(await read(url)).toBe(200);
  const issuance = parseId('isn', body.issuance.id);
  expect(azure.ledger().at(-1)).toMatchObject({ correlationId: issuance, operation: 'GetBlob', status: 200 });
  const signature = new URL(url).searchParams.get('sig') ?? '';
  const [row] = await world.sql('select * from mayfly_issuances_v1 where id = $1', [issuance]);
  expect(row).toMatchObject({
    ...{ provider: 'standin', access: 'blob.object', native_permissions: ['r'], provider_ref: 'invoices' },
    provider_key_hash: createHash('sha256').update(signature).digest('hex'),
  });
  const stored = JSON.stringify([
    await world.sql('select body from mayfly_audit_v1'),
    await world.sql('select * from issuance'),
    readFileSync(join(world.dataDir, 'mayfly.log'), 'utf8'),
  ]);
  for (const secret of [signature, encodeURIComponent(signature)]) expect(stored).not.toContain(secret);
});

test('an ended task gives nothing more; what it gave ends by time, or with every key of the account', async () => {
  const { body, url } = await exchange('standin-reader');
  const bearer = body.task_token;
  const ended = await world.api('POST', `/v1/tasks/${body.issuance.task}/end`, {
    ...{ bearer, json: { outcome: 'completed' } },
  });
  expect(ended.body.ending).toMatchObject({ total: 1, byExpiry: 1 });
  expect(await read(url)).toBe(200);
  azure.revokeUserDelegationKeys('invoices');
  expect(await read(url)).toBe(403);
});

test('a client whose federated credential is for another provider gets nothing, and no text of Entra is shown', async () => {
  const bearer = await world.person();
  const foreign = azure.createApp({
    issuer: `${world.url}/federation`,
    subject: 'mayfly:x:mint',
    assignments: [],
  });
  const yaml = `${documents()}`.replace(/clients: \[[^\]]*\]/g, `clients: [${foreign}]`);
  expect((await world.api('POST', '/v1/apply?set=azure', { bearer, yaml })).status).toBe(200);
  const { status, body } = await exchange('standin-reader');
  expect([status, body.reason]).toEqual([503, 'provider_refused']);
  expect(JSON.stringify(body)).not.toMatch(/AADSTS|700213|mayfly:/);
  for (const id of [foreign, azure.tenant]) expect(JSON.stringify(body)).not.toContain(id);
});
