import { errorCodes, toolCallSchema } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import type { Reply } from './errors.ts';
import {
  detailSchemaPath,
  type MetadataPart,
  mergeMetadata,
  resourceParts,
  serverParts,
} from './metadata-parts.ts';

/** How long JWKS and metadata may be cached; a rotated key is published longer than this before its first use. */
const cacheControl = { 'cache-control': 'public, max-age=300' };

/** RFC 8414, and the same under OpenID Connect's name: one true document. Lists only what is served. */
export function serverMetadata({ config, signIn }: Broker): Reply {
  const parts = serverParts.map((part) => part(config));
  return published(signIn === undefined ? parts : [...parts, signIn.metadata()]);
}

/** RFC 9728: /v1 as a protected resource, whose identifier is the issuer. */
export function resourceMetadata({ config }: Broker): Reply {
  return published(resourceParts.map((part) => part(config)));
}

function published(parts: readonly MetadataPart[]): Reply {
  return { status: 200, headers: cacheControl, body: mergeMetadata(parts) };
}

/** RFC 9396 section 10 leaves it open how a type is described: a JSON Schema, made from what the parser uses. */
export function detailSchema({ config }: Broker): Reply {
  return {
    status: 200,
    headers: cacheControl,
    contentType: 'application/schema+json',
    body: toolCallSchema(`${config.issuer}${detailSchemaPath}`),
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
