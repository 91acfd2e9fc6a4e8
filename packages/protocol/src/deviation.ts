import type { Reason } from './error-codes.ts';

/**
 * What a refusal says of the path that a task declared. `counts`: an attested caller asked for a tool, a resource, an
 * action or parameters outside what its live task was opened with. Everything else is no step off that path: the `form`
 * of a request, a `retry`, who asks (`identity`), a `limit`, a `state` that others brought about, a failure of `ours`.
 */
export type RefusalClass = 'counts' | 'form' | 'retry' | 'identity' | 'limit' | 'state' | 'ours';

/** Every reason has its class; docs/errors.md shows it. */
export const refusalClasses = {
  tool_not_granted: 'counts',
  resource_outside_grant: 'counts',
  action_outside_grant: 'counts',
  params_invalid: 'counts',
  ref_conflict: 'counts',
  child_exceeds_parent: 'counts',
  host_unknown: 'form',
  malformed_request: 'form',
  repeated_parameter: 'form',
  missing_parameter: 'form',
  unsupported_media_type: 'form',
  body_too_large: 'form',
  request_timeout: 'form',
  method_not_allowed: 'form',
  unsupported_grant_type: 'form',
  unsupported_token_type: 'form',
  idempotency_conflict: 'form',
  not_found: 'form',
  insecure_transport: 'form',
  details_malformed: 'form',
  identifier_malformed: 'form',
  target_ambiguous: 'form',
  scope_not_allowed: 'form',
  deferral_unknown: 'form',
  document_invalid: 'form',
  set_conflict: 'form',
  bundle_read_only: 'form',
  sign_in_client_unknown: 'form',
  sign_in_request_invalid: 'form',
  sign_in_scope_invalid: 'form',
  one_action_only: 'form',
  already_issued: 'retry',
  idempotency_in_progress: 'retry',
  sign_in_pending: 'retry',
  sign_in_slow_down: 'retry',
  delegation_not_granted: 'identity',
  dpop_invalid: 'identity',
  dpop_replayed: 'identity',
  dpop_nonce_needed: 'identity',
  proof_required: 'identity',
  client_assertion_invalid: 'identity',
  may_act_mismatch: 'identity',
  delegation_too_deep: 'identity',
  actor_required: 'identity',
  assertion_invalid: 'identity',
  assertion_replayed: 'identity',
  workload_not_matched: 'identity',
  opener_not_allowed: 'identity',
  unauthenticated: 'identity',
  role_required: 'identity',
  sign_in_expired: 'identity',
  sign_in_denied: 'identity',
  sign_in_code_invalid: 'identity',
  sign_in_lost: 'identity',
  sign_in_upstream_refused: 'identity',
  sign_in_person_refused: 'identity',
  task_unknown: 'identity',
  rate_limited: 'limit',
  too_many_open_tasks: 'limit',
  budget_spent: 'limit',
  ttl_too_long: 'limit',
  ttl_too_short: 'limit',
  too_little_time_left: 'limit',
  child_not_allowed: 'limit',
  sign_in_rate: 'limit',
  task_ended: 'state',
  task_suspended: 'state',
  task_not_suspended: 'state',
  grant_ended: 'state',
  template_disabled: 'state',
  frozen: 'state',
  quarantined: 'state',
  recovery_required: 'state',
  issuer_unavailable: 'ours',
  database_unavailable: 'ours',
  provider_unavailable: 'ours',
  provider_refused: 'ours',
  overloaded: 'ours',
  not_delivered: 'ours',
  clock_off: 'ours',
  grant_not_authentic: 'ours',
  plan_check_failed: 'ours',
  internal: 'ours',
} as const satisfies Record<Reason, RefusalClass>;

export function countsAsDeviation(reason: Reason): boolean {
  return refusalClasses[reason] === 'counts';
}

/** What a template lets a deviation do. */
export const deviationActs = ['note', 'suspend', 'end'] as const;
export type DeviationAct = (typeof deviationActs)[number];
