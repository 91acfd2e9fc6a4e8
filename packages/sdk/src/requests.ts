import type { Subject } from './identity.ts';
import { grantTypeTokenExchange, type Json, subjectTokenType } from './wire.ts';

/** A request before it has a server. */
export interface Draft {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A request of /v1 with its Bearer; with a body it is a POST of JSON unless said otherwise. */
export function apiRequest(
  { token }: Subject,
  { method = 'POST', path, json, headers = {} }: ApiRequest,
): Draft {
  const authorization = `Bearer ${token.reveal()}`;
  if (json === undefined) return { method, path, headers: { authorization, ...headers } };
  const body = JSON.stringify(json);
  return { method, path, headers: { authorization, 'content-type': 'application/json', ...headers }, body };
}

export interface ApiRequest {
  readonly method?: string;
  readonly path: string;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `POST /token` with one authorization detail (RFC 9396); `requestedTokenType` refuses any other kind before it is minted. */
export function exchangeForm({ token, kind }: Subject, detail: Json, requestedTokenType?: string): Draft {
  const form = new URLSearchParams({
    grant_type: grantTypeTokenExchange,
    subject_token: token.reveal(),
    subject_token_type: subjectTokenType[kind],
    authorization_details: JSON.stringify([detail]),
    ...(requestedTokenType === undefined ? {} : { requested_token_type: requestedTokenType }),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', path: '/token', headers, body: form.toString() };
}
