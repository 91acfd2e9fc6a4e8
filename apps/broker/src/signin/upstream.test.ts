import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { compilePattern, Fault, type PolicySet, Refusal, type TrustedIssuer } from '@mayfly/core';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { attestorOptions } from '../attesting.ts';
import { completeConfig } from '../config.ts';
import { derive } from './derive.ts';
import { createUpstream } from './upstream.ts';

const secret = randomBytes(32);
const uid = 'interaction-1';
const dir = mkdtempSync(join(tmpdir(), 'mayfly-upstream-'));
let server: Server;
let origin: string;
let keys: Awaited<ReturnType<typeof generateKeyPair>>;
let foreign: Awaited<ReturnType<typeof generateKeyPair>>;
/** What the identity provider does next. */
let plan: {
  claims: Record<string, unknown>;
  metadata: Record<string, unknown>;
  alg: string;
  forged: boolean;
  token: { status: number; headers: Record<string, string>; body: string } | null;
};
let asked: { form: URLSearchParams; headers: IncomingHttpHeaders }[];

beforeAll(async () => {
  keys = await generateKeyPair('ES256', { extractable: true });
  foreign = await generateKeyPair('ES256', { extractable: true });
  server = createServer(async (request, response) => {
    const json = (body: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.url === '/.well-known/openid-configuration')
      return json({
        issuer: origin,
        authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`,
        jwks_uri: `${origin}/keys`,
        id_token_signing_alg_values_supported: ['ES256', 'RS256'],
        ...plan.metadata,
      });
    if (request.url === '/keys')
      return json({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }] });
    let text = '';
    for await (const chunk of request) text += String(chunk);
    asked.push({ form: new URLSearchParams(text), headers: request.headers });
    const { token } = plan;
    if (token !== null) return response.writeHead(token.status, token.headers).end(token.body);
    return json({ access_token: 'theirs', token_type: 'Bearer', id_token: await idToken() });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  origin = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(() => {
  plan = { claims: {}, metadata: {}, alg: 'ES256', forged: false, token: null };
  asked = [];
});

function idToken(): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  return new SignJWT({
    iss: origin,
    aud: 'mayfly',
    sub: 'jane@corp.example',
    groups: ['audit'],
    email: 'jane@corp.example',
    nonce: derive(secret, 'nonce', uid),
    iat,
    exp: iat + 300,
    ...plan.claims,
  })
    .setProtectedHeader({ alg: plan.alg, kid: 'k' })
    .sign(plan.forged ? foreign.privateKey : keys.privateKey);
}

function subjects(text: string) {
  const compiled = compilePattern(text);
  if ('problem' in compiled) throw new TypeError(compiled.problem);
  return [compiled];
}

const ofOidc = {
  ...({ type: 'oidc', bundleUrl: null, bundleFile: null, caFile: null } as const),
  ...({ tokenFile: null, tokenReview: null, pullRequests: 'refuse' } as const),
};

function upstream(change: Partial<TrustedIssuer> = {}, settings: Record<string, unknown> = {}) {
  const config = completeConfig({
    issuer: 'http://127.0.0.1:8080',
    allowLoopbackIssuers: [origin],
    signInIssuer: 'corp-sso',
    signInClientId: 'mayfly',
    ...settings,
  });
  const issuer: TrustedIssuer = {
    name: 'corp-sso',
    ...ofOidc,
    issuer: origin,
    audience: 'http://127.0.0.1:8080',
    jwksUri: null,
    jwksFile: null,
    algorithms: ['ES256'],
    subjects: subjects('*@corp.example'),
    claims: ['groups'],
    maxLifetimeSeconds: 3600,
    replay: 'once',
    people: true,
    events: null,
    ...change,
  };
  const issuers: PolicySet['issuers'] = new Map([[issuer.issuer, issuer]]);
  return createUpstream({
    config,
    issuerName: 'corp-sso',
    env: { SECRET: 'from-env' },
    attestors: attestorOptions(config),
    policy: async () => ({ issuers }),
    secret: () => secret,
    now: () => new Date(),
  });
}

const query = (more: Record<string, string> = {}) =>
  new URLSearchParams({ code: 'c', state: derive(secret, 'state', uid), ...more });

async function told(run: () => Promise<unknown>): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Refusal || error instanceof Fault) return `${error.reason}: ${error.detail}`;
    return error;
  }
}

test('goes out with PKCE, state and nonce, and comes back with the person as the issuer’s document keeps it', async () => {
  const one = upstream();
  const { origin: at, pathname, searchParams } = await one.begin(uid);
  expect(`${at}${pathname}`).toBe(`${origin}/authorize`);
  expect(Object.fromEntries(searchParams)).toMatchObject({
    client_id: 'mayfly',
    response_type: 'code',
    redirect_uri: 'http://127.0.0.1:8080/sign-in/callback',
    scope: 'openid',
    code_challenge_method: 'S256',
    state: derive(secret, 'state', uid),
    nonce: derive(secret, 'nonce', uid),
  });
  expect(searchParams.get('code_challenge')).not.toBe(derive(secret, 'verifier', uid));
  expect(await one.finish(uid, query())).toEqual({
    issuerName: 'corp-sso',
    iss: origin,
    subject: 'jane@corp.example',
    claims: { sub: 'jane@corp.example', groups: ['audit'] },
    issuedAt: expect.stringMatching(/^20[0-9-]+T[0-9:]+[.]000Z$/),
  });
  expect(Object.fromEntries(asked[0]?.form ?? [])).toMatchObject({
    grant_type: 'authorization_code',
    code: 'c',
    code_verifier: derive(secret, 'verifier', uid),
    redirect_uri: 'http://127.0.0.1:8080/sign-in/callback',
  });
});

test('a scope that is configured is asked for beside openid', async () => {
  const { searchParams } = await upstream({}, { signInScopes: ['groups', 'openid'] }).begin(uid);
  expect(searchParams.get('scope')).toBe('openid groups');
});

test.each([
  ['the nonce of another sign-in', { nonce: 'other' }],
  ['no nonce', { nonce: undefined }],
  ['another audience', { aud: 'other' }],
  ['another issuer', { iss: 'https://evil.example' }],
  ['an end in the past', { exp: 1_000_000_000 }],
  ['no subject', { sub: undefined }],
])('an id_token with %s signs nobody in', async (_, claims) => {
  plan.claims = claims;
  expect(await told(() => upstream().finish(uid, query()))).toMatch(
    /^sign_in_upstream_refused: identity provider: /,
  );
});

test.each([
  ['an audience beside ours', { claims: { aud: ['mayfly', 'other'], azp: 'mayfly' } }, 'aud'],
  [
    'a subject outside its namespaces',
    { claims: { sub: 'eve@evil.example' } },
    'subject outside the namespaces of its issuer',
  ],
  ['a life that is too long', { claims: { exp: Math.floor(Date.now() / 1000) + 90_000 } }, 'lifetime'],
  ['a signature of somebody else', { forged: true }, 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED'],
])('an id_token with %s is not one of the TrustedIssuer', async (_, change, detail) => {
  plan = { ...plan, ...change };
  expect(await told(() => upstream().finish(uid, query()))).toBe(`sign_in_person_refused: ${detail}`);
});

test('an algorithm that the document does not name is refused', async () => {
  expect(await told(() => upstream({ algorithms: ['RS256'] }).finish(uid, query()))).toBe(
    'sign_in_person_refused: algorithm',
  );
});

test.each([
  ['another state', { state: 'x' }],
  ['an error', { error: 'access_denied', code: '' }],
  ['another issuer’s answer', { iss: 'https://evil.example' }],
])('a callback with %s asks for no token', async (_, more) => {
  expect(await told(() => upstream().finish(uid, query(more)))).toMatch(/^sign_in_upstream_refused: /);
  expect(asked).toEqual([]);
});

test.each([
  ['an OAuth error', 400, '{"error":"invalid_grant","error_description":"<secret words>"}'],
  ['no id_token', 200, '{"access_token":"a","token_type":"Bearer"}'],
  ['something else', 200, 'hello'],
])('a token endpoint that answers %s signs nobody in, and its words go nowhere', async (_, status, body) => {
  plan.token = { status, headers: { 'content-type': 'application/json' }, body };
  const said = await told(() => upstream().finish(uid, query()));
  expect(said).toMatch(/^sign_in_upstream_refused: identity provider: /);
  expect(said).not.toMatch(/secret words|hello/);
});

test('a redirect of the token endpoint is not followed: the code goes nowhere else', async () => {
  plan.token = { status: 307, headers: { location: `${origin}/elsewhere` }, body: '' };
  expect(await told(() => upstream().finish(uid, query()))).toMatch(/^sign_in_upstream_refused: /);
  expect(asked).toHaveLength(1);
});

test.each([
  ['names another issuer', () => ({ issuer: 'https://evil.example' })],
  [
    'has a token endpoint on an address that is not allowed',
    () => ({ token_endpoint: 'http://127.0.0.1:1/token' }),
  ],
  ['sends people to plain http', () => ({ authorization_endpoint: 'http://sso.example/authorize' })],
])('an identity provider whose metadata %s is down to us', async (_, metadata) => {
  plan.metadata = metadata();
  const one = upstream();
  const said = await told(async () => {
    await one.begin(uid);
    return one.finish(uid, query());
  });
  expect(said).toMatch(/^issuer_unavailable: /);
});

test('one that is not allowed or does not answer is a fault, never a refusal', async () => {
  const settings = { allowLoopbackIssuers: [] };
  expect(await told(() => upstream({}, settings).begin(uid))).toBe(
    'issuer_unavailable: issuer: https is required',
  );
  const gone = { issuer: 'http://127.0.0.1:1' };
  const allowed = { allowLoopbackIssuers: ['http://127.0.0.1:1'] };
  expect(await told(() => upstream(gone, allowed).begin(uid))).toMatch(
    /^issuer_unavailable: issuer: ECONNREFUSED/,
  );
});

test('a client secret is read at each use, and sent as the identity provider takes it', async () => {
  const file = join(dir, 'client-secret');
  writeFileSync(file, 'first\n');
  const one = upstream({}, { signInClientSecret: { file } });
  await one.finish(uid, query());
  writeFileSync(file, 'second\n');
  await one.finish(uid, query());
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  expect(asked.map(({ headers }) => headers.authorization)).toEqual([
    basic('mayfly:first'),
    basic('mayfly:second'),
  ]);
  plan.metadata = { token_endpoint_auth_methods_supported: ['client_secret_post'] };
  await upstream({}, { signInClientSecret: { env: 'SECRET' } }).finish(uid, query());
  expect([asked[2]?.headers.authorization, asked[2]?.form.get('client_secret')]).toEqual([
    undefined,
    'from-env',
  ]);
});

test('an issuer that does not speak for people signs nobody in', async () => {
  expect(await told(() => upstream({ people: false }).begin(uid))).toBe(
    'sign_in_person_refused: the TrustedIssuer does not speak for people',
  );
});
