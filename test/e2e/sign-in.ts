import { createHash, randomBytes } from 'node:crypto';
import { type Browser, inputOf, linkOf, openBrowser, type Page } from './browser.ts';
import type { Answer, World } from './world.ts';

export const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';
export const redirectUri = 'http://127.0.0.1:9/console/callback';

export interface Person {
  readonly subject?: string;
  readonly groups?: string;
  /** Presses Cancel at the organisation. */
  readonly cancel?: boolean;
}

/** From the hand-over page of the broker through the sign-in of the organisation, back to the broker or beyond. */
export async function passSignIn(
  world: World,
  browser: Browser,
  { page, person = {} }: { page: Page; person?: Person },
): Promise<Page> {
  const back = await signInUpstream(world, browser, { page, person });
  return browser.follow(await browser.get(back), (url) => url.startsWith(redirectUri));
}

/** The address to which the organisation sends the browser back. */
export async function signInUpstream(
  world: World,
  browser: Browser,
  { page, person }: { page: Page; person: Person },
): Promise<string> {
  const isBack = (url: string) => url.startsWith(`${world.url}/sign-in/callback`);
  const asked = await browser.open(linkOf(page, 'Continue'), isBack);
  // The organisation knows this browser already.
  if (isBack(asked.location)) return asked.location;
  const sent = await browser.post(asked.url, {
    subject: person.subject ?? 'jane@corp.example',
    groups: person.groups ?? 'platform',
    key: world.file.assertionBearer,
    ...(person.cancel ? { cancel: 'yes' } : {}),
  });
  const at = await browser.follow(sent, isBack);
  if (at.location === '') throw new Error(`no way back: ${at.status} ${at.text}`);
  return at.location;
}

export interface Device {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete: string;
  readonly interval: number;
  readonly expires_in: number;
}

export async function startDevice(world: World): Promise<Device> {
  const { status, body } = await post(world, '/device_authorization', {
    client_id: 'mayfly-cli',
    scope: 'openid',
  });
  if (status !== 200) throw new Error(`device_authorization: ${status} ${JSON.stringify(body)}`);
  return body;
}

/** The page that asks to compare the codes. */
export async function enterCode(browser: Browser, device: Device): Promise<Page> {
  const page = await browser.get(device.verification_uri_complete);
  return browser.post(device.verification_uri, {
    xsrf: inputOf(page, 'xsrf'),
    user_code: inputOf(page, 'user_code'),
  });
}

/** Confirmed; the hand-over page. */
export async function confirmCode(browser: Browser, device: Device): Promise<Page> {
  const page = await enterCode(browser, device);
  const form = { xsrf: inputOf(page, 'xsrf'), user_code: inputOf(page, 'user_code') };
  return browser.follow(await browser.post(device.verification_uri, { ...form, confirm: 'yes' }));
}

export async function approve(world: World, device: Device, person: Person = {}): Promise<Page> {
  const browser = openBrowser();
  return passSignIn(world, browser, { page: await confirmCode(browser, device), person });
}

export function poll(world: World, device: Device): Promise<Answer> {
  return post(world, '/token', {
    grant_type: deviceGrant,
    client_id: 'mayfly-cli',
    device_code: device.device_code,
  });
}

/** A person's token by the device flow. */
export async function login(world: World, person: Person = {}): Promise<string> {
  const device = await startDevice(world);
  const page = await approve(world, device, person);
  const { status, body } = await poll(world, device);
  if (status !== 200) throw new Error(`login: ${JSON.stringify(body)} after ${page.status} ${page.text}`);
  return body.access_token;
}

export interface CodeFlow {
  readonly code: string;
  readonly verifier: string;
  readonly state: string;
  readonly nonce: string;
  readonly params: URLSearchParams;
}

/** A code for the console, with the verifier that redeems it. */
export async function codeFlow(
  world: World,
  { person = {}, browser = openBrowser() }: { person?: Person; browser?: Browser } = {},
): Promise<CodeFlow> {
  const [verifier, state, nonce] = [1, 2, 3].map(() => randomBytes(32).toString('base64url'));
  const flow = { verifier: verifier ?? '', state: state ?? '', nonce: nonce ?? '' };
  const page = await browser.open(authorizeUrl(world, flow));
  const end = await passSignIn(world, browser, { page, person });
  const params = new URL(end.location).searchParams;
  return { ...flow, code: params.get('code') ?? '', params };
}

export function authorizeUrl(
  world: World,
  { verifier, state, nonce }: Pick<CodeFlow, 'verifier' | 'state' | 'nonce'>,
  more: Record<string, string> = {},
): string {
  const query = new URLSearchParams({
    client_id: 'mayfly-console',
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  });
  return `${world.url}/authorize?${query}`;
}

export function redeem(
  world: World,
  { code, verifier }: Pick<CodeFlow, 'code' | 'verifier'>,
  more: Record<string, string> = {},
): Promise<Answer> {
  return post(world, '/token', {
    grant_type: 'authorization_code',
    client_id: 'mayfly-console',
    redirect_uri: redirectUri,
    code,
    code_verifier: verifier,
    ...more,
  });
}

export function post(
  world: World,
  path: string,
  form: Record<string, string> | URLSearchParams | string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return world.api('POST', path, {
    yaml: new URLSearchParams(form).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  });
}

/** Audit rows of sign-in: type and reason, in order. */
export async function signInRows(world: World): Promise<string[]> {
  const rows = await world.sql<{ type: string; body: { body: { reason?: string } } }>(
    `select type, body from mayfly_audit_v1 where type like 'signin.%' order by seq`,
  );
  return rows.map(({ type, body }) => [type, body.body.reason].filter(Boolean).join(' '));
}
