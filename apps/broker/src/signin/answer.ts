import { Refusal } from '@mayfly/core';
import { isStorableText, type Reason } from '@mayfly/protocol';
import type { Answered } from './drive.ts';

/** Longest word of the provider that goes into the audit log. */
const detailCharactersMax = 200;

const reasons: Readonly<Record<string, Reason>> = {
  authorization_pending: 'sign_in_pending',
  slow_down: 'sign_in_slow_down',
  expired_token: 'sign_in_expired',
  access_denied: 'sign_in_denied',
  // Of a device code whose sign-in failed on our side.
  server_error: 'sign_in_denied',
  invalid_grant: 'sign_in_code_invalid',
  invalid_client: 'sign_in_client_unknown',
  invalid_scope: 'sign_in_scope_invalid',
};

/** The JSON of a good answer; an error of the provider as a Refusal, a failure beneath it as it was thrown. */
export function jsonOf({ status, body, error }: Answered): Readonly<Record<string, unknown>> {
  if (status === 200) return { ...Object(JSON.parse(body)) };
  throw asRefusal(error) ?? error ?? new Error(`the provider answered ${status}`);
}

/** What the provider says of a request; undefined for what is a failure of ours. */
export function asRefusal(error: unknown): Refusal | undefined {
  if (error instanceof TypeError && /persist can only be called on previously persisted/.test(error.message))
    // How the provider meets a form of a browser without session: its cookie was not kept, or is over.
    return new Refusal('sign_in_lost', { detail: 'no session', cause: error });
  const code: unknown = Reflect.get(Object(error), 'error');
  if (!(error instanceof Error) || typeof code !== 'string') return undefined;
  const said: unknown = Reflect.get(error, 'error_detail') ?? Reflect.get(error, 'error_description');
  const detail = typeof said === 'string' && isStorableText(said) ? said.slice(0, detailCharactersMax) : code;
  const reason = Object.hasOwn(reasons, code) ? reasons[code] : undefined;
  return new Refusal(reason ?? 'sign_in_request_invalid', { detail, cause: error });
}
