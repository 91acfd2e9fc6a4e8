import type { ErrorRow } from './row.ts';

/** What is wrong with the form of a request. */
export const requestErrors = {
  host_unknown: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The Host header is not that of the broker.',
    todo: 'Use the address of the issuer; a proxy must pass Host on as it came.',
  },
  malformed_request: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The request is malformed.',
    todo: 'Compare it with docs/errors.md and the OpenAPI document.',
  },
  repeated_parameter: {
    oauth: 'invalid_request',
    status: 400,
    says: 'A parameter is sent more than once.',
    todo: 'Send each parameter once.',
  },
  missing_parameter: {
    oauth: 'invalid_request',
    status: 400,
    says: 'A required parameter is missing.',
    todo: 'Send grant_type, subject_token, subject_token_type and authorization_details.',
  },
  unsupported_media_type: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 415,
    says: 'The media type of the body is not accepted here.',
    todo: 'Send application/x-www-form-urlencoded to OAuth routes, application/json or application/yaml to /v1.',
  },
  body_too_large: {
    oauth: 'invalid_request',
    status: 413,
    says: 'The body is larger than this route accepts.',
    todo: 'Send at most 64 KiB to OAuth routes and 1 MiB to /v1.',
  },
  request_timeout: {
    oauth: 'invalid_request',
    status: 408,
    says: 'The request was not received in time.',
    todo: 'Send the whole request within 15 seconds.',
  },
  method_not_allowed: {
    oauth: 'invalid_request',
    status: 405,
    says: 'The method is not allowed here.',
    todo: 'See the Allow header.',
  },
  unsupported_grant_type: {
    oauth: 'unsupported_grant_type',
    status: 400,
    says: 'The grant type is not supported.',
    todo: 'Use urn:ietf:params:oauth:grant-type:token-exchange.',
  },
  unsupported_token_type: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The token type is not supported for this grant.',
    todo: 'Send subject_token_type :jwt, :id_token, or :access_token with a task token; leave requested_token_type out.',
  },
  already_issued: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 409,
    says: 'This Idempotency-Key has been answered; no credential is stored to answer again.',
    todo: 'Send a new key.',
  },
  idempotency_conflict: {
    oauth: 'invalid_request',
    status: 422,
    says: 'This Idempotency-Key was used with another body.',
    todo: 'Send a new key.',
  },
  not_found: {
    oauth: 'invalid_request',
    status: 404,
    says: 'No such thing.',
    todo: 'Check the path and the id.',
  },
  insecure_transport: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The request did not arrive over TLS.',
    todo: 'Use the https address; operators: see trustedProxies in docs/config.md.',
  },
  idempotency_in_progress: {
    oauth: 'invalid_request',
    status: 409,
    says: 'A request with this Idempotency-Key is still being answered.',
    todo: 'Repeat it in a moment.',
  },
} as const satisfies Record<string, ErrorRow>;
