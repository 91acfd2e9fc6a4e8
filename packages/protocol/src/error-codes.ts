import { eventErrors } from './errors/events.ts';
import { identityErrors } from './errors/identity.ts';
import { operationErrors } from './errors/operation.ts';
import { requestErrors } from './errors/request.ts';
import type { ErrorRow } from './errors/row.ts';
import { signInErrors } from './errors/sign-in.ts';
import { targetErrors } from './errors/target.ts';

/** Every reason that the broker gives, one row each. docs/errors.md is generated from it. */
export const errorCodes = {
  ...requestErrors,
  ...identityErrors,
  ...eventErrors,
  ...targetErrors,
  ...operationErrors,
  ...signInErrors,
} as const satisfies Record<string, ErrorRow>;

export type Reason = keyof typeof errorCodes;

export function errorRow(reason: Reason): ErrorRow {
  return errorCodes[reason];
}
