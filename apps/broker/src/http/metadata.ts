import { detailType, errorCodes, grantTypeTokenExchange, tokenType } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import type { Reply } from './errors.ts';

/** How long JWKS and metadata may be cached; a rotated key is published longer than this before its first use. */
const cacheControl = { 'cache-control': 'public, max-age=300' };

/** RFC 8414. Lists only what is served. */
export function serverMetadata({ config, signIn }: Broker): Reply {
  const { issuer } = config;
  const { grant_types_supported: grantTypes = [], ...ofSignIn } = signIn?.metadata() ?? {};
  return {
    status: 200,
    headers: cacheControl,
    body: {
      issuer,
      token_endpoint: `${issuer}/token`,
      introspection_endpoint: `${issuer}/introspect`,
      jwks_uri: `${issuer}/jwks`,
      grant_types_supported: [grantTypeTokenExchange, ...grantTypes],
      response_types_supported: [],
      token_endpoint_auth_methods_supported: ['none'],
      subject_token_types_supported: [tokenType.jwt, tokenType.idToken, tokenType.accessToken],
      authorization_details_types_supported: [detailType],
      service_documentation: `${issuer}/openapi.json`,
      ...ofSignIn,
    },
  };
}

export function jwks(broker: Broker): Reply {
  const purposes = broker.signIn === undefined ? (['token'] as const) : (['token', 'sign-in'] as const);
  const keys = purposes.flatMap((purpose) => broker.keyring().jwks(purpose, new Date()).keys);
  return { status: 200, headers: cacheControl, body: { keys } };
}

export function federationMetadata({ config }: Broker): Reply {
  return { status: 200, headers: cacheControl, body: federationDocument(config.federationIssuer) };
}

/** The federation issuer's discovery document: what a cloud's OIDC provider fetches, here or as a static file. */
export function federationDocument(issuer: string): Readonly<Record<string, unknown>> {
  return {
    issuer,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti'],
  };
}

export function federationJwks(broker: Broker): Reply {
  return { status: 200, headers: cacheControl, body: broker.keyring().jwks('federation', new Date()) };
}

/** What `error_uri` and the `type` of a problem point to. */
export function errorPage(reason: string): Reply | undefined {
  const row = Object.entries(errorCodes).find(([name]) => name === reason)?.[1];
  return row === undefined
    ? undefined
    : {
        status: 200,
        headers: cacheControl,
        body: { reason, error: row.oauth, says: row.says, todo: row.todo },
      };
}
