import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, expect, test } from '@jest/globals';
import { startWorkloadApi, type WorkloadApi, type WorkloadApiOptions } from '@mayfly/standins';
import { Unavailable } from '../errors.ts';
import { createIdentity, type Environment, type IdentityOptions } from '../identity.ts';
import { rejection } from '../testing/until.ts';
import { decodeFirstSvid, encodeSvidRequest } from './svid-messages.ts';

const audience = 'https://mayfly.example';
const dir = mkdtempSync(join(tmpdir(), 'mayfly-sources-'));
const nowhere = join(dir, 'nowhere');
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});
afterAll(() => rmSync(dir, { recursive: true }));

const identity = (env: Environment, more: Partial<IdentityOptions> = {}) =>
  createIdentity({ env, audience, projectedTokenFile: nowhere, productNameFile: nowhere, ...more });
const taken = async (env: Environment, more?: Partial<IdentityOptions>) => {
  const { token, kind, source } = await identity(env, more).subject();
  return [token.reveal(), kind, source];
};
const failure = async (env: Environment, more?: Partial<IdentityOptions>) => {
  const error = await rejection(identity(env, more).subject(), Unavailable);
  expect(error.reason).toBe('identity_unavailable');
  return error;
};

async function serve(answer: RequestListener): Promise<string> {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

async function agent(more: Partial<WorkloadApiOptions> = {}): Promise<WorkloadApi> {
  const listen = `unix://${join(dir, `${closing.length}-${Date.now()}.sock`)}`;
  const started = await startWorkloadApi({ trustDomain: 'spiffe://prod.example', listen, ...more });
  closing.push(started.close);
  return started;
}

const claimsOf = (token = '') => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

test('a platform comes in the order of the contract, after what the user names', async () => {
  const { address } = await agent();
  const projectedTokenFile = join(dir, 'projected');
  writeFileSync(projectedTokenFile, 'projected.jwt');
  const all = {
    MAYFLY_ASSERTION: 'named.assertion',
    SPIFFE_ENDPOINT_SOCKET: address,
    ACTIONS_ID_TOKEN_REQUEST_URL: 'http://127.0.0.1:1/token?api-version=2.0',
    MAYFLY_ID_TOKEN: 'gitlab.jwt',
    GCE_METADATA_HOST: '127.0.0.1:1',
  };
  const order = async (env: Environment, more: Partial<IdentityOptions> = {}) =>
    (await identity(env, more).sources()).find((one) => one.taken)?.source;
  const { MAYFLY_ASSERTION: _1, ...platforms } = all;
  const { SPIFFE_ENDPOINT_SOCKET: _2, ...forges } = platforms;
  const { ACTIONS_ID_TOKEN_REQUEST_URL: _3, ...gitlab } = forges;
  const { MAYFLY_ID_TOKEN: _4, ...google } = gitlab;
  expect([
    await order(all, { projectedTokenFile }),
    await order(platforms, { projectedTokenFile }),
    await order(forges, { projectedTokenFile }),
    await order(forges),
    await order(gitlab),
    await order(google),
  ]).toEqual([
    'MAYFLY_ASSERTION',
    'SPIFFE Workload API',
    'Kubernetes projected token',
    'GitHub job token',
    'GitLab job token',
    'Google instance identity',
  ]);
});

test.each(['unix', 'tcp'])('an agent hands out an SVID for the broker, over %s', async (how) => {
  const started = await agent(how === 'tcp' ? { listen: '127.0.0.1:0' } : {});
  const [token, kind, source] = await taken({ SPIFFE_ENDPOINT_SOCKET: started.address });
  expect([kind, source]).toEqual(['jwt', 'SPIFFE Workload API']);
  expect(claimsOf(token)).toMatchObject({ sub: 'spiffe://prod.example/caller', aud: [audience] });
  expect(started.asked).toEqual(['FetchJWTSVID']);
});

test('an agent that knows no identity, or is not there, is said so by its code', async () => {
  const { address } = await agent({ callerPath: null });
  expect((await failure({ SPIFFE_ENDPOINT_SOCKET: address })).message).toContain('code 7');
  const absent = { SPIFFE_ENDPOINT_SOCKET: `unix://${nowhere}` };
  expect((await failure(absent)).message).toMatch(/code (4|14)/);
});

test('the messages of the agent are read as protobuf has them, and not beyond', () => {
  expect(encodeSvidRequest('aud')).toEqual(Buffer.from([0x0a, 3, ...Buffer.from('aud')]));
  const long = encodeSvidRequest('x'.repeat(300));
  expect([...long.subarray(0, 3)]).toEqual([0x0a, 0xac, 0x02]);
  const field = (number: number, content: Uint8Array) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
  const svid = (token: string) =>
    field(1, Buffer.concat([field(1, Buffer.from('spiffe://a/b')), field(2, Buffer.from(token))]));
  expect(decodeFirstSvid(Buffer.concat([svid('first'), svid('second')]))).toBe('first');
  const unknown = Buffer.from([0x28, 0x96, 0x01, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0x3d, 0, 0, 0, 0]);
  expect(decodeFirstSvid(Buffer.concat([unknown, svid('after')]))).toBe('after');
  const whole = svid('token');
  for (let cut = 0; cut < whole.length; cut += 1)
    expect(decodeFirstSvid(whole.subarray(0, cut))).toBeUndefined();
  expect(decodeFirstSvid(Buffer.from([0x0b]))).toBeUndefined();
  expect(decodeFirstSvid(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))).toBeUndefined();
});

