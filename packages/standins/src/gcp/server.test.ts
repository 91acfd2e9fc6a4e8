import { IAMCredentialsClient } from '@google-cloud/iam-credentials';
import { Storage } from '@google-cloud/storage';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { type AuthClient, DownscopedClient, IdentityPoolClient, OAuth2Client } from 'google-auth-library';
import { startIssuer } from '../issuer/issuer.ts';
import { startGcp } from './server.ts';

const pool = 'projects/123/locations/global/workloadIdentityPools/agents';
const provider = `${pool}/providers/broker`;
const email = 'reader@acme.iam.gserviceaccount.com';
const jwt = 'urn:ietf:params:oauth:token-type:jwt';

let offsetMs = 0;
const issuer = await startIssuer();
const stranger = await startIssuer();
const gcp = await startGcp({ now: () => new Date(Date.now() + offsetMs) });
gcp.createPoolProvider(provider, issuer.issuer);
const privateKey = gcp.createServiceAccount({
  email,
  tokenCreators: [`principal://iam.googleapis.com/${pool}/subject/broker`],
  roles: {
    ...{ data: ['roles/storage.objectUser'], shared: ['roles/storage.objectViewer'] },
    'projects/acme/topics/sent': ['roles/pubsub.publisher'],
  },
});
for (const name of ['task-1/in.txt', 'task-1/å b.txt', 'task-2/in.txt']) gcp.putObject('data', name, name);
gcp.putObject('shared', 'x', 'x');

afterAll(async () => {
  await gcp.close();
  await issuer.close();
  await stranger.close();
});
beforeEach(() => {
  offsetMs = 0;
  gcp.faults.clear();
});

interface Asking {
  readonly subject?: string;
  readonly audience?: string;
  readonly of?: typeof issuer;
  readonly pool?: string;
  readonly scope?: string;
}

/** Google's own client of workload identity federation. */
function federated({
  subject = 'broker',
  audience,
  of = issuer,
  pool: to = provider,
  scope = 'cloud-platform',
}: Asking = {}) {
  return new IdentityPoolClient({
    type: 'external_account',
    audience: `//iam.googleapis.com/${to}`,
    subject_token_type: jwt,
    token_url: `${gcp.url}/v1/token`,
    subject_token_supplier: {
      getSubjectToken: () =>
        of.assertion({ subject, audience: audience ?? `https://iam.googleapis.com/${provider}` }),
    },
    scopes: [`https://www.googleapis.com/auth/${scope}`],
  });
}

function iam(authClient: AuthClient) {
  return new IAMCredentialsClient({
    fallback: true,
    protocol: 'http',
    apiEndpoint: '127.0.0.1',
    port: Number(new URL(gcp.url).port),
    // The library brings an older google-auth-library of its own; what it uses of it is the same.
    authClient: authClient as never,
  });
}

const name = `projects/-/serviceAccounts/${email}`;
const scopeOf = (scope: string) => [`https://www.googleapis.com/auth/${scope}`];

async function accountToken(scope = 'cloud-platform', seconds = 600): Promise<string> {
  const [answer] = await iam(federated()).generateAccessToken({
    name,
    scope: scopeOf(scope),
    lifetime: { seconds },
  });
  return String(answer.accessToken);
}

function withToken(token: string): OAuth2Client {
  const client = new OAuth2Client({ eagerRefreshThresholdMillis: 1000 });
  client.setCredentials({ access_token: token, expiry_date: Date.now() + 600_000 });
  return client;
}

const rule = (expression: string | undefined, more: object = {}) => ({
  availablePermissions: ['inRole:roles/storage.objectViewer'],
  availableResource: '//storage.googleapis.com/projects/_/buckets/data',
  ...(expression === undefined ? {} : { availabilityCondition: { expression } }),
  ...more,
});
const inTask = "resource.name.startsWith('projects/_/buckets/data/objects/task-1/')";
const listsTask = "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('task-1/')";

