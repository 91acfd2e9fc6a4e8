import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as oidc from 'openid-client';
import { inputOf, linkOf, openBrowser } from './browser.ts';
import {
  approve,
  authorizeUrl,
  codeFlow,
  confirmCode,
  deviceGrant,
  enterCode,
  login,
  passSignIn,
  poll,
  post,
  redeem,
  redirectUri,
  signInRows,
  signInUpstream,
  startDevice,
} from './sign-in.ts';
import { startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  const limits = { signInStartsPerSecond: 10_000, refusalRowsPerSecond: 10_000 };
  const settings = { signInRedirectUris: [redirectUri], signInPollInterval: '1s', ...limits };
  world = await startWorld({ settings });
}, 60_000);

afterAll(() => world.stop());

const whoami = (bearer: string) => world.api('GET', '/v1/whoami', { bearer });
/** The audit rows that `run` leaves. */
async function rowsOf(run: () => Promise<unknown>): Promise<string[]> {
  const before = await signInRows(world);
  await run();
  return (await signInRows(world)).slice(before.length);
}
const discovered = (clientId: string) =>
  oidc.discovery(new URL(world.url), clientId, { id_token_signed_response_alg: 'RS256' }, oidc.None(), {
    execute: [oidc.allowInsecureRequests],
  });

test('openid-client signs a person in by code and PKCE, and the token is that person at /v1', async () => {
  const config = await discovered('mayfly-console');
  const [verifier, state, nonce] = [oidc.randomPKCECodeVerifier(), oidc.randomState(), oidc.randomNonce()];
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  });
  const browser = openBrowser();
  const end = await passSignIn(world, browser, { page: await browser.open(url.href) });
  const tokens = await oidc.authorizationCodeGrant(config, new URL(end.location), {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
  });
  expect(tokens.claims()).toMatchObject({ iss: world.url, sub: 'people/jane@corp.example' });
  expect([tokens.token_type, tokens.expires_in, tokens.refresh_token]).toEqual(['bearer', 3600, undefined]);
  expect((await whoami(tokens.access_token)).body).toMatchObject({
    workload: 'people/jane@corp.example',
    people: true,
    claims: { groups: ['platform'] },
    roles: expect.arrayContaining([expect.objectContaining({ role: 'admin', from: 'admins' })]),
  });
});

test('openid-client signs a person in by the device flow', async () => {
  const config = await discovered('mayfly-cli');
  const device = await oidc.initiateDeviceAuthorization(config, { scope: 'openid' });
  expect(device).toMatchObject({ expires_in: 600, interval: 1, verification_uri: `${world.url}/device` });
  expect(device.user_code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
  const { device_code, user_code, verification_uri } = device;
  const shown = { device_code, user_code, verification_uri, interval: 1, expires_in: 600 };
  const rest = { verification_uri_complete: device.verification_uri_complete ?? '' };
  const done = await approve(world, { ...shown, ...rest }, { groups: 'audit' });
  expect(done.text).toContain('You can close this page');
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, device);
  expect((await whoami(tokens.access_token)).body.roles.map(Object)).toEqual([
    expect.objectContaining({ role: 'auditor' }),
  ]);
});

test('a sign-in leaves one row in the audit log, with the person and no secret', async () => {
  const before = await signInRows(world);
  const token = await login(world);
  const rows = await world.sql<{ actor: string; text: string; body: { body: object } }>(
    `select actor, body, body::text as text from mayfly_audit_v1 where type like 'signin.%' order by seq offset $1`,
    [before.length],
  );
  expect(rows).toMatchObject([
    { actor: 'people/jane@corp.example', body: { body: { client: 'mayfly-cli', flow: 'device_code' } } },
  ]);
  expect(rows[0]?.text).not.toContain(token);
});