test('GitHub is asked for a token for the broker with the bearer of the job, anew each time', async () => {
  const seen: unknown[] = [];
  const host = await serve((request, response) => {
    seen.push([request.url, request.headers.authorization]);
    response.end(JSON.stringify({ count: 1, value: `github.jwt.${seen.length}` }));
  });
  const env = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://${host}/token?api-version=2.0&audience=other`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'job.bearer',
  };
  const job = identity(env);
  expect((await job.subject()).token.reveal()).toBe('github.jwt.1');
  expect((await job.assertion()).token.reveal()).toBe('github.jwt.2');
  expect(seen[0]).toEqual([
    '/token?api-version=2.0&audience=https%3A%2F%2Fmayfly.example',
    'Bearer job.bearer',
  ]);
});

test.each<[string, RequestListener, string]>([
  ['an error', (_, response) => response.writeHead(403).end('secret.answer'), 'answered 403'],
  ['a redirect', (_, response) => response.writeHead(302, { location: '/x' }).end(), 'no answer'],
  ['no JSON', (_, response) => response.end('secret.answer'), 'holds no token'],
  ['no token', (_, response) => response.end('{"count":0}'), 'holds no token'],
  ['too much', (_, response) => response.end(`{"value":"${'x'.repeat(70_000)}"}`), 'too large'],
  [
    'half an answer',
    (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{', () => response.destroy());
    },
    'broke off',
  ],
])('GitHub answering %s is a failure that quotes nothing', async (_, answer, says) => {
  const host = await serve(answer);
  const env = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://${host}/token`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'job.bearer',
  };
  const error = await failure(env);
  expect(error.message).toContain(says);
  expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(/job\.bearer|secret\.answer|\/token/);
});

test('a GitLab job has its token in a variable', async () => {
  expect(await taken({ MAYFLY_ID_TOKEN: 'gitlab.jwt' })).toEqual(['gitlab.jwt', 'jwt', 'GitLab job token']);
});

test('a machine of Google asks its metadata server for an identity for the broker', async () => {
  const seen: unknown[] = [];
  const host = await serve((request, response) => {
    seen.push([request.url, request.headers['metadata-flavor']]);
    response.writeHead(200, { 'metadata-flavor': 'Google' }).end('google.jwt\n');
  });
  expect(await taken({ GCE_METADATA_HOST: host })).toEqual(['google.jwt', 'jwt', 'Google instance identity']);
  expect(seen).toEqual([
    [
      '/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fmayfly.example&format=full',
      'Google',
    ],
  ]);
});

test('the firmware says whose machine it is, and no other machine asks anybody', async () => {
  const productNameFile = join(dir, 'product_name');
  const google = async (product: string) => {
    writeFileSync(productNameFile, product);
    const reports = await identity({}, { productNameFile }).sources();
    return reports.find(({ source }) => source === 'Google instance identity')?.taken;
  };
  expect(await google('Google Compute Engine\n')).toBe(true);
  for (const other of ['Virtual Machine\n', 'm5.large\n', 'Not Google\n', ''])
    expect(await google(other)).toBe(false);
});

test('what answers in the place of a metadata server is not believed', async () => {
  const host = await serve((_, response) => response.end('portal.jwt'));
  const error = await failure({ GCE_METADATA_HOST: host });
  expect(error.message).toContain('not that of a metadata server');
  expect(inspect(error, { depth: null, showHidden: true })).not.toContain('portal.jwt');
});
