import { type Client, grantTypeCode } from './clients.ts';

/** RFC 8414, RFC 8628 and OpenID Connect Discovery: only what is served. */
export function metadataOf(issuer: string, clients: readonly Client[]) {
  const browser = clients.some(({ grantType }) => grantType === grantTypeCode);
  return {
    device_authorization_endpoint: `${issuer}/device_authorization`,
    ...(browser ? { authorization_endpoint: `${issuer}/authorize` } : {}),
    grant_types_supported: clients.map(({ grantType }) => grantType),
    response_types_supported: browser ? ['code'] : [],
    ...(browser
      ? {
          response_modes_supported: ['query'],
          code_challenge_methods_supported: ['S256'],
          authorization_response_iss_parameter_supported: true,
        }
      : {}),
    scopes_supported: ['openid'],
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'auth_time'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    revocation_endpoint: `${issuer}/revoke`,
  };
}
