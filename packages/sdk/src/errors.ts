import { type Asked, humanMessage, modelMessage } from './messages.ts';

export interface ErrorFacts {
  /** Stable code: one of docs/errors.md, or one of the sdk's own (README). */
  readonly reason: string;
  /** Public sentence: what is wrong. */
  readonly says: string;
  /** What to do about it. */
  readonly todo?: string | undefined;
  readonly status?: number | undefined;
  readonly issuanceId?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  readonly asked?: Asked | undefined;
  /** Errors of documents, each with its position. */
  readonly errors?: readonly string[] | undefined;
  /** Never an error that quotes a body, a header or what a command printed. */
  readonly cause?: unknown;
}

export type ErrorName =
  | 'Refused'
  | 'TaskOver'
  | 'RateLimited'
  | 'Unavailable'
  | 'Misconfigured'
  | 'NoIdentity';

/** Whatever the sdk throws. Holds no token and no credential, in no field and no cause. */
export class MayflyError extends Error {
  readonly reason: string;
  /** HTTP status of the answer; null where there was none. */
  readonly status: number | null;
  /** `isn_...` of the refused exchange: whoever may see it asks `mayfly explain isn_...`. */
  readonly issuanceId: string | null;
  /** The same call may succeed later, unchanged. */
  readonly retryable: boolean;
  /** What the server asked to wait, in seconds. */
  readonly retryAfterSeconds: number | null;
  readonly asked: Asked;
  readonly says: string;

  constructor(facts: ErrorFacts, { name, retryable = false }: { name: ErrorName; retryable?: boolean }) {
    super(humanMessage(facts, name), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = name;
    this.reason = facts.reason;
    this.says = facts.says;
    this.status = facts.status ?? null;
    this.issuanceId = facts.issuanceId ?? null;
    this.retryable = retryable;
    this.retryAfterSeconds = facts.retryAfterSeconds ?? null;
    this.asked = facts.asked ?? {};
  }

  /** A short text for the model that made the call: what was refused, what to do instead, whom to quote. No secrets. */
  toModelMessage(): string {
    return modelMessage(this);
  }
}

/** The server said no; the same call gives the same answer. */
export class Refused extends MayflyError {
  constructor(facts: ErrorFacts, name: 'Refused' | 'TaskOver' = 'Refused') {
    super(facts, { name });
  }
}

/** The task has ended, is suspended, or its lease is lost: nothing more is to be had in it. */
export class TaskOver extends Refused {
  /** State of the task as the server names it, for example `suspended` or `completed`. */
  readonly state: string;

  constructor(facts: ErrorFacts & { readonly state: string }) {
    super(facts, 'TaskOver');
    this.state = facts.state;
  }
}

/** Too many in this time (429). */
export class RateLimited extends MayflyError {
  constructor(facts: ErrorFacts) {
    super(facts, { name: 'RateLimited', retryable: true });
  }
}

/** It could not be found out: no answer, no readable answer, or the server cannot now (5xx). */
export class Unavailable extends MayflyError {
  constructor(facts: ErrorFacts, retryable = true) {
    super(facts, { name: 'Unavailable', retryable });
  }
}

/** An option or a variable of the environment cannot be used. */
export class Misconfigured extends MayflyError {
  constructor(facts: ErrorFacts, name: 'Misconfigured' | 'NoIdentity' = 'Misconfigured') {
    super(facts, { name });
  }
}

/** One place where an identity was looked for. */
export interface SourceReport {
  readonly source: string;
  readonly taken: boolean;
  /** Why it was taken or not; never the value. */
  readonly says: string;
}

/** No source gave an identity; `tried` says why not, one by one. */
export class NoIdentity extends Misconfigured {
  readonly tried: readonly SourceReport[];

  constructor(tried: readonly SourceReport[]) {
    const list = tried.map(({ source, says }) => `${source}: ${says}`).join('; ');
    const todo = 'Set MAYFLY_ASSERTION, MAYFLY_ASSERTION_FILE or MAYFLY_ASSERTION_COMMAND.';
    super({ reason: 'no_identity', says: `no identity. Tried ${list}.`, todo }, 'NoIdentity');
    this.tried = tried;
  }
}