/** Google's own downscoping client, sent here instead of to its fixed address. */
async function narrowed(token: string, rules: readonly ReturnType<typeof rule>[]): Promise<string> {
  const client = new DownscopedClient({
    authClient: withToken(token),
    credentialAccessBoundary: { accessBoundary: { accessBoundaryRules: [...rules] } },
  });
  const transporter = Reflect.get(Object(Reflect.get(client, 'stsCredential')), 'transporter');
  transporter.interceptors.request.add({
    resolved: async (options: { url: URL }) =>
      Object.assign(options, { url: new URL(`${gcp.url}/v1/token`) }),
  });
  return String((await client.getAccessToken()).token);
}

function storage(token: string): Storage {
  const authClient = withToken(token);
  return new Storage({
    apiEndpoint: gcp.url,
    useAuthWithCustomEndpoint: true,
    authClient,
    projectId: 'acme',
    retryOptions: { autoRetry: false },
  });
}

const code = (run: Promise<unknown>) =>
  run.then(
    () => 200,
    (error: unknown) => Number(Reflect.get(Object(error), 'code') ?? Reflect.get(Object(error), 'status')),
  );
const get = (token: string, object: string, bucket = 'data') =>
  code(storage(token).bucket(bucket).file(object).download());
const list = (token: string, prefix?: string) =>
  code(
    storage(token)
      .bucket('data')
      .getFiles(prefix === undefined ? {} : { prefix }),
  );
const refusedAs = (run: Promise<unknown>) =>
  run.then(
    () => 'ok',
    (error: unknown) => /invalid_\w+/.exec(String(error))?.[0] ?? String(error),
  );

test('an account’s token reads, lists, writes and deletes what its roles allow, with Google’s own library', async () => {
  const token = await accountToken();
  expect([await get(token, 'task-1/å b.txt'), await get(token, 'x', 'shared')]).toEqual([200, 200]);
  expect([await list(token), await list(token, 'task-1/')]).toEqual([200, 200]);
  const bucket = storage(token).bucket('data');
  const save = (object: string, of = bucket) => code(of.file(object).save('new å', { resumable: false }));
  expect([await save('new'), await save('new')]).toEqual([200, 200]);
  expect((await bucket.file('new').download())[0].toString('utf8')).toBe('new å');
  expect(await code(bucket.file('new').delete())).toBe(200);
  expect(await get(token, 'new')).toBe(404);
  expect(await save('y', storage(token).bucket('shared'))).toBe(403);
});

test('a scope narrows the account', async () => {
  const token = await accountToken('devstorage.read_only');
  expect(await get(token, 'task-1/in.txt')).toBe(200);
  expect(await code(storage(token).bucket('data').file('task-1/in.txt').delete())).toBe(403);
  expect(await get(await accountToken('pubsub'), 'task-1/in.txt')).toBe(403);
});

test('a boundary narrows to a prefix, for objects and for listings apart', async () => {
  const token = await narrowed(await accountToken(), [rule(inTask), rule(listsTask)]);
  expect([await get(token, 'task-1/in.txt'), await get(token, 'task-2/in.txt')]).toEqual([200, 403]);
  expect([await list(token, 'task-1/'), await list(token), await list(token, 'task-')]).toEqual([
    200, 403, 403,
  ]);
  expect(await get(token, 'x', 'shared')).toBe(403);
  const onlyObjects = await narrowed(await accountToken(), [rule(inTask)]);
  expect([await get(onlyObjects, 'task-1/in.txt'), await list(onlyObjects, 'task-1/')]).toEqual([200, 403]);
  const onlyListing = await narrowed(await accountToken(), [rule(listsTask)]);
  expect([await get(onlyListing, 'task-1/in.txt'), await list(onlyListing, 'task-1/')]).toEqual([403, 200]);
});

test('a boundary gives nothing that the account has not, and what cannot be evaluated holds nothing', async () => {
  const source = await accountToken('devstorage.read_only');
  const writer = { availablePermissions: ['inRole:roles/storage.objectUser'] };
  const token = await narrowed(source, [rule(undefined, writer)]);
  expect(await code(storage(token).bucket('data').file('task-1/in.txt').delete())).toBe(403);
  for (const expression of ['resource.nothing == "x"', 'resource.name', '1 == 2']) {
    const broken = await narrowed(source, [rule(expression)]);
    expect([expression, await get(broken, 'task-1/in.txt')]).toEqual([expression, 403]);
  }
});

