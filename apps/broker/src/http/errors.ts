import { Fault, Refusal } from '@mayfly/core';
import { errorRow, formatId, type Problem, type Reason } from '@mayfly/protocol';
import { dpopAlgorithms } from '../proof/dpop.ts';
import { resourceMetadataPath } from './metadata-parts.ts';

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
    headers: headersFor(row.status, { retryAfterSeconds, error }),
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
    headers: headersFor(status, { retryAfterSeconds, error, resource: issuer }),
    contentType: 'application/problem+json',
  };
}

/** Documents that do not pass, with every error at once. */
export class DocumentsRefused extends Refusal {
  readonly errors: readonly string[];

  constructor(
    errors: readonly string[],
    reason: Reason = 'document_invalid',
    detail = `${errors.length} errors`,
  ) {
    super(reason, { detail });
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

/** Nothing that we could look at: no Authorization header, or one of a scheme that is not ours. */
export class CredentialsMissing extends Refusal {
  constructor() {
    super('unauthenticated', { detail: 'no bearer token' });
  }
}

/** Client authentication at the token endpoint that failed; `scheme` is set when it came as an Authorization header. */
export class ClientRefused extends Refusal {
  readonly scheme: string | null;

  constructor(detail: string, scheme: string | null = null) {
    super('client_assertion_invalid', { detail });
    this.scheme = scheme;
  }
}

function known(error: unknown): { reason: Reason; retryAfterSeconds: number | undefined } {
  if (error instanceof Refusal) return error;
  if (error instanceof Fault) return { reason: error.reason, retryAfterSeconds: undefined };
  return { reason: 'internal', retryAfterSeconds: undefined };
}

function headersFor(
  status: number,
  {
    retryAfterSeconds,
    error,
    resource,
  }: {
    readonly retryAfterSeconds: number | undefined;
    readonly error: unknown;
    /** Set for /v1: the protected resource whose metadata a caller may want (RFC 9728 section 5.1). */
    readonly resource?: string;
  },
): Record<string, string> {
  const headers: Record<string, string> = {};
  if (status === 429 || status === 503) headers['retry-after'] = String(retryAfterSeconds ?? retrySeconds);
  const challenge = challengeFor(status, error);
  if (challenge !== undefined)
    headers['www-authenticate'] =
      resource === undefined
        ? challenge
        : `${challenge}, resource_metadata="${resource}${resourceMetadataPath}"`;
  if (error instanceof MethodRefused) headers['allow'] = error.allow;
  return headers;
}

/** RFC 6750 section 3: without credentials no error code; RFC 6749 section 5.2: the scheme that the client tried. */
function challengeFor(status: number, error: unknown): string | undefined {
  if (status === 403) return 'Bearer realm="mayfly", error="insufficient_scope"';
  if (status !== 401) return undefined;
  if (error instanceof ClientRefused && error.scheme !== null) return `${error.scheme} realm="mayfly"`;
  if (error instanceof Refusal && error.reason === 'client_assertion_invalid') return undefined;
  if (error instanceof CredentialsMissing) return 'Bearer realm="mayfly"';
  const { oauth } = errorRow(known(error).reason);
  // RFC 9449 section 7.1: the challenge of what is wrong.
  if (oauth === 'invalid_dpop_proof' || oauth === 'use_dpop_nonce')
    return `DPoP realm="mayfly", error="${oauth}", algs="${dpopAlgorithms.join(' ')}"`;
  return 'Bearer realm="mayfly", error="invalid_token"';
}
