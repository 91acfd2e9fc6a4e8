import type { ErrorRow } from './row.ts';

const staleAssertion =
  'The token is not acceptable here. It must be a fresh, unused assertion of a trusted issuer, made for this audience.';

/** Who asks, and how that is proven. */
export const identityErrors = {
  delegation_not_granted: {
    oauth: 'invalid_request',
    status: 400,
    says: 'No delegation rule allows this actor.',
    todo: 'Leave actor_token out.',
  },
  dpop_invalid: {
    oauth: 'invalid_dpop_proof',
    status: 400,
    apiStatus: 401,
    says: 'The DPoP proof is not valid for this request.',
    todo: 'Make a fresh proof for exactly this method and URL (RFC 9449 section 4.2); the audit log holds the exact cause.',
  },
  dpop_replayed: {
    oauth: 'invalid_dpop_proof',
    status: 400,
    apiStatus: 401,
    says: 'The DPoP proof is not valid for this request.',
    todo: 'Make a fresh proof for each request.',
  },
  dpop_nonce_needed: {
    oauth: 'use_dpop_nonce',
    status: 400,
    apiStatus: 401,
    says: 'The DPoP proof needs a nonce.',
    todo: 'Repeat with the nonce of the DPoP-Nonce header (RFC 9449 section 8).',
  },
  proof_required: {
    oauth: 'invalid_dpop_proof',
    status: 400,
    apiStatus: 401,
    says: 'This needs a proof of possession by the right key.',
    todo: 'Send a DPoP proof, or connect with the client certificate, as the template or the token demands.',
  },
  client_assertion_invalid: {
    oauth: 'invalid_client',
    status: 401,
    says: 'The client authentication failed.',
    todo: 'Leave it out (the subject token says who you are), or send an assertion of the same workload.',
  },
  may_act_mismatch: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The subject token names another actor.',
    todo: 'Only the party named in its may_act claim may act for this subject.',
  },
  delegation_too_deep: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The chain of actors is too long.',
    todo: 'At most four actors may stand between subject and tool.',
  },
  actor_required: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The template demands an actor.',
    todo: 'Send actor_token and actor_token_type.',
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
  session_revoked: {
    oauth: 'invalid_request',
    status: 400,
    apiStatus: 401,
    says: staleAssertion,
    todo: 'Sign in again: the issuer has said that what was signed before holds no more.',
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
} as const satisfies Record<string, ErrorRow>;
