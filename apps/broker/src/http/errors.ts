import { Fault, Refusal } from '@mayfly/core';
import { errorRow, formatId, type Problem, type Reason } from '@mayfly/protocol';

/** What a route answers; sent by one function, so that headers are right everywhere. */
export interface Reply {
  readonly status: number;
  /** JSON, text as it stands, or pieces of text to be sent as they come. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly contentType?: string;
}

export interface ErrorContext {
  readonly issuer: string;
  readonly requestId: string;
  readonly issuanceId?: string | null;
}

/** Seconds that a client waits where no better number is known. */
const retrySeconds = 1;

/** RFC 6749 section 5.2 with our stable `reason`. Constant public sentences: no input, no policy text. */
export function oauthError(error: unknown, { issuer, requestId, issuanceId }: ErrorContext): Reply {
  const { reason, retryAfterSeconds } = known(error);
  const row = errorRow(reason);
  return {
    status: row.status,
    headers: headersFor(row.status, retryAfterSeconds, error),
    body: {
      error: row.oauth,
      error_description: row.says,
      error_uri: `${issuer}/errors/${reason}`,
      reason,
      ...(issuanceId == null ? {} : { issuance_id: formatId('isn', issuanceId) }),
      ...(reason === 'already_issued' && error instanceof Refusal ? { issuance_id: error.detail } : {}),
      trace_id: requestId,
    },
  };
}

/** RFC 9457. `errors` lists documents' errors with their positions. */
export function problem(error: unknown, { issuer, requestId }: ErrorContext): Reply {
  const { reason, retryAfterSeconds } = known(error);
  const row = errorRow(reason);
  const status = row.apiStatus ?? row.status;
  const body: Problem = {
    type: `${issuer}/errors/${reason}`,
    title: row.says,
    status,
    detail: row.todo,
    instance: `urn:mayfly:request:${requestId}`,
    reason,
    ...(error instanceof DocumentsRefused ? { errors: error.errors } : {}),
  };
  return {
    status,
    body,
    headers: headersFor(status, retryAfterSeconds, error),
    contentType: 'application/problem+json',
  };
}

/** Documents that do not pass, with every error at once. */
export class DocumentsRefused extends Refusal {
  readonly errors: readonly string[];

  constructor(errors: readonly string[], reason: Reason = 'document_invalid') {
    super(reason, { detail: `${errors.length} errors` });
    this.errors = errors;
  }
}

/** Wrong method on a known path; carries the Allow header (RFC 9110 section 15.5.6). */
export class MethodRefused extends Refusal {
  readonly allow: string;

  constructor(allow: string) {
    super('method_not_allowed');
    this.allow = allow;
  }
}

function known(error: unknown): { reason: Reason; retryAfterSeconds: number | undefined } {
  if (error instanceof Refusal) return error;
  if (error instanceof Fault) return { reason: error.reason, retryAfterSeconds: undefined };
  return { reason: 'internal', retryAfterSeconds: undefined };
}

function headersFor(
  status: number,
  retryAfterSeconds: number | undefined,
  error: unknown,
): Record<string, string> {
  const headers: Record<string, string> = {};
  if (status === 429 || status === 503) headers['retry-after'] = String(retryAfterSeconds ?? retrySeconds);
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="mayfly", error="invalid_token"';
  if (status === 403) headers['www-authenticate'] = 'Bearer realm="mayfly", error="insufficient_scope"';
  if (error instanceof MethodRefused) headers['allow'] = error.allow;
  return headers;
}
