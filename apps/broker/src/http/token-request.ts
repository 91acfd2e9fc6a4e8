import type { IncomingHttpHeaders } from 'node:http';
import { type ExchangeRequest, type Presented, Refusal } from '@mayfly/core';
import {
  grantTypeDeferred,
  grantTypeTokenExchange,
  parseAuthorizationDetails,
  type ToolCallDetail,
  tokenType,
} from '@mayfly/protocol';
import { parseClient } from './client-assertion.ts';
import { parseScope, refuseOutsideScope } from './scope.ts';
import { type NamedTarget, parseTarget } from './target.ts';

/** Longest subject token; workload tokens with many claims stay well below. */
const tokenCharactersMax = 16_384;
/** Far above what any client sends. */
const parametersMax = 64;
/** RFC 8693 section 2.1: only these may be sent more than once. */
const repeatable = new Set(['resource', 'audience']);

interface FormContext {
  readonly issuer: string;
  readonly requestId: string;
  readonly idempotencyKey: string | null;
  readonly presented: Presented;
  readonly headers: IncomingHttpHeaders;
}

/** `application/x-www-form-urlencoded`, strictly UTF-8, also behind `%`. Throws a Refusal; nothing in a message comes from the form. */
export function parseForm(body: Uint8Array): URLSearchParams {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    decodeURIComponent(text); // URLSearchParams would put U+FFFD for what is no UTF-8, so that two texts became one.
  } catch {
    throw new Refusal('malformed_request', { detail: 'not UTF-8' });
  }
  return new URLSearchParams(text);
}

/** The parameters of RFC 8693 section 2.1, RFC 8707 and RFC 9396 as one ExchangeRequest. Pure. */
export function parseTokenRequest(form: URLSearchParams, context: FormContext): ExchangeRequest {
  const single = (name: string) => singleOf(form, name);
  refuseRepeated(form);
  const grantType = single('grant_type');
  if (grantType === null) throw new Refusal('missing_parameter', { detail: 'grant_type' });
  if (grantType === grantTypeDeferred) refusePoll(single);
  if (grantType !== grantTypeTokenExchange) throw new Refusal('unsupported_grant_type');
  const client = parseClient(single, context.headers);
  const actor = parseActor(single('actor_token'), single('actor_token_type'));
  const subject = parseSubject(single('subject_token'), single('subject_token_type'));
  const named = parseTarget(form, context.issuer);
  const scope = parseScope(single('scope'));
  const detail = parseDetail(single('authorization_details'), named);
  refuseOutsideScope(scope, detail);
  return {
    subject,
    actor,
    presented: context.presented,
    client,
    detail,
    ...named,
    scope,
    requestedTokenType: single('requested_token_type'),
    idempotencyKey: context.idempotencyKey,
    requestId: context.requestId,
  };
}

function parseDetail(text: string | null, { grantId, targets }: NamedTarget): ToolCallDetail | null {
  if (text !== null) {
    const parsed = parseAuthorizationDetails(text);
    if (!parsed.ok) throw new Refusal('details_malformed', { detail: parsed.problem });
    return parsed.detail;
  }
  if (grantId !== null) return null;
  if (targets.length > 0) throw new Refusal('target_ambiguous', { detail: 'names no stored grant' });
  throw new Refusal('missing_parameter', { detail: 'authorization_details' });
}

/** The value of a parameter; one without a value counts as left out (RFC 6749 section 3.2). */
export function singleOf(form: URLSearchParams, name: string): string | null {
  return form.getAll(name).find((value) => value !== '') ?? null;
}

// One pass: looking each name up again would take seconds for a body of nothing but names.
export function refuseRepeated(form: URLSearchParams): void {
  if (form.size > parametersMax) throw new Refusal('malformed_request', { detail: 'too many parameters' });
  const seen = new Set<string>();
  for (const [name, value] of form) {
    if (value === '') continue;
    if (seen.has(name) && !repeatable.has(name)) throw new Refusal('repeated_parameter');
    seen.add(name);
  }
}

/** Nothing is deferred yet, so no code is known; `completion_mode` belongs to the first request, where it is ignored. */
function refusePoll(single: (name: string) => string | null): never {
  if (single('deferral_code') === null) throw new Refusal('missing_parameter', { detail: 'deferral_code' });
  if (single('completion_mode') !== null)
    throw new Refusal('malformed_request', { detail: 'completion_mode' });
  throw new Refusal('deferral_unknown');
}

/** RFC 8693 section 2.1: the type goes with the token. An actor is a workload: always an assertion, never a token of ours. */
function parseActor(token: string | null, type: string | null): ExchangeRequest['actor'] {
  if ((token === null) !== (type === null))
    throw new Refusal('malformed_request', { detail: 'actor_token and actor_token_type belong together' });
  if (token === null || type === null) return null;
  if (token.length > tokenCharactersMax) throw new Refusal('assertion_invalid', { detail: 'too long' });
  if (type === tokenType.jwt || type === tokenType.idToken) return { token };
  throw new Refusal('unsupported_token_type', { detail: 'actor_token_type' });
}

function parseSubject(token: string | null, type: string | null): ExchangeRequest['subject'] {
  if (token === null || type === null) throw new Refusal('missing_parameter', { detail: 'subject_token' });
  if (token.length > tokenCharactersMax) throw new Refusal('assertion_invalid', { detail: 'too long' });
  if (type === tokenType.jwt || type === tokenType.idToken) return { kind: 'assertion', token };
  if (type === tokenType.accessToken) return { kind: 'access-token', token };
  throw new Refusal('unsupported_token_type', { detail: 'subject_token_type' });
}