test.each([
  ['a condition that is no CEL', [rule('resource.name.startsWith(')]],
  ['a condition of 2049 characters', [rule(`"${'x'.repeat(2047)}" == ""`)]],
  ['a permission instead of a role', [rule(inTask, { availablePermissions: ['storage.objects.get'] })]],
  ['a role that nobody knows', [rule(inTask, { availablePermissions: ['inRole:roles/storage.god'] })]],
])('refuses a boundary with %s', async (_, rules) => {
  expect(await refusedAs(narrowed(await accountToken(), rules))).toBe('invalid_request');
});

test('a token is narrowed once, and only an account’s', async () => {
  const once = await narrowed(await accountToken(), [rule(inTask)]);
  expect(await refusedAs(narrowed(once, [rule(inTask)]))).toBe('invalid_request');
  const { token } = await federated().getAccessToken();
  expect(await refusedAs(narrowed(String(token), [rule(inTask)]))).toBe('invalid_request');
  expect(await refusedAs(narrowed('made-up', [rule(inTask)]))).toBe('invalid_grant');
});

test('tokens end, and a narrowed one with its source', async () => {
  const source = await accountToken('cloud-platform', 60);
  const token = await narrowed(source, [rule(inTask)]);
  offsetMs = 61_000;
  expect([await get(source, 'task-1/in.txt'), await get(token, 'task-1/in.txt')]).toEqual([401, 401]);
  expect(await refusedAs(narrowed(source, [rule(inTask)]))).toBe('invalid_grant');
});

test.each([
  ['another issuer’s', { of: stranger }, 'invalid_grant'],
  ['one for another audience', { audience: 'https://sts.amazonaws.com' }, 'invalid_grant'],
  ['one for an unknown pool', { pool: `${pool}/providers/other` }, 'invalid_request'],
  ['one with a subject of 128 bytes', { subject: 'x'.repeat(128) }, 'invalid_grant'],
])('refuses an assertion: %s', async (_, asking, error) => {
  expect(await refusedAs(federated(asking).getAccessToken())).toBe(error);
});

test('refuses an assertion that has expired', async () => {
  offsetMs = 3_600_000;
  expect(await refusedAs(federated().getAccessToken())).toBe('invalid_grant');
});

test.each([
  ['another subject', { subject: 'somebody' }, {}, 403],
  ['a scope that is not for IAM', { scope: 'devstorage.read_only' }, {}, 403],
  ['a life of two hours', {}, { lifetime: { seconds: 7200 } }, 400],
  ['no scope', {}, { scope: [] }, 400],
  ['another account', {}, { name: 'projects/-/serviceAccounts/x@acme.iam.gserviceaccount.com' }, 403],
])('makes no token for %s', async (_, asking, more, status) => {
  const call = iam(federated(asking)).generateAccessToken({
    name,
    scope: scopeOf('cloud-platform'),
    ...more,
  });
  expect(await code(call)).toBe(status);
});

const signer = new Storage({
  apiEndpoint: gcp.url,
  projectId: 'acme',
  credentials: { client_email: email, private_key: privateKey },
});
const signed = async (more: object = {}) => {
  const expires = Date.now() + 60_000;
  const options = { version: 'v4', action: 'read', expires, ...more } as const;
  return (await signer.bucket('data').file('task-1/å b.txt').getSignedUrl(options))[0];
};
const fetched = async (url: string, init: RequestInit = {}) => {
  const answer = await fetch(url, init);
  return [answer.status, /<Code>(\w+)/.exec(await answer.text())?.[1]];
};

test('a URL that Google’s own library signed opens its object', async () => {
  const answer = await fetch(await signed({ queryParams: { 'x-mayfly-issuance': '01ABC' } }));
  expect([answer.status, await answer.text()]).toEqual([200, 'task-1/å b.txt']);
  expect(gcp.ledger().at(-1)).toMatchObject({
    ...{ action: 'XmlGET', principal: email, issuance: '01ABC', status: 200 },
    resource: 'gs://data/task-1/å b.txt',
  });
});