test.each([
  ['a wrong verifier', { code_verifier: 'x'.repeat(43) }],
  ['another redirect URI', { redirect_uri: 'http://127.0.0.1:9/other' }],
  ['a made-up code', { code: 'x'.repeat(43) }],
])('a code with %s is refused, once in the log', async (_, more) => {
  const flow = await codeFlow(world);
  const rows = await rowsOf(async () => {
    const { status, body } = await redeem(world, flow, more);
    expect([status, body.error, body.reason]).toEqual([400, 'invalid_grant', 'sign_in_code_invalid']);
  });
  expect(rows).toEqual(['signin.refused sign_in_code_invalid']);
  expect((await redeem(world, flow)).status).toBe(200);
});

test.each([
  ['without a verifier', { code_verifier: '' }, 'invalid_grant', 400],
  ['of another client', { client_id: 'mayfly-cli' }, 'invalid_request', 400],
  ['of an unknown client', { client_id: 'somebody' }, 'invalid_client', 401],
  ['without a redirect URI', { redirect_uri: '' }, 'invalid_request', 400],
])('a code %s is refused', async (_, more, error, status) => {
  const answer = await redeem(world, await codeFlow(world), more);
  expect([answer.status, answer.body.error]).toEqual([status, error]);
  expect(answer.body.access_token).toBeUndefined();
});

test('a code is good once, and using it again ends what the first use gave', async () => {
  const flow = await codeFlow(world);
  const first = await redeem(world, flow);
  expect((await whoami(first.body.access_token)).status).toBe(200);
  const again = await redeem(world, flow);
  expect([again.status, again.body.reason]).toEqual([400, 'sign_in_code_invalid']);
  expect((await whoami(first.body.access_token)).status).toBe(401);
});

test.each([
  ['without PKCE', { code_challenge: '', code_challenge_method: '' }, 'invalid_request'],
  ['with plain PKCE', { code_challenge_method: 'plain' }, 'invalid_request'],
  ['for an id_token', { response_type: 'id_token' }, 'unsupported_response_type'],
  ['for a token', { response_type: 'token' }, 'unsupported_response_type'],
  ['for code and id_token', { response_type: 'code id_token' }, 'unsupported_response_type'],
  ['without the scope openid', { scope: 'offline_access' }, 'invalid_request'],
  ['without a page to sign in at', { prompt: 'none' }, 'login_required'],
  ['by a request object', { request: 'e30.e30.' }, 'request_not_supported'],
])('an authorization request %s goes back with an error and without code', async (_, more, error) => {
  const flow = { verifier: 'v'.repeat(43), state: 's', nonce: 'n' };
  const page = await openBrowser().get(authorizeUrl(world, flow, more));
  const back = new URL(page.location);
  const answer = back.searchParams.size > 0 ? back.searchParams : new URLSearchParams(back.hash.slice(1));
  expect([`${back.origin}${back.pathname}`, answer.get('error'), answer.get('code')]).toEqual([
    redirectUri,
    error,
    null,
  ]);
});

test.each([
  ['an unknown client', { client_id: 'somebody' }],
  ['the client of the other flow', { client_id: 'mayfly-cli' }],
  ['a redirect URI that is not configured', { redirect_uri: 'http://127.0.0.1:9/evil' }],
  ['another port', { redirect_uri: 'http://127.0.0.1:10/console/callback' }],
  ['a form post', { response_mode: 'form_post' }],
  ['a fragment', { response_mode: 'fragment' }],
])('an authorization request of %s sends the browser nowhere', async (_, more) => {
  const flow = { verifier: 'v'.repeat(43), state: 's', nonce: 'n' };
  const page = await openBrowser().get(authorizeUrl(world, flow, more));
  expect([page.status, page.location]).toEqual([400, '']);
  expect(page.text).toContain('Sign-in did not work');
  expect(page.text).not.toMatch(/somebody|evil|script/);
});

