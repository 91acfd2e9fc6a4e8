import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openBrowser } from './browser.ts';
import {
  approve,
  authorizeUrl,
  codeFlow,
  deviceGrant,
  poll,
  post,
  redeem,
  redirectUri,
  startDevice,
} from './sign-in.ts';
import { startWorld, type World } from './world.ts';

let world: World;
let off: World;

beforeAll(async () => {
  const settings = { signInRedirectUris: [redirectUri], signInPollInterval: '1s' };
  world = await startWorld({ settings });
  off = await startWorld({ settings: { signInIssuer: undefined, signInClientId: undefined } });
}, 60_000);

afterAll(async () => {
  await off.stop();
  await world.stop();
});

const flow = { verifier: 'v'.repeat(43), state: 's', nonce: 'n' };
const form = 'application/x-www-form-urlencoded';
const wellKnown = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration'];

/** What the broker says to these very bytes. */
function raw(text: string): Promise<string> {
  const { hostname, port } = new URL(world.url);
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk;
    });
    socket.once('close', () => resolve(answer));
    socket.once('error', reject);
  });
}

test.each(wellKnown)('%s lists what is served, with our exchange', async (path) => {
  const { body } = await world.api('GET', path);
  expect(body).toMatchObject({
    issuer: world.url,
    token_endpoint: `${world.url}/token`,
    authorization_endpoint: `${world.url}/authorize`,
    device_authorization_endpoint: `${world.url}/device_authorization`,
    revocation_endpoint: `${world.url}/revoke`,
    grant_types_supported: [
      'urn:ietf:params:oauth:grant-type:token-exchange',
      'urn:ietf:params:oauth:grant-type:deferred',
      deviceGrant,
      'authorization_code',
    ],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    code_challenge_methods_supported: ['S256'],
    id_token_signing_alg_values_supported: ['RS256'],
    scopes_supported: ['openid'],
  });
  expect(JSON.stringify(body)).not.toMatch(
    /implicit|refresh|password|hybrid|registration|userinfo|pushed|end_session/,
  );
});

test('every endpoint that is listed answers', async () => {
  const { body } = await world.api('GET', '/.well-known/openid-configuration');
  for (const [name, url] of Object.entries<string>(body)) {
    if (!name.endsWith('_endpoint')) continue;
    const answer = await fetch(url, { method: name === 'authorization_endpoint' ? 'GET' : 'POST' });
    expect([name, answer.status === 404]).toEqual([name, false]);
  }
});

test('no path of sign-in fails without its cookies, or with those of nobody', async () => {
  const forged = ['session', 'sign_in', 'resume'].map((name) => `mayfly_${name}=x; mayfly_${name}.sig=y`);
  for (const cookie of ['', forged.join('; ')])
    for (const [method, path] of [
      ['GET', '/device'],
      ['POST', '/device'],
      ['GET', '/device/x'],
      ['GET', '/authorize'],
      ['GET', '/authorize/x'],
      ['GET', '/sign-in'],
      ['GET', '/sign-in/continue'],
      ['GET', '/sign-in/callback?state=x&code=y'],
      ['GET', '/sign-in/cancel'],
    ] as const) {
      const body = method === 'POST' ? { body: new URLSearchParams({ xsrf: 'x', user_code: 'y' }) } : {};
      const answer = await fetch(`${world.url}${path}`, { method, headers: { cookie }, ...body });
      expect([method, path, answer.status < 500]).toEqual([method, path, true]);
    }
  const metrics = await (await fetch(`${world.running.opsUrl}/metrics`)).text();
  expect(metrics).not.toContain('mayfly_alarms_total{kind="internal"}');
});

