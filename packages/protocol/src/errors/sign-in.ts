import type { ErrorRow } from './row.ts';

/** People's sign-in (RFC 6749, 7636, 8628). */
export const signInErrors = {
  sign_in_pending: {
    oauth: 'authorization_pending',
    status: 400,
    says: 'The sign-in is not finished yet.',
    todo: 'Open the address that was shown, then ask again after the interval.',
  },
  sign_in_slow_down: {
    oauth: 'slow_down',
    status: 400,
    says: 'The code was asked for too soon.',
    todo: 'Wait five seconds longer between two requests from now on (RFC 8628 section 3.5).',
  },
  sign_in_expired: {
    oauth: 'expired_token',
    status: 400,
    says: 'The device code has expired.',
    todo: 'Start again with `mayfly login`.',
  },
  sign_in_denied: {
    oauth: 'access_denied',
    status: 400,
    says: 'The sign-in was refused.',
    todo: 'Start again with `mayfly login`; the audit log holds the cause.',
  },
  sign_in_code_invalid: {
    oauth: 'invalid_grant',
    status: 400,
    says: 'The code is unknown, used, expired, or not of this client and verifier.',
    todo: 'Start the sign-in again; a code is good once.',
  },
  sign_in_client_unknown: {
    oauth: 'invalid_client',
    status: 401,
    says: 'The client is not known here.',
    todo: 'Use mayfly-cli for the device flow or mayfly-console for the code flow; clients are not registered.',
  },
  sign_in_request_invalid: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The sign-in request is not valid.',
    todo: 'See docs/sign-in.md for the clients and what each may ask for.',
  },
  sign_in_scope_invalid: {
    oauth: 'invalid_scope',
    status: 400,
    says: 'The scope is not offered.',
    todo: 'Ask for the scope openid.',
  },
  sign_in_lost: {
    oauth: 'invalid_request',
    status: 400,
    says: 'This browser has no sign-in of this kind going on.',
    todo: 'Start again, in one browser, and do not go back.',
  },
  sign_in_upstream_refused: {
    oauth: 'access_denied',
    status: 400,
    apiStatus: 403,
    says: 'The identity provider of the organisation did not confirm the sign-in.',
    todo: 'Start again; the audit log holds the exact cause.',
  },
  sign_in_person_refused: {
    oauth: 'access_denied',
    status: 400,
    apiStatus: 403,
    says: 'This person may not sign in here.',
    todo: 'Ask an admin: the TrustedIssuer must speak for people and for this subject.',
  },
  sign_in_rate: {
    oauth: 'temporarily_unavailable',
    status: 429,
    says: 'Too many sign-ins are being started.',
    todo: 'Wait as Retry-After says.',
  },
} as const satisfies Record<string, ErrorRow>;