test('an answer of the organisation that belongs to another browser changes nothing', async () => {
  const flow = { verifier: 'v'.repeat(43), state: 's', nonce: 'n' };
  const [victim, attacker] = [openBrowser(), openBrowser()];
  const page = await victim.open(authorizeUrl(world, flow));
  const other = await attacker.open(authorizeUrl(world, flow));
  const back = await signInUpstream(world, attacker, {
    page: other,
    person: { subject: 'eve@corp.example' },
  });
  const rows = await rowsOf(async () => {
    const refused = await victim.get(back);
    expect([refused.status, refused.location]).toEqual([400, '']);
  });
  expect(rows).toEqual(['signin.refused sign_in_lost']);
  // A browser without a sign-in has nothing to come back to.
  expect((await openBrowser().get(back)).status).toBe(400);
  expect(new URL((await passSignIn(world, victim, { page })).location).searchParams.get('code')).toBeTruthy();
});

test('a code of the organisation for one sign-in is not taken for another', async () => {
  const flow = { verifier: 'v'.repeat(43), state: 's', nonce: 'n' };
  const [victim, attacker] = [openBrowser(), openBrowser()];
  const page = await victim.open(authorizeUrl(world, flow));
  const other = await attacker.open(authorizeUrl(world, flow));
  const injected = new URL(
    await signInUpstream(world, attacker, { page: other, person: { subject: 'eve@corp.example' } }),
  );
  const back = new URL(await signInUpstream(world, victim, { page, person: {} }));
  back.searchParams.set('code', injected.searchParams.get('code') ?? '');
  const rows = await rowsOf(async () => {
    const end = await victim.follow(await victim.get(back.href), (url) => url.startsWith(redirectUri));
    expect(new URL(end.location).searchParams.get('error')).toBe('access_denied');
  });
  expect(rows).toEqual(['signin.refused sign_in_upstream_refused']);
});

test.each([
  ['is outside the subjects of the issuer', { subject: 'eve@evil.example' }, 'sign_in_person_refused'],
  ['gives up at the organisation', { cancel: true }, 'sign_in_upstream_refused'],
])('a person who %s gets no code, once in the log', async (_, person, reason) => {
  const rows = await rowsOf(async () => {
    const { params } = await codeFlow(world, { person });
    expect([params.get('error'), params.get('code')]).toEqual(['access_denied', null]);
    expect(params.get('error_description')).not.toMatch(/evil|subject/);
  });
  expect(rows).toEqual([`signin.refused ${reason}`]);
});

test('a device code waits, is paced, and is good once', async () => {
  const device = await startDevice(world);
  const rows = await rowsOf(async () => {
    expect((await poll(world, device)).body).toMatchObject({
      error: 'authorization_pending',
      reason: 'sign_in_pending',
    });
    const soon = await poll(world, device);
    expect([soon.status, soon.body.error]).toEqual([400, 'slow_down']);
  });
  expect(rows).toEqual([]);
  await approve(world, device);
  await later();
  const { status, body } = await poll(world, device);
  expect([status, body.token_type]).toEqual([200, 'Bearer']);
  await later();
  const again = await poll(world, device);
  expect([again.status, again.body.error]).toEqual([400, 'invalid_grant']);
  expect((await whoami(body.access_token)).status).toBe(401);
});

/** The interval since the last poll is over. */
const later = () => world.sql(`update sign_in set polled_at = polled_at - interval '1 minute'`);

test('a device code of another client, of nobody, or that has expired is refused', async () => {
  const device = await startDevice(world);
  const asked = { grant_type: deviceGrant, device_code: device.device_code };
  const other = await post(world, '/token', { ...asked, client_id: 'mayfly-console' });
  expect([other.status, other.body.error]).toEqual([400, 'invalid_request']);
  const unknown = await poll(world, { ...device, device_code: 'x'.repeat(43) });
  expect([unknown.status, unknown.body.error]).toEqual([400, 'invalid_grant']);
  await approve(world, device);
  // Sealed, a row's own end cannot be moved; its life began ten minutes ago.
  const realNow = Date.now;
  Date.now = () => realNow() + 601_000;
  try {
    await later();
    const late = await poll(world, device);
    expect([late.status, late.body.error, late.body.reason]).toEqual([
      400,
      'expired_token',
      'sign_in_expired',
    ]);
  } finally {
    Date.now = realNow;
  }
});