test('while sign-in is off none of it exists', async () => {
  for (const path of [
    '/authorize',
    '/authorize/x',
    '/device',
    '/device/x',
    '/device_authorization',
    '/sign-in',
    '/sign-in/continue',
    '/sign-in/callback',
    '/sign-in/cancel',
  ])
    for (const method of ['GET', 'POST'])
      expect([path, (await off.api(method, path)).status]).toEqual([path, 404]);
  const { body } = await off.api('GET', '/.well-known/oauth-authorization-server');
  expect(body.grant_types_supported).toEqual([
    'urn:ietf:params:oauth:grant-type:token-exchange',
    'urn:ietf:params:oauth:grant-type:deferred',
  ]);
  expect(JSON.stringify(body)).not.toMatch(/authorize|device|openid"/);
  const refused = await post(off, '/token', { grant_type: 'authorization_code', code: 'x' });
  expect([refused.status, refused.body.error]).toEqual([400, 'unsupported_grant_type']);
  expect((await off.api('GET', '/v1/whoami', { bearer: 'x'.repeat(43) })).status).toBe(401);
  const own = (await off.api('GET', '/jwks')).body.keys.map(({ alg }: { alg: string }) => alg);
  expect(own.sort()).toEqual(['ES256', 'RS256']);
});

test.each([
  'password',
  'client_credentials',
  'refresh_token',
  'implicit',
  'none',
  'urn:openid:params:grant-type:ciba',
])('there is no grant type %s', async (grantType) => {
  const { status, body } = await post(world, '/token', { grant_type: grantType, client_id: 'mayfly-cli' });
  expect([status, body.error, body.reason]).toEqual([
    400,
    'unsupported_grant_type',
    'unsupported_grant_type',
  ]);
});

test.each([
  '/auth',
  '/me',
  '/reg',
  '/request',
  '/session/end',
  '/session/end/confirm',
  '/token/introspection',
  '/token/revocation',
  '/device/auth/x',
])('the provider’s own %s is not reachable', async (path) => {
  for (const method of ['GET', 'POST', 'OPTIONS']) expect((await world.api(method, path)).status).toBe(404);
});

test.each([
  [
    'two grant types',
    'grant_type=authorization_code&grant_type=authorization_code',
    400,
    'repeated_parameter',
  ],
  [
    'two grant types of two owners',
    `grant_type=authorization_code&grant_type=${encodeURIComponent('urn:ietf:params:oauth:grant-type:token-exchange')}`,
    400,
    'repeated_parameter',
  ],
  ['a parameter twice', 'grant_type=authorization_code&code=a&code=b', 400, 'repeated_parameter'],
  ['two resources', 'grant_type=authorization_code&resource=a&resource=b', 400, 'sign_in_request_invalid'],
  ['no code', 'grant_type=authorization_code&client_id=mayfly-console', 400, 'sign_in_request_invalid'],
  [
    'an empty code',
    'grant_type=authorization_code&client_id=mayfly-console&code=',
    400,
    'sign_in_request_invalid',
  ],
  ['too much', `grant_type=authorization_code&x=${'x'.repeat(70_000)}`, 413, 'body_too_large'],
  [
    'a value without end',
    `grant_type=authorization_code&code=${'x'.repeat(600)}`,
    400,
    'sign_in_request_invalid',
  ],
])('a form with %s is refused as every other', async (_, text, status, reason) => {
  const answer = await world.api('POST', '/token', { yaml: text, headers: { 'content-type': form } });
  expect([answer.status, answer.body.reason]).toEqual([status, reason]);
});

test('a sign-in form is a form, and is never read from the query', async () => {
  const json = await world.api('POST', '/token', { json: { grant_type: 'authorization_code' } });
  expect([json.status, json.body.reason]).toEqual([400, 'unsupported_media_type']);
  const got = await codeFlow(world);
  const query = new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: 'mayfly-console',
    code: got.code,
    code_verifier: got.verifier,
    redirect_uri: redirectUri,
  });
  expect((await post(world, `/token?${query}`, {})).body.reason).toBe('missing_parameter');
  expect((await post(world, `/token?${query}`, { grant_type: 'authorization_code' })).status).not.toBe(200);
  expect((await redeem(world, got)).status).toBe(200);
});

test('an error is JSON with our reason whatever Accept says, and is never stored', async () => {
  for (const accept of ['text/html', 'text/html,application/xhtml+xml', 'image/png']) {
    const answers = [
      await post(world, '/token', { grant_type: 'authorization_code', client_id: 'x' }, { accept }),
      await post(world, '/device_authorization', { client_id: 'x' }, { accept }),
      await post(world, '/revoke', {}, { accept }),
    ];
    for (const { headers, body } of answers) {
      expect(headers.get('content-type')).toBe('application/json');
      expect([headers.get('cache-control'), headers.get('pragma')]).toEqual(['no-store', 'no-cache']);
      expect(body).toMatchObject({ error: expect.any(String), reason: expect.any(String) });
      expect(body.error_uri).toBe(`${world.url}/errors/${body.reason}`);
    }
  }
  const unknown = await post(world, '/device_authorization', { client_id: 'x' });
  expect([unknown.status, unknown.body.error]).toEqual([401, 'invalid_client']);
  expect((await world.api('GET', '/errors/sign_in_client_unknown')).status).toBe(200);
});

test('no origin is ever let in or reflected', async () => {
  const headers = { origin: 'https://evil.example' };
  const answers = [
    await post(world, '/token', { grant_type: 'authorization_code', client_id: 'mayfly-console' }, headers),
    await post(world, '/token', { grant_type: 'authorization_code', client_id: 'nobody' }, headers),
    await post(world, '/device_authorization', { client_id: 'mayfly-cli', scope: 'openid' }, headers),
    await post(world, '/revoke', { token: 'x' }, headers),
    await world.api('GET', '/.well-known/openid-configuration', { headers }),
    await world.api('GET', '/authorize', { headers }),
    await world.api('GET', '/device', { headers }),
  ];
  for (const answer of answers)
    for (const [name, value] of answer.headers) {
      expect(name).not.toMatch(/^access-control/);
      expect(value).not.toContain('evil.example');
    }
  for (const path of ['/token', '/device_authorization', '/authorize'])
    expect((await world.api('OPTIONS', path, { headers })).status).toBe(405);
});

