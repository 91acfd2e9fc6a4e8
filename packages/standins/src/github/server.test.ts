import {
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { type GithubStandin, startGithub } from './server.ts';

let offsetMs = 0;
const now = () => new Date(Date.now() + offsetMs);
let github: GithubStandin;
let key: KeyObject;
beforeAll(async () => {
  github = await startGithub({ now });
  const seed = { appId: '1', installationId: '2', owner: 'acme', repositories: ['webshop', 'billing'] };
  key = createPrivateKey(
    github.createInstallation({ ...seed, permissions: { contents: 'write', issues: 'read' } }),
  );
});
afterAll(() => github.close());

interface Said {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of any path; each test asserts what it reads
  readonly body: any;
}

async function ask(method: string, path: string, bearer: string, json?: unknown): Promise<Said> {
  const headers = { authorization: `Bearer ${bearer}` };
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  const answer = await fetch(`${github.url}${path}`, { method, headers, ...body });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
}
interface Shape {
  readonly iss?: string;
  readonly iat?: number;
  readonly exp?: number;
  readonly alg?: string;
  readonly by?: KeyObject;
}
function app({ iss = '1', iat = -10, exp = 60, alg = 'RS256', by = key }: Shape = {}): Promise<string> {
  const seconds = Math.floor(now().getTime() / 1000);
  return new SignJWT({ iss, iat: seconds + iat, exp: seconds + exp }).setProtectedHeader({ alg }).sign(by);
}
const create = async (json?: unknown, shape?: Shape, id = '2') =>
  ask('POST', `/app/installations/${id}/access_tokens`, await app(shape), json);
const one = { repositories: ['webshop'], permissions: { contents: 'read' } };
const read = (token: string, path = 'acme/webshop') => ask('GET', `/repos/${path}/contents/README.md`, token);
const write = (token: string) =>
  ask('PUT', '/repos/acme/webshop/contents/README.md', token, { content: 'eA==', message: 'x' });

test('a token is for what was asked, lives an hour, and deletes itself', async () => {
  const { status, body } = await create(one);
  expect(status).toBe(201);
  expect(body).toMatchObject({
    permissions: { contents: 'read', metadata: 'read' },
    repository_selection: 'selected',
    repositories: [{ full_name: 'acme/webshop' }],
  });
  expect(Date.parse(body.expires_at) - now().getTime()).toBeGreaterThan(3_598_000);
  expect([(await read(body.token)).status, (await read(body.token, 'acme/billing')).status]).toEqual([
    200, 404,
  ]);
  expect((await write(body.token)).status).toBe(403);
  expect((await ask('DELETE', '/installation/token', body.token)).status).toBe(204);
  expect((await read(body.token)).status).toBe(401);
  expect((await ask('DELETE', '/installation/token', body.token)).status).toBe(401);
});

test('who names nothing gets everything that the App has', async () => {
  const { body } = await create();
  expect(body).toMatchObject({
    repository_selection: 'all',
    permissions: { contents: 'write', issues: 'read' },
  });
  expect((await write(body.token)).status).toBe(201);
  expect((await read(body.token, 'acme/billing')).status).toBe(200);
});

test('a token ends after its hour', async () => {
  const { body } = await create(one);
  offsetMs += 3_601_000;
  expect((await read(body.token)).status).toBe(401);
});

test.each([
  ['a repository that is not installed', { ...one, repositories: ['payroll'] }, 422],
  ['one of two that is not', { ...one, repositories: ['webshop', 'payroll'] }, 422],
  ['repositories that are no list', { ...one, repositories: 'webshop' }, 422],
  ['a permission that the App lacks', { ...one, permissions: { administration: 'read' } }, 422],
  ['more of a permission than it has', { ...one, permissions: { issues: 'write' } }, 422],
])('gives no token for %s', async (_, json, status) => {
  expect((await create(json)).status).toBe(status);
});

const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
test.each<[string, Shape, string]>([
  ['another App', { iss: '3' }, '2'],
  ['another key', { by: other }, '2'],
  ['another algorithm', { alg: 'PS256' }, '2'],
  ['a shared secret', { alg: 'HS256', by: createSecretKey(randomBytes(32)) }, '2'],
  ['more than ten minutes', { exp: 600 }, '2'],
  ['the past', { iat: -700, exp: -100 }, '2'],
  ['the future', { iat: 30 }, '2'],
  ['an installation that is not there', {}, '9'],
])('gives no token for an assertion of %s', async (_, shape, id) => {
  expect((await create(one, shape, id)).status).toBe(401);
});

test('a suspended installation gives none, and those out are refused', async () => {
  const seed = {
    appId: '1',
    owner: 'acme',
    repositories: ['webshop'],
    permissions: { contents: 'read' } as const,
  };
  const by = createPrivateKey(github.createInstallation({ ...seed, installationId: '5' }));
  const { token } = (await create(one, { by }, '5')).body;
  expect((await read(token)).status).toBe(200);
  github.suspend('5');
  expect([(await read(token)).status, (await create(one, { by }, '5')).status]).toEqual([401, 403]);
});

test('the audit log joins by the hash of the token and holds none', async () => {
  const { token } = (await create(one)).body;
  await read(token);
  const [made, used] = github.ledger().slice(-2);
  expect([made?.action, used?.action, used?.repository]).toEqual([
    'create token',
    'read contents',
    'acme/webshop',
  ]);
  expect(made?.hashedToken).toBe(used?.hashedToken);
  expect(JSON.stringify(github.ledger())).not.toContain(token);
});

test('pull requests and issues ask for a permission of their own, and a title', async () => {
  const permissions = { contents: 'write', pull_requests: 'write', issues: 'read' } as const;
  const seed = { appId: '1', installationId: '6', owner: 'acme', repositories: ['webshop', 'billing'] };
  const by = createPrivateKey(github.createInstallation({ ...seed, permissions }));
  const given = async (json: object) => (await create(json, { by }, '6')).body.token;
  const pulls = await given({ ...one, permissions: { pull_requests: 'write' } });
  const issues = await given({ ...one, permissions: { issues: 'read' } });
  const at = (part: string, name = 'webshop') => `/repos/acme/${name}/${part}`;
  const open = (token: string, part: string, json: object = { title: 'x' }) =>
    ask('POST', at(part), token, json);
  expect((await open(pulls, 'pulls')).status).toBe(201);
  expect(await ask('GET', at('pulls'), pulls)).toEqual({ status: 200, body: [{ number: 1, title: 'x' }] });
  expect((await open(pulls, 'pulls', {})).status).toBe(422);
  expect((await ask('GET', at('pulls', 'billing'), pulls)).status).toBe(404);
  expect([(await ask('GET', at('issues'), pulls)).status, (await read(pulls)).status]).toEqual([403, 403]);
  expect(await ask('GET', at('issues'), issues)).toEqual({ status: 200, body: [] });
  expect((await open(issues, 'issues')).status).toBe(403);
  expect((await ask('PUT', at('pulls'), pulls, { title: 'x' })).status).toBe(404);
});

test('an installation is seen by its own App, and by no other key', async () => {
  const look = async (shape?: Shape) => ask('GET', '/app/installations/2', await app(shape));
  expect(await look()).toMatchObject({
    status: 200,
    body: {
      account: { login: 'acme' },
      permissions: { contents: 'write', issues: 'read', metadata: 'read' },
      repository_selection: 'selected',
    },
  });
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  expect((await look({ by: privateKey })).status).toBe(401);
  expect((await look({ iss: '9' })).status).toBe(401);
});
