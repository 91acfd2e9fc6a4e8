import { type ExchangeRequest, Refusal } from '@mayfly/core';
import { grantTypeTokenExchange, parseAuthorizationDetails, parseId, tokenType } from '@mayfly/protocol';

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
}

/** `application/x-www-form-urlencoded`, strictly UTF-8. Throws a Refusal; nothing in a message comes from the form. */
export function parseForm(body: Uint8Array): URLSearchParams {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new Refusal('malformed_request', { detail: 'not UTF-8' });
  }
  return new URLSearchParams(text);
}

/** The parameters of RFC 8693 section 2.1, RFC 8707 and RFC 9396 as one ExchangeRequest. Pure. */
export function parseTokenRequest(form: URLSearchParams, context: FormContext): ExchangeRequest {
  const single = (name: string) => form.getAll(name).find((value) => value !== '') ?? null;
  refuseRepeated(form);
  const grantType = single('grant_type');
  if (grantType === null) throw new Refusal('missing_parameter', { detail: 'grant_type' });
  if (grantType !== grantTypeTokenExchange) throw new Refusal('unsupported_grant_type');
  refuseActor(single('actor_token'), single('actor_token_type'));
  const subject = parseSubject(single('subject_token'), single('subject_token_type'));
  const grantId = parseAudience(form, context.issuer);
  const details = single('authorization_details');
  if (details === null && grantId === null)
    throw new Refusal('missing_parameter', { detail: 'authorization_details' });
  if (details !== null && grantId !== null)
    throw new Refusal('target_ambiguous', { detail: 'authorization_details and audience' });
  const parsed = details === null ? null : parseAuthorizationDetails(details);
  if (parsed !== null && !parsed.ok) throw new Refusal('details_malformed', { detail: parsed.problem });
  return {
    subject,
    detail: parsed === null ? null : parsed.detail,
    grantId,
    requestedTokenType: single('requested_token_type'),
    resource: parseResource(form),
    idempotencyKey: context.idempotencyKey,
    requestId: context.requestId,
  };
}

// One pass: looking each name up again would take seconds for a body of nothing but names.
export function refuseRepeated(form: URLSearchParams): void {
  if (form.size > parametersMax) throw new Refusal('malformed_request', { detail: 'too many parameters' });
  const seen = new Set<string>();
  for (const name of form.keys()) {
    if (seen.has(name) && !repeatable.has(name)) throw new Refusal('repeated_parameter');
    seen.add(name);
  }
}

function refuseActor(actorToken: string | null, actorTokenType: string | null): void {
  // RFC 8693 section 2.1: the type goes with the token; without a delegation rule an actor is never silently dropped.
  if ((actorToken === null) !== (actorTokenType === null))
    throw new Refusal('malformed_request', { detail: 'actor_token and actor_token_type belong together' });
  if (actorToken !== null) throw new Refusal('delegation_not_granted');
}

function parseSubject(token: string | null, type: string | null): ExchangeRequest['subject'] {
  if (token === null || type === null) throw new Refusal('missing_parameter', { detail: 'subject_token' });
  if (token.length > tokenCharactersMax) throw new Refusal('assertion_invalid', { detail: 'too long' });
  if (type === tokenType.jwt || type === tokenType.idToken) return { kind: 'assertion', token };
  if (type === tokenType.accessToken) return { kind: 'task-token', token };
  throw new Refusal('unsupported_token_type', { detail: 'subject_token_type' });
}

function parseAudience(form: URLSearchParams, issuer: string): string | null {
  const values = form.getAll('audience').filter((value) => value !== '');
  if (values.length === 0) return null;
  const [first = ''] = values;
  const prefix = `${issuer}/grants/`;
  if (values.length > 1 || !first.startsWith(prefix))
    throw new Refusal('target_ambiguous', { detail: 'audience names no stored grant' });
  const id = parseId('grt', first.slice(prefix.length));
  // The same answer as for a grant of someone else's task.
  if (id === undefined) throw new Refusal('task_unknown', { detail: 'grant id' });
  return id;
}

/** RFC 8707 section 2: an absolute URI without fragment. */
function parseResource(form: URLSearchParams): string | null {
  const values = form.getAll('resource').filter((value) => value !== '');
  const [first] = values;
  if (first === undefined) return null;
  if (values.length > 1) throw new Refusal('target_ambiguous', { detail: 'more than one resource' });
  if (!URL.canParse(first) || first.includes('#'))
    throw new Refusal('target_ambiguous', { detail: 'resource' });
  return first;
}