test.each([
  ['X-Forwarded-Host', 'x-forwarded-host: evil.example\r\n'],
  ['X-Forwarded-Proto', 'x-forwarded-proto: https\r\n'],
  ['Forwarded', 'forwarded: host=evil.example;proto=https\r\n'],
  ['X-Forwarded-Port and -Prefix', 'x-forwarded-port: 1\r\nx-forwarded-prefix: /evil\r\n'],
])('%s changes no address', async (_, header) => {
  const { host } = new URL(world.url);
  const body = 'client_id=mayfly-cli&scope=openid';
  const device = await raw(
    `POST /device_authorization HTTP/1.1\r\nhost: ${host}\r\n${header}content-type: ${form}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  );
  expect(device).toContain(`"verification_uri":"${world.url}/device"`);
  const page = await raw(`GET /device HTTP/1.1\r\nhost: ${host}\r\n${header}connection: close\r\n\r\n`);
  expect(page).toContain(`action="${world.url}/device"`);
  for (const answer of [device, page]) expect(answer).not.toMatch(/evil|https:/);
});

test('neither another spelling of the loopback host nor an absolute request target changes an address', async () => {
  const { host, port, pathname, search } = new URL(authorizeUrl(world, flow));
  const spelled = await raw(`GET /device HTTP/1.1\r\nhost: localhost:${port}\r\nconnection: close\r\n\r\n`);
  expect(spelled).toContain(`action="${world.url}/device"`);
  const target = `http://evil.example${pathname}${search}`;
  const absolute = await raw(`GET ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
  expect(absolute.toLowerCase()).toContain('\r\nlocation: /sign-in\r\n');
  expect(absolute).not.toContain('evil.example');
});

test('pages run no script, are framed by nobody and tell nobody where they were', async () => {
  const browser = openBrowser();
  const handOver = await browser.open(authorizeUrl(world, flow));
  const pages = [
    handOver,
    await browser.get(`${world.url}/device`),
    await browser.get(`${world.url}/sign-in/callback?state=x`),
    await openBrowser().get(`${world.url}/sign-in`),
  ];
  for (const { headers, text } of pages) {
    const csp = headers.get('content-security-policy') ?? '';
    expect(csp).toMatch(/default-src 'none'.*form-action 'self'.*frame-ancestors 'none'/);
    expect(csp).not.toMatch(/unsafe|script-src|\*/);
    expect([headers.get('x-frame-options'), headers.get('referrer-policy')]).toEqual(['DENY', 'no-referrer']);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(text).not.toMatch(/<script|javascript:|\son[a-z]+=|http:\/\/(?!127)/);
  }
});

test('cookies are out of reach of scripts and of other sites', async () => {
  const { headers } = await openBrowser().get(authorizeUrl(world, flow));
  const cookies = headers.getSetCookie();
  expect(cookies.length).toBeGreaterThan(0);
  for (const cookie of cookies) expect(cookie.toLowerCase()).toMatch(/samesite=lax.*httponly/);
});

test('a device is asked for its code by POST, of the client of that flow; there is one scope', async () => {
  expect((await world.api('GET', '/device_authorization')).status).toBe(405);
  const browser = await post(world, '/device_authorization', {
    client_id: 'mayfly-console',
    scope: 'openid',
  });
  expect([browser.status, browser.body.error]).toEqual([400, 'invalid_request']);
  expect((await post(world, '/device_authorization', {})).body.error).toBe('invalid_request');
  for (const path of ['/device_authorization', '/revoke']) {
    const twice = await post(
      world,
      path,
      new URLSearchParams('client_id=mayfly-cli&token=a&client_id=mayfly-cli'),
    );
    expect([twice.status, twice.body.reason]).toEqual([400, 'repeated_parameter']);
  }
  const started = await post(world, '/device_authorization', { client_id: 'mayfly-cli' });
  const device = { ...started.body };
  await approve(world, device);
  expect((await poll(world, device)).body.scope).toBe('openid');
  expect((await startDevice(world)).interval).toBe(1);
});

test('sign-ins are started at a bounded rate, and what is going on goes on', async () => {
  const slow = await startWorld({ settings: { signInStartsPerSecond: 1 } });
  try {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        post(slow, '/device_authorization', { client_id: 'mayfly-cli', scope: 'openid' }),
      ),
    );
    const shed = answers.filter(({ status }) => status === 429);
    expect(shed.length).toBeGreaterThanOrEqual(5);
    expect([shed[0]?.headers.get('retry-after'), shed[0]?.body.reason]).toEqual(['1', 'sign_in_rate']);
    const polled = await post(slow, '/token', {
      grant_type: deviceGrant,
      client_id: 'mayfly-cli',
      device_code: answers.find(({ status }) => status === 200)?.body.device_code,
    });
    expect(polled.body.reason).toBe('sign_in_pending');
  } finally {
    await slow.stop();
  }
}, 60_000);
