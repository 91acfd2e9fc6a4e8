import { detailType, grantTypeDeferred, grantTypeTokenExchange, tokenType } from '@mayfly/protocol';
import type { Config } from '../config.ts';
import { dpopAlgorithms } from '../proof/dpop.ts';

export type MetadataValue = string | boolean | readonly string[] | Readonly<Record<string, string>>;
/** What one feature says of itself in a discovery document (RFC 8414 section 2, RFC 9728 section 2). */
export type MetadataPart = Readonly<Record<string, MetadataValue>>;

/** Where the JSON Schema of `mayfly_tool_call` is served. */
export const detailSchemaPath = `/schemas/${detailType}.json`;
export const resourceMetadataPath = '/.well-known/oauth-protected-resource';

/** One entry a feature: whoever serves an endpoint adds its part here, and nowhere else. */
export const serverParts: readonly ((config: Config) => MetadataPart)[] = [
  ({ issuer }) => ({
    issuer,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: [],
    service_documentation: `${issuer}/openapi.json`,
    protected_resources: [issuer],
  }),
  ({ issuer }) => ({
    token_endpoint: `${issuer}/token`,
    token_endpoint_auth_methods_supported: ['none'],
    grant_types_supported: [grantTypeTokenExchange, grantTypeDeferred],
    // The grant type answers; nothing is deferred before there are approvals.
    deferred_token_response_supported: false,
    subject_token_types_supported: [tokenType.jwt, tokenType.idToken, tokenType.accessToken],
    authorization_details_types_supported: [detailType],
    mayfly_detail_schema: `${issuer}${detailSchemaPath}`,
  }),
  ({ issuer }) => ({
    introspection_endpoint: `${issuer}/introspect`,
    // RFC 8414 section 2: where left out, client_secret_basic would be meant. Callers authenticate by token.
    introspection_endpoint_auth_methods_supported: ['Bearer', 'DPoP'],
  }),
  ({ issuer }) => ({
    revocation_endpoint: `${issuer}/revoke`,
    revocation_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_token_type_values_supported: [tokenType.accessToken],
  }),
  () => ({ dpop_signing_alg_values_supported: dpopAlgorithms }),
  (config) => (takesCertificates(config) ? { tls_client_certificate_bound_access_tokens: true } : {}),
];

function takesCertificates({ tlsClientCertificates, clientCertificateHeader }: Config): boolean {
  return tlsClientCertificates === 'request' || clientCertificateHeader !== undefined;
}

/** The same for /v1 as a protected resource. */
export const resourceParts: readonly ((config: Config) => MetadataPart)[] = [
  ({ issuer }) => ({
    resource: issuer,
    authorization_servers: [issuer],
    bearer_methods_supported: ['header'],
    resource_documentation: `${issuer}/openapi.json`,
    dpop_signing_alg_values_supported: dpopAlgorithms,
    dpop_bound_access_tokens_required: false,
  }),
];

/** Lists are joined; two parts that say different things of one member are a mistake of ours and throw. */
export function mergeMetadata(parts: readonly MetadataPart[]): Readonly<Record<string, MetadataValue>> {
  const merged: Record<string, MetadataValue> = {};
  for (const part of parts)
    for (const [name, value] of Object.entries(part)) merged[name] = join(name, merged[name], value);
  return merged;
}

function join(name: string, known: MetadataValue | undefined, value: MetadataValue): MetadataValue {
  if (known === undefined || known === value) return value;
  if (isList(known) && isList(value)) return [...new Set([...known, ...value])];
  if (typeof known === 'object' && typeof value === 'object' && !isList(known) && !isList(value))
    return { ...known, ...value };
  throw new Error(`two parts disagree on ${name}`);
}

function isList(value: MetadataValue): value is readonly string[] {
  return Array.isArray(value);
}