test.each([
  ['at the organisation', { cancel: true }, 'sign_in_upstream_refused'],
  ['for a subject that may not', { subject: 'eve@evil.example' }, 'sign_in_person_refused'],
])('a device whose sign-in is refused %s hears access_denied, once in the log', async (_, person, reason) => {
  const device = await startDevice(world);
  const rows = await rowsOf(async () => {
    expect((await approve(world, device, person)).text).toContain('Nobody was signed in');
    const { status, body } = await poll(world, device);
    expect([status, body.error, body.reason]).toEqual([400, 'access_denied', 'sign_in_denied']);
  });
  expect(rows).toEqual([`signin.refused ${reason}`]);
});

test('Cancel denies the device, on the page of the code and on that of the hand-over, once in the log', async () => {
  const rows = await rowsOf(async () => {
    const [early, late] = [await startDevice(world), await startDevice(world)];
    const browser = openBrowser();
    const page = await enterCode(browser, early);
    const form = { xsrf: inputOf(page, 'xsrf'), user_code: inputOf(page, 'user_code') };
    const cancelled = await browser.post(early.verification_uri, { ...form, abort: 'yes' });
    expect(cancelled.text).toContain('Nobody was signed in');
    expect((await poll(world, early)).body.error).toBe('access_denied');
    const handOver = await confirmCode(browser, late);
    expect(handOver.text).toContain('The mayfly command line');
    expect((await browser.get(`${world.url}/sign-in/cancel?key=${'x'.repeat(43)}`)).status).toBe(400);
    expect((await poll(world, late)).body.error).toBe('authorization_pending');
    expect((await browser.open(linkOf(handOver, 'Cancel'))).text).toContain('Nobody was signed in');
    await later();
    expect((await poll(world, late)).body.error).toBe('access_denied');
  });
  expect(rows).toEqual(['signin.refused sign_in_denied', 'signin.refused sign_in_denied']);
});

test('a user code is asked for again when it is wrong or used, and is never sent off by itself', async () => {
  const device = await startDevice(world);
  const browser = openBrowser();
  const page = await browser.get(device.verification_uri_complete);
  expect([inputOf(page, 'user_code'), /<script|onload|onfocus/.test(page.text)]).toEqual([
    device.user_code,
    false,
  ]);
  const xsrf = inputOf(page, 'xsrf');
  const wrong = await browser.post(device.verification_uri, { xsrf, user_code: 'BBBB-BBBB' });
  expect(wrong.text).toContain('There is no such code');
  // Another site's form has no xsrf of this browser.
  const forged = await browser.post(device.verification_uri, {
    xsrf: 'x',
    user_code: device.user_code,
    confirm: 'yes',
  });
  expect(forged.text).toContain('That did not work');
  expect((await poll(world, device)).body.error).toBe('authorization_pending');
  await approve(world, device);
  const used = await browser.get(device.verification_uri);
  const again = await browser.post(device.verification_uri, {
    xsrf: inputOf(used, 'xsrf'),
    user_code: device.user_code,
  });
  expect(again.text).toContain('used already');
});

test('whatever is written into a page is text', async () => {
  const page = await openBrowser().get(
    `${world.url}/device?user_code=${encodeURIComponent('"><script>x</script>')}`,
  );
  expect(page.text).not.toContain('<script');
  expect(inputOf(page, 'user_code')).toBe('"><script>x</script>');
});

test('one browser may sign in as two people, one after the other', async () => {
  const browser = openBrowser();
  for (const subject of ['jane@corp.example', 'joe@corp.example']) {
    const flow = await codeFlow(world, { person: { subject }, browser });
    const { body } = await redeem(world, flow);
    expect((await whoami(body.access_token)).body.subject).toBe(subject);
    browser.forget(world.file.people);
  }
});