test('a signed URL that is changed, expired, or another’s, is refused', async () => {
  const url = await signed();
  const wrong = [403, 'SignatureDoesNotMatch'];
  expect(await fetched(url.replace('task-1', 'task-2'))).toEqual(wrong);
  expect(await fetched(url, { method: 'DELETE' })).toEqual(wrong);
  expect(await fetched(`${url}&x=1`)).toEqual(wrong);
  expect(await fetched(url.replace(/..$/, '00'))).toEqual(wrong);
  expect(await fetched(url.replace('reader%40', 'other%40'))).toEqual(wrong);
  expect(await fetched(url, { headers: { 'x-goog-acl': 'public-read' } })).toEqual([403, 'AccessDenied']);
  expect(await fetched(url.replace('X-Goog-Algorithm', 'X-Goog-Algo'))).toEqual([400, 'InvalidArgument']);
  offsetMs = 61_000;
  expect(await fetched(url)).toEqual([400, 'ExpiredToken']);
});

test('a signed header must be sent, with its value', async () => {
  const extensionHeaders = { 'x-goog-if-generation-match': '0' };
  const url = await signed({ action: 'write', extensionHeaders });
  expect(await fetched(url, { method: 'PUT', body: 'x' })).toEqual([403, 'SignatureDoesNotMatch']);
  expect(await fetched(url, { method: 'PUT', body: 'x', headers: extensionHeaders })).toEqual([
    412,
    'PreconditionFailed',
  ]);
});

test('a disabled account signs nothing, and what it gave out is dead until it is enabled again', async () => {
  const [token, url] = [await accountToken(), await signed()];
  gcp.setDisabled(email, true);
  expect([await get(token, 'task-1/in.txt'), (await fetched(url))[0]]).toEqual([401, 403]);
  expect(await code(iam(federated()).signBlob({ name, payload: Buffer.from('x') }))).toBe(403);
  gcp.setDisabled(email, false);
  expect([await get(token, 'task-1/in.txt'), (await fetched(url))[0]]).toEqual([200, 200]);
});

test('faults come before, after, or instead of the effect', async () => {
  const made = () =>
    gcp.ledger().filter((one) => one.action === 'GenerateAccessToken' && one.status === 200).length;
  const before = made();
  const action = 'GenerateAccessToken';
  gcp.faults.arm({ action, mode: 'refuse', status: 429, code: 'RESOURCE_EXHAUSTED' });
  expect(await code(accountToken())).toBe(429);
  gcp.faults.arm({ action, mode: 'cut' });
  expect(await code(accountToken())).not.toBe(200);
  expect(made()).toBe(before);
  gcp.faults.arm({ action, mode: 'applied_and_failed' });
  expect(await code(accountToken())).toBe(503);
  gcp.faults.arm({ action, mode: 'applied_and_cut' });
  expect(await code(accountToken())).not.toBe(200);
  expect(made()).toBe(before + 2);
});

test('the ledger holds no token, assertion or signature', async () => {
  await get(await narrowed(await accountToken(), [rule(inTask)]), 'task-1/in.txt');
  const text = JSON.stringify(gcp.ledger());
  for (const token of gcp.tokens()) expect(text).not.toContain(token);
  expect(text).not.toMatch(/eyJ|Signature=/);
});

test('a topic takes messages of a token whose account may publish there, under a scope for it', async () => {
  const call = async (token: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${token}` };
    const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const answer = await fetch(`${gcp.url}/v1/projects/acme/topics/${path}`, { headers, ...sent });
    return [answer.status, Object(await answer.json()).messageIds];
  };
  const token = await accountToken('pubsub');
  const messages = [{ data: 'eA==' }];
  expect(await call(token, 'sent:publish', { messages })).toEqual([200, ['1']]);
  expect(await call(token, 'sent:publish', { messages: [...messages, ...messages] })).toEqual([
    200,
    ['2', '3'],
  ]);
  expect(await call(token, 'sent:publish', {})).toEqual([400, undefined]);
  expect(await call(token, 'other:publish', { messages })).toEqual([403, undefined]);
  expect(await call(token, 'sent')).toEqual([403, undefined]);
  expect(await call('none', 'sent:publish', { messages })).toEqual([401, undefined]);
  expect(await call(await accountToken('devstorage.full_control'), 'sent:publish', { messages })).toEqual([
    403,
    undefined,
  ]);
});
