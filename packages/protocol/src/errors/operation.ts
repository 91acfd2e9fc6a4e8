import type { ErrorRow } from './row.ts';

/** What operators change, and what fails beneath the broker. */
export const operationErrors = {
  issuer_unavailable: {
    oauth: 'temporarily_unavailable',
    status: 503,
    says: 'The keys of the issuer cannot be read now.',
    todo: 'Retry; operators: the log says why, by request id.',
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
    todo: 'Ask the operators.',
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
    todo: 'Operators: the log says why, by request id.',
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
