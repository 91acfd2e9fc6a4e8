import { errorRow, type Reason } from '@mayfly/protocol';

/**
 * The caller asked for what it may not have: expected, audited once, never retried by us.
 * `message` is the public sentence of the table; `detail` goes to the audit log only and holds no secret.
 */
export class Refusal extends Error {
  readonly reason: Reason;
  readonly detail: string | undefined;
  /** Seconds after which asking again makes sense; only for counted limits. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    reason: Reason,
    options: { detail?: string; cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(errorRow(reason).says, { cause: options.cause });
    this.name = 'Refusal';
    this.reason = reason;
    this.detail = options.detail;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/**
 * Something we depend on failed. `effect: 'none'` means that it surely changed nothing outside;
 * `unknown` sends the issuance to the reaper. `detail` goes to log and audit and holds no secret.
 */
export class Fault extends Error {
  readonly reason: Reason;
  readonly effect: 'none' | 'unknown';
  readonly detail: string | undefined;
  /** Nothing is wrong, it is only not our turn: seconds after which it may be. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    reason: Reason,
    options: { effect: 'none' | 'unknown'; detail?: string; cause?: unknown; retryAfterSeconds?: number },
  ) {
    super(errorRow(reason).says, { cause: options.cause });
    this.name = 'Fault';
    this.reason = reason;
    this.effect = options.effect;
    this.detail = options.detail;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
