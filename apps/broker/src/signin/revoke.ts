import { auditEvent, Refusal } from '@mayfly/core';
import type { Reply } from '../http/errors.ts';
import type { RawRequest } from '../http/request.ts';
import { refuseRepeated, singleOf } from '../http/token-request.ts';
import type { Parts } from './sign-in.ts';

/**
 * RFC 7009 for a person's token: whoever holds it may end it. 200 once that is durable, and also for whatever is no
 * such token (section 2.2).
 */
export async function postRevoke(
  { rows, newId, now }: Parts,
  request: RawRequest,
  form: URLSearchParams,
): Promise<Reply> {
  refuseRepeated(form);
  const token = singleOf(form, 'token') ?? '';
  if (token === '') throw new Refusal('missing_parameter', { detail: 'token' });
  await rows.end(token, ({ token: { accountId, clientId } }) => {
    const body = { requestId: request.id, client: String(clientId), by: 'holder' };
    return auditEvent({ newId, now: now() }, { type: 'signin.ended', actor: String(accountId), body });
  });
  return { status: 200, body: {} };
}
