/**
 * Every reason that the broker gives, one row each. docs/errors.md is generated from it.
 * `oauth` is the error code at the OAuth endpoints (RFC 6749 5.2, 8693 2.2.2, 9396 5), `status` the HTTP status there;
 * `apiStatus` the status under /v1 where it differs. `says` is public and constant: no input, no policy text.
 */
interface ErrorRow {
  readonly oauth: string;
  readonly status: number;
  readonly apiStatus?: number;
  readonly says: string;
  readonly todo: string;
}

const staleAssertion =
  'The token is not acceptable here. It must be a fresh, unused assertion of a trusted issuer, made for this audience.';

export const errorCodes = {
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
  delegation_not_granted: {
    oauth: 'invalid_request',
    status: 400,
    says: 'No delegation rule allows this actor.',
    todo: 'Leave actor_token out.',
  },
  assertion_invalid: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 401,
    says: staleAssertion,
    todo: 'Take a new assertion; `mayfly whoami` shows what the broker sees. The audit log holds the exact cause.',
  },
  assertion_replayed: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 401,
    says: staleAssertion,
    todo: 'Take a new assertion for each exchange, or use the task token.',
  },
  issuer_unavailable: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The keys of the issuer cannot be read now.',
    todo: 'Retry; operators: `mayfly doctor`.',
  },
  workload_not_matched: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 403,
    says: 'No template of this name is open to this workload.',
    todo: 'Ask the owner of the template, with `mayfly explain` and the issuance id.',
  },
  opener_not_allowed: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 403,
    says: 'The caller may not open this task.',
    todo: 'Ask the owner of the template to name the opener.',
  },
  template_disabled: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 409,
    says: 'The template is disabled or deleted.',
    todo: 'Ask the owner of the template.',
  },
  params_invalid: {
    oauth: 'invalid_authorization_details',
    status: 400,
    says: 'The parameters do not fit the template.',
    todo: 'Compare them with `mayfly describe template NAME`.',
  },
  task_unknown: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 404,
    says: 'No such task.',
    todo: 'Check the id and that the task belongs to this workload.',
  },
  task_ended: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 409,
    says: 'The task has ended.',
    todo: 'Open a new task.',
  },
  task_suspended: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 409,
    says: 'The task is suspended.',
    todo: 'Wait until an operator resumes it.',
  },
  task_not_suspended: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 409,
    says: 'The task is not suspended.',
    todo: 'Nothing is to be resumed.',
  },
  ref_conflict: {
    oauth: 'invalid_target',
    status: 400,
    apiStatus: 409,
    says: 'The ref is in use with other parameters.',
    todo: 'Send the same parameters, or another ref.',
  },
  tool_not_granted: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The tool is not granted to this task.',
    todo: 'Ask the owner of the template, with `mayfly explain` and the issuance id.',
  },
  resource_outside_grant: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The resource lies outside the grant.',
    todo: 'Ask for a resource inside the grant.',
  },
  action_outside_grant: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The action lies outside the grant.',
    todo: 'Ask for actions inside the grant.',
  },
  grant_ended: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The grant has ended.',
    todo: 'Open a new task.',
  },
  too_little_time_left: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The task ends before the shortest credential would.',
    todo: 'Open a new task.',
  },
  target_ambiguous: {
    oauth: 'invalid_target',
    status: 400,
    says: 'The request names no single target.',
    todo: 'Name one tool and one resource; resource and audience, if sent, must agree with them.',
  },
  details_malformed: {
    oauth: 'invalid_authorization_details',
    status: 400,
    says: 'The authorization_details are malformed.',
    todo: 'Send a JSON array of exactly one mayfly_tool_call; see schemas/.',
  },
  identifier_malformed: {
    oauth: 'invalid_authorization_details',
    status: 400,
    says: 'The identifier does not name one thing of the size the grant opens.',
    todo: 'Send a whole identifier without patterns, variables or path tricks.',
  },
  ttl_too_long: {
    oauth: 'invalid_authorization_details',
    status: 400,
    says: 'The ttl is above the maximum of the grant.',
    todo: 'Leave ttl out, or ask for less.',
  },
  ttl_too_short: {
    oauth: 'invalid_authorization_details',
    status: 400,
    says: 'The ttl is below what the provider can hold.',
    todo: 'Leave ttl out, or ask for more.',
  },
  budget_spent: {
    oauth: 'access_denied',
    status: 400,
    apiStatus: 409,
    says: 'The budget of the grant is spent.',
    todo: 'Open a new task, or ask the owner of the template.',
  },
  rate_limited: {
    oauth: 'temporarily_unavailable',
    status: 429,
    says: 'Too many in this time.',
    todo: 'Retry after the time in Retry-After.',
  },
  too_many_open_tasks: {
    oauth: 'temporarily_unavailable',
    status: 429,
    says: 'Too many open tasks of this workload.',
    todo: 'End a task first.',
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
  frozen: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'Issuing is frozen by an operator.',
    todo: 'Wait for the thaw; `mayfly get freeze` shows the reason to operators.',
  },
  recovery_required: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The database is older than what was known; nothing is issued.',
    todo: 'Operators: `mayfly recover`.',
  },
  database_unavailable: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The database is unavailable; nothing is issued.',
    todo: 'Retry.',
  },
  provider_unavailable: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The provider is unavailable; nothing was issued.',
    todo: 'Retry.',
  },
  provider_refused: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The provider refused the broker; nothing was issued.',
    todo: 'Operators: `mayfly doctor`.',
  },
  overloaded: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'Too much load.',
    todo: 'Retry after the time in Retry-After.',
  },
  not_delivered: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The credential could not be recorded in time and was withheld.',
    todo: 'Retry.',
  },
  unauthenticated: {
    oauth: 'invalid_token',
    status: 401,
    says: 'A valid bearer token is needed.',
    todo: 'Send an assertion of a trusted issuer, or a task token for its own task.',
  },
  role_required: {
    oauth: 'insufficient_scope',
    status: 403,
    says: 'The caller holds no role for this.',
    todo: 'Ask an admin for a RoleBinding; `mayfly whoami` shows the roles held.',
  },
  not_found: {
    oauth: 'invalid_request',
    status: 404,
    says: 'No such thing.',
    todo: 'Check the path and the id.',
  },
  document_invalid: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The documents do not pass; nothing was applied.',
    todo: 'Mend each listed error; `mayfly lint` shows them offline.',
  },
  set_conflict: {
    oauth: 'invalid_request',
    status: 409,
    says: 'A document belongs to another set.',
    todo: 'Apply it in its own set, or take it over with --take-over.',
  },
  bundle_read_only: {
    oauth: 'invalid_request',
    status: 409,
    says: 'Documents of the bundle are changed only by its files.',
    todo: 'Change the files of MAYFLY_BUNDLE and restart.',
  },
  clock_off: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The clock of this replica is off; it issues nothing.',
    todo: 'Retry; operators: mend the time service of the machine, `mayfly doctor` shows by how much it is off.',
  },
  grant_not_authentic: {
    oauth: 'server_error',
    status: 500,
    says: 'The stored grant is not what its template gives; nothing was issued.',
    todo: 'Operators: somebody wrote to the database beside the broker; see the audit log.',
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
  plan_check_failed: {
    oauth: 'server_error',
    status: 500,
    says: 'The plan did not pass the independent check; nothing was issued.',
    todo: 'Operators: this is a bug or an attack; see the audit log.',
  },
  internal: {
    oauth: 'server_error',
    status: 500,
    says: 'Something failed that should not.',
    todo: 'Tell the operators the request id.',
  },
} as const satisfies Record<string, ErrorRow>;

export type Reason = keyof typeof errorCodes;

export function errorRow(reason: Reason): ErrorRow {
  return errorCodes[reason];
}
