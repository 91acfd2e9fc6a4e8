import { createServer } from 'node:http';
import { afterAll, expect, test } from '@jest/globals';
import { DownscopedClient, IdentityPoolClient, OAuth2Client } from 'google-auth-library';
import { downscopingForm, exchangeToken, federationForm } from './sts.ts';

/** Answers what it is told to, and keeps what it was sent. */
const bodies: string[] = [];
let reply: { status: number; body: string } = { status: 200, body: '' };
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  bodies.push(Buffer.concat(chunks).toString('utf8'));
  response.writeHead(reply.status, { 'content-type': 'application/json' }).end(reply.body);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = server.address();
const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const token = { access_token: 'tok', token_type: 'Bearer', expires_in: 60 };
const { signal } = new AbortController();
const ours = async (form: URLSearchParams) => {
  bodies.length = 0;
  reply = { status: 200, body: JSON.stringify(token) };
  await exchangeToken(url, form, { signal });
  return bodies;
};

test('an assertion is exchanged byte for byte as google-auth-library does', async () => {
  const audience = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q';
  const scope = 'https://www.googleapis.com/auth/iam';
  const assertion = 'eyJhbGciOiJub25lIn0.a+b/c=.%é';
  const sent = [...(await ours(federationForm({ audience, scope, assertion })))];
  bodies.length = 0;
  const library = new IdentityPoolClient({
    type: 'external_account',
    audience,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${url}/v1/token`,
    subject_token_supplier: { getSubjectToken: async () => assertion },
    scopes: [scope],
  });
  await library.getAccessToken();
  expect(sent).toHaveLength(1);
  expect(sent).toEqual(bodies);
});

test('a boundary is sent byte for byte as google-auth-library does', async () => {
  const rule = {
    availablePermissions: ['inRole:roles/storage.objectViewer'],
    availableResource: '//storage.googleapis.com/projects/_/buckets/invoices',
    availabilityCondition: {
      expression: "resource.name.startsWith('projects/_/buckets/b/objects/50%25 å/')",
    },
  };
  const boundary = { accessBoundary: { accessBoundaryRules: [rule] } };
  const form = downscopingForm({ accessToken: 'source', options: JSON.stringify(boundary) });
  const sent = [...(await ours(form))];
  bodies.length = 0;
  const source = new OAuth2Client();
  source.setCredentials({ access_token: 'source', expiry_date: Date.now() + 3_600_000 });
  const library = new DownscopedClient({ authClient: source, credentialAccessBoundary: boundary });
  // It has no option for the address; nothing else of it is touched.
  const transporter = Reflect.get(Object(Reflect.get(library, 'stsCredential')), 'transporter');
  transporter.interceptors.request.add({
    resolved: async (options: { url: URL }) => Object.assign(options, { url: new URL(`${url}/v1/token`) }),
  });
  await library.getAccessToken();
  expect(sent).toHaveLength(1);
  expect(sent).toEqual(bodies);
});

const form = downscopingForm({ accessToken: 'source-secret', options: '{}' });
const fault = async () => {
  const error: unknown = await exchangeToken(url, form, { signal }).catch((thrown: unknown) => thrown);
  const { reason, effect, detail, cause } = Object(error);
  return { text: `${reason} (${effect}): ${detail}`, cause };
};

test.each([
  [
    400,
    '{"error":"invalid_grant","error_description":"source-secret"}',
    'provider_refused (none): ExchangeToken: 400',
  ],
  [404, '', 'provider_refused (none): ExchangeToken: 404'],
  [429, '', 'provider_unavailable (none): ExchangeToken: 429'],
  [500, '', 'provider_unavailable (unknown): ExchangeToken: 500'],
  [302, '', 'provider_unavailable (unknown): ExchangeToken: TypeError'],
  [200, '', 'provider_refused (unknown): the provider answered something else than a token'],
  [200, '[]', 'provider_refused (unknown): the provider answered something else than a token'],
  [
    200,
    '{"access_token":""}',
    'provider_refused (unknown): the provider answered something else than a token',
  ],
  [
    200,
    JSON.stringify({ ...token, token_type: 'mac' }),
    'provider_refused (unknown): the provider answered something else than a token',
  ],
  [
    200,
    JSON.stringify({ ...token, expires_in: '60' }),
    'provider_refused (unknown): the provider answered something else than a token',
  ],
  [200, ' '.repeat(140_000), 'provider_unavailable (unknown): ExchangeToken: RangeError'],
])('an answer of %i %s is a Fault that repeats nothing of it, after one try', async (status, body, text) => {
  reply = { status, body };
  bodies.length = 0;
  expect(await fault()).toEqual({ text, cause: undefined });
  expect(bodies).toHaveLength(1);
});
