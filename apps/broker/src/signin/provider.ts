import type { AuditEvent } from '@mayfly/core';
import { type SignInRows, subkey } from '@mayfly/store';
import Provider, { type Context, interactionPolicy } from 'oidc-provider';
import type { Config } from '../config.ts';
import type { SigningKey } from '../keys/keyring.ts';
import { createAdapter } from './adapter.ts';
import { type Client, clientsOf } from './clients.ts';
import { cancelledPage, confirmPage, donePage, errorPageText, userCodePage } from './pages.ts';

/** From the answer of the authorization endpoint to the token request: a redirect. */
const codeSeconds = 60;
/** To open a browser, type a code and sign in elsewhere. */
export const startSeconds = 600;
const idTokenSeconds = 300;

export interface ProviderOptions {
  readonly config: Config;
  /** The one that signs first. */
  readonly keys: readonly SigningKey[];
  readonly secret: Buffer;
  readonly rows: SignInRows;
  issued(token: Readonly<Record<string, unknown>>): AuditEvent;
  /** Does the person of this code still stand, by the policy in force? */
  stands(source: unknown): Promise<boolean>;
  /** The person pressed Cancel on the page of the device flow. */
  cancelled(context: Context): Promise<void>;
}

/** oidc-provider with everything off that people's sign-in does not need (standards.md section 3). */
export function createProvider(options: ProviderOptions): Provider {
  const { config, keys, secret, rows, issued, stands } = options;
  const clients = clientsOf(config);
  const lifeSeconds = Math.floor(config.signInLife / 1000);
  const provider = new Provider(config.issuer, {
    adapter: createAdapter({ rows, issued }),
    jwks: { keys: keys.map(privateJwk) },
    clients: clients.map(metadataOf),
    clientAuthMethods: ['none'],
    responseTypes: ['code'],
    scopes: ['openid'],
    claims: { openid: ['sub'], acr: null, auth_time: null, iss: null, sid: null },
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    enableHttpPostMethods: false,
    clientBasedCORS: () => false,
    routes: {
      authorization: '/authorize',
      token: '/token',
      jwks: '/jwks',
      device_authorization: '/device_authorization',
      code_verification: '/device',
    },
    cookies: cookiesOf(config, secret),
    features: featuresOf(options, clients),
    interactions: { policy: [freshLogin()], url: () => '/sign-in' },
    ttl: {
      AccessToken: lifeSeconds,
      // Outlives its token, which begins later.
      Grant: lifeSeconds + startSeconds,
      AuthorizationCode: codeSeconds,
      DeviceCode: startSeconds,
      Interaction: startSeconds,
      Session: startSeconds,
      IdToken: idTokenSeconds,
    },
    // A token ends by itself, by `logout` or with its issuer, not with a browser's session.
    expiresWithSession: async () => false,
    // A token of an hour, and again by the organisation's own sign-in: nothing that lives longer is worth stealing here.
    issueRefreshToken: async () => false,
    // One grant a sign-in: ending the token ends it whole.
    revokeGrantPolicy: () => true,
    findAccount: async (_context: Context, accountId: string, source: unknown) =>
      (await stands(source)) ? { accountId, claims: async () => ({ sub: accountId }) } : undefined,
    renderError: async (context: Context, out: { error: string }) => {
      context.type = 'html';
      context.body = errorPageText(
        out.error === 'access_denied' ? 'sign_in_denied' : 'sign_in_request_invalid',
      );
    },
  });
  provider.on('authorization.success', forget);
  return provider;
}

function featuresOf({ cancelled }: ProviderOptions, clients: readonly Client[]) {
  return {
    ...Object.fromEntries(
      [
        'devInteractions',
        'dPoP',
        'rpInitiatedLogout',
        'pushedAuthorizationRequests',
        'resourceIndicators',
        'userinfo',
      ].map((name) => [name, { enabled: false }]),
    ),
    deviceFlow: {
      enabled: true,
      charset: 'base-20',
      mask: '****-****',
      deviceInfo: () => ({}), // Neither address nor browser of anyone is kept.
      userCodeInputSource: async (context: Context, _form: string, _out: unknown, error?: Error) => {
        context.type = 'html';
        if (error?.name === 'AbortedError') {
          // With a cause it was refused elsewhere, and recorded there.
          if (error.cause === undefined) await cancelled(context);
          context.body = cancelledPage();
        } else context.body = userCodePage(formOf(context), error === undefined ? null : problemOf(error));
      },
      userCodeConfirmSource: async (
        context: Context,
        _form: string,
        client: { clientId: string },
        _info: unknown,
        userCode: string,
      ) => {
        context.type = 'html';
        const name = clients.find(({ id }) => id === client.clientId)?.name ?? client.clientId;
        context.body = confirmPage({ ...formOf(context), userCode }, name);
      },
      successSource: async (context: Context) => {
        context.type = 'html';
        context.body = donePage();
      },
    },
  };
}

/** `code` is where `GET /device?user_code=` is moved to: filled in, never sent off by itself. */
function formOf(context: Context) {
  const { code } = context.query;
  return {
    action: context.oidc.urlFor('code_verification'),
    xsrf: context.oidc.session?.state?.secret ?? '',
    userCode: typeof code === 'string' ? code.slice(0, 32) : '',
  };
}

function problemOf({ name }: Error): string {
  if (name === 'ExpiredError') return 'This code has expired. Start again in your terminal.';
  if (name === 'AlreadyUsedError') return 'This code was used already. Start again in your terminal.';
  if (name === 'NotFoundError' || name === 'NoCodeError') return 'There is no such code. Look again.';
  return 'That did not work. Start again in your terminal.';
}

/** Whoever authorizes signs in just now, at the organisation: no session of ours stands in for that. */
function freshLogin(): object {
  const { Check, Prompt } = interactionPolicy;
  const check = new Check('sign_in', 'a sign-in is needed', ({ oidc }) => oidc.result?.login === undefined);
  return new Prompt({ name: 'login', requestable: true }, check);
}

/** The next one who authorizes in this browser may be somebody else. */
function forget({ oidc: { session } }: Context): void {
  if (session === undefined) return;
  delete session.accountId;
  delete session.authorizations;
}

function cookiesOf({ issuer }: Config, secret: Buffer) {
  const secure = issuer.startsWith('https:');
  const options = { httpOnly: true, sameSite: 'lax', secure, signed: true };
  // `__Host-` cookies are never those of a sibling host, which could else give this browser the sign-in of its own that it
  // waits for elsewhere; they need the path `/`. The one to resume by has a path of its own, so `__Secure-`.
  const [host, sub] = secure ? ['__Host-', '__Secure-'] : ['', ''];
  return {
    keys: [subkey(secret, 'cookie').toString('base64url')],
    names: {
      session: `${host}mayfly_session`,
      interaction: `${host}mayfly_sign_in`,
      resume: `${sub}mayfly_resume`,
    },
    long: options,
    short: { ...options, path: '/' },
  };
}

function metadataOf({ id, name, grantType, redirectUris }: Client) {
  return {
    client_id: id,
    client_name: name,
    application_type: 'web',
    token_endpoint_auth_method: 'none',
    grant_types: [grantType],
    response_types: redirectUris.length === 0 ? [] : ['code'],
    redirect_uris: [...redirectUris],
    id_token_signed_response_alg: 'RS256',
  };
}

function privateJwk({ privateKey, kid, alg }: SigningKey) {
  return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
}
