import { Refusal } from '@mayfly/core';
import { parseClient } from '../http/client-assertion.ts';
import { ClientRefused, oauthError, type Reply } from '../http/errors.ts';
import type { RawRequest } from '../http/request.ts';
import { refuseRepeated, singleOf } from '../http/token-request.ts';
import { jsonOf } from './answer.ts';
import { type Client, grantTypeDevice } from './clients.ts';
import type { Parts } from './sign-in.ts';

/** Codes and verifiers are far shorter. */
const valueCharactersMax = 512;

/** Only these reach the provider; the rest of a form is ignored, as everywhere (standards.md A5). */
const parameters = [
  'grant_type',
  'client_id',
  'code',
  'code_verifier',
  'redirect_uri',
  'device_code',
] as const;

/** `password`, `client_credentials`, `refresh_token` and the like are nobody's here. */
export function takesForm(form: URLSearchParams, clients: readonly Client[]): boolean {
  const types = form.getAll('grant_type').filter((value) => value !== '');
  return types.length === 1 && clients.some(({ grantType }) => grantType === types[0]);
}

/** `POST /token` of a sign-in: a person's token, or a refusal in the form of all others. */
export async function postSignInToken(
  parts: Parts,
  request: RawRequest,
  form: URLSearchParams,
): Promise<Reply> {
  const context = { issuer: parts.config.issuer, requestId: request.id };
  try {
    return { status: 200, body: await redeem(parts, request, form) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    // A device code that was denied was recorded when it was.
    const denied = error.reason === 'sign_in_denied';
    if (!denied) await parts.record(error, { requestId: request.id, client: clientOf(form) });
    return oauthError(error, context);
  }
}

async function redeem(parts: Parts, { id: requestId, headers }: RawRequest, form: URLSearchParams) {
  refuseRepeated(form);
  // People's clients are public ones; whoever sends a secret or an assertion means another server.
  if (parseClient((name) => singleOf(form, name), headers) !== null)
    throw new ClientRefused('client_assertion');
  const asked = formOf(form);
  const code = asked.get('device_code');
  if (asked.get('grant_type') === grantTypeDevice && code !== null) await pace(parts, code);
  const accept = 'application/json';
  const answer = await parts
    .current()
    .driver.ask({ method: 'POST', url: '/token', form: asked, requestId, accept });
  return jsonOf(answer);
}

/** RFC 8628 section 3.5; the provider keeps no time of polls. */
async function pace({ rows, config }: Parts, code: string): Promise<void> {
  if (!(await rows.poll('DeviceCode', code, config.signInPollInterval)))
    throw new Refusal('sign_in_slow_down');
}

function formOf(form: URLSearchParams): URLSearchParams {
  const asked = new URLSearchParams();
  for (const name of parameters) {
    const value = singleOf(form, name) ?? '';
    if (value.length > valueCharactersMax) throw new Refusal('sign_in_request_invalid', { detail: name });
    if (value !== '') asked.set(name, value);
  }
  return asked;
}

/** For the log: a name of ours, or null; never what somebody made up. */
export function clientOf(form: URLSearchParams): string | null {
  const id = form.get('client_id') ?? '';
  return /^[a-z-]{1,32}$/.test(id) ? id : null;
}
