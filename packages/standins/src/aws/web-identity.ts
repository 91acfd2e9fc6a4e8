import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import { AwsError } from './errors.ts';
import type { AwsState, OidcProvider } from './state.ts';

export interface WebIdentity {
  readonly provider: OidcProvider;
  readonly subject: string;
  readonly audience: string;
  readonly sourceIdentity: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
}

export type VerifyWebIdentity = (token: string, at: { state: AwsState; now: Date }) => Promise<WebIdentity>;

const fetchTimeoutMs = 3_000;

/** As AWS does: finds the registered provider of the token's `iss`, fetches its keys, and checks signature, times and audience. */
export const verifyWebIdentity: VerifyWebIdentity = async (token, { state, now }) => {
  const claims = readClaims(token);
  const provider = [...state.providers.values()].find(({ url }) => url === claims.iss);
  if (provider === undefined)
    throw new AwsError('InvalidIdentityToken', 400, 'No OpenIDConnect provider found in your account');
  const keys = await fetchKeys(provider.url);
  const { payload } = await jwtVerify(token, keys, {
    issuer: provider.url,
    currentDate: now,
    requiredClaims: ['exp', 'iat', 'sub', 'aud'],
  }).catch((cause: unknown) => {
    const expired = Reflect.get(Object(cause), 'code') === 'ERR_JWT_EXPIRED';
    throw new AwsError(expired ? 'ExpiredTokenException' : 'InvalidIdentityToken', 400, 'Token is not valid');
  });
  const audience = [payload.aud].flat().find((one) => one !== undefined && provider.clientIds.includes(one));
  if (audience === undefined) throw new AwsError('InvalidIdentityToken', 400, 'Incorrect token audience');
  const sourceIdentity = payload['https://aws.amazon.com/source_identity'];
  return {
    provider,
    subject: String(payload.sub),
    audience,
    sourceIdentity: typeof sourceIdentity === 'string' ? sourceIdentity : undefined,
    tags: readTags(payload['https://aws.amazon.com/tags']),
  };
};

function readClaims(token: string) {
  try {
    return decodeJwt(token);
  } catch {
    throw new AwsError('InvalidIdentityToken', 400, 'The ID Token provided is not a valid JWT');
  }
}

async function fetchKeys(issuer: string) {
  try {
    const discovery = await fetchJson(`${issuer}/.well-known/openid-configuration`);
    if (Reflect.get(Object(discovery), 'issuer') !== issuer) throw new TypeError('another issuer');
    const jwks = await fetchJson(String(Reflect.get(Object(discovery), 'jwks_uri')));
    return createLocalJWKSet(jwks as JSONWebKeySet); // jose checks the form.
  } catch {
    throw new AwsError(
      'IDPCommunicationError',
      400,
      "Couldn't retrieve verification key from your identity provider",
    );
  }
}

async function fetchJson(url: string): Promise<unknown> {
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(fetchTimeoutMs) });
  if (!answer.ok) throw new TypeError(`answered ${answer.status}`);
  return answer.json();
}

function readTags(claim: unknown): Record<string, string> {
  const principal: unknown = Reflect.get(Object(claim), 'principal_tags');
  return Object.fromEntries(
    Object.entries(Object(principal)).map(([key, value]) => [key, String([value].flat()[0])]),
  );
}
