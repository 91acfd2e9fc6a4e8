import {
  type CryptoKey,
  createLocalJWKSet,
  decodeJwt,
  errors,
  type JSONWebKeySet,
  jwtVerify,
  SignJWT,
} from 'jose';
import { AzureError } from './error.ts';
import type { App } from './state.ts';

export const storageScope = 'https://storage.azure.com/.default';
export const storageAudience = 'https://storage.azure.com';
const assertionAudience = 'api://AzureADTokenExchange';
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const tokenSeconds = 3600;
const fetchTimeoutMs = 3_000;

export interface Authority {
  readonly tenant: string;
  readonly apps: ReadonlyMap<string, App>;
  readonly keys: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };
}

/** What the library reads before it asks for a token; issuer and endpoints are on the authority's own host. */
export function discovery(origin: string, { tenant }: Authority): Record<string, unknown> {
  return {
    issuer: `${origin}/${tenant}/v2.0`,
    authorization_endpoint: `${origin}/${tenant}/oauth2/v2.0/authorize`,
    token_endpoint: `${origin}/${tenant}/oauth2/v2.0/token`,
    jwks_uri: `${origin}/${tenant}/discovery/v2.0/keys`,
    token_endpoint_auth_methods_supported: ['private_key_jwt'],
  };
}

/** Client credentials by a federated assertion (RFC 7521): the token of the app's own service principal for Storage. */
export async function grantToken(
  form: URLSearchParams,
  { authority, now }: { authority: Authority; now: Date },
): Promise<{ readonly app: App; readonly answer: Record<string, unknown> }> {
  const app = authority.apps.get(form.get('client_id') ?? '');
  if (app === undefined) throw new AzureError('AADSTS700016', 400);
  if (form.get('grant_type') !== 'client_credentials') throw new AzureError('AADSTS70003', 400);
  if (form.get('client_assertion_type') !== assertionType) throw new AzureError('AADSTS7000216', 401);
  await verifyAssertion(form.get('client_assertion') ?? '', { app, now });
  // The library asks for this scope and the three of OpenID, which say nothing to a service principal.
  const scopes = (form.get('scope') ?? '').split(' ').filter((one) => one.includes(':'));
  if (scopes.join() !== storageScope) throw new AzureError('AADSTS70011', 400);
  const iat = Math.floor(now.getTime() / 1000);
  const token = await new SignJWT({ oid: app.objectId, tid: authority.tenant, appid: app.clientId })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuer(`https://sts.windows.net/${authority.tenant}/`)
    .setAudience(storageAudience)
    .setSubject(app.objectId)
    .setIssuedAt(iat)
    .setNotBefore(iat)
    .setExpirationTime(iat + tokenSeconds)
    .sign(authority.keys.privateKey);
  return { app, answer: { token_type: 'Bearer', expires_in: tokenSeconds, access_token: token } };
}

/** Who holds a token of this authority for Storage; anything else is nobody. */
export async function holderOf(
  token: string,
  { authority, now }: { authority: Authority; now: Date },
): Promise<App> {
  try {
    const { payload } = await jwtVerify(token, authority.keys.publicKey, {
      algorithms: ['RS256'],
      issuer: `https://sts.windows.net/${authority.tenant}/`,
      audience: storageAudience,
      currentDate: now,
      requiredClaims: ['exp', 'nbf', 'oid', 'tid'],
    });
    const app = authority.apps.get(String(payload['appid']));
    if (app !== undefined && app.objectId === payload['oid']) return app;
  } catch {
    // Told apart by nobody: Storage answers the same to all of them.
  }
  throw new AzureError('InvalidAuthenticationInfo', 401);
}

/** As Entra does: issuer and subject must be exactly those of the federated credential, its keys are fetched, RS256 only. */
async function verifyAssertion(assertion: string, { app, now }: { app: App; now: Date }): Promise<void> {
  const claims = claimsOf(assertion);
  if (claims.iss !== app.issuer || claims.sub !== app.subject) throw new AzureError('AADSTS700213', 401);
  if (claims.aud !== assertionAudience) throw new AzureError('AADSTS700212', 401);
  const keys = await fetchKeys(app.issuer);
  await jwtVerify(assertion, keys, {
    algorithms: ['RS256'],
    issuer: app.issuer,
    audience: assertionAudience,
    currentDate: now,
    requiredClaims: ['exp', 'iat', 'sub', 'jti'],
  }).catch((cause: unknown) => {
    throw new AzureError(cause instanceof errors.JWTExpired ? 'AADSTS700024' : 'AADSTS700027', 401);
  });
}

function claimsOf(assertion: string) {
  try {
    return decodeJwt(assertion);
  } catch {
    throw new AzureError('AADSTS50027', 401);
  }
}

async function fetchKeys(issuer: string) {
  try {
    const found = await fetchJson(`${issuer}/.well-known/openid-configuration`);
    if (Reflect.get(Object(found), 'issuer') !== issuer) throw new TypeError('another issuer');
    const jwks = await fetchJson(String(Reflect.get(Object(found), 'jwks_uri')));
    return createLocalJWKSet(jwks as JSONWebKeySet); // jose checks the form.
  } catch {
    throw new AzureError('AADSTS50166', 400);
  }
}

async function fetchJson(url: string): Promise<unknown> {
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(fetchTimeoutMs) });
  if (!answer.ok) throw new TypeError(`answered ${answer.status}`);
  return answer.json();
}
