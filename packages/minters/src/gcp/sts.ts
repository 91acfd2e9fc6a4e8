import type { CallContext } from '@mayfly/core';
import { z } from 'zod';
import { answerTimeoutMs, gcpCall, HttpStatus, lying } from './call.ts';
import { guardedFetch } from './fetch.ts';

const uri = 'urn:ietf:params:oauth:token-type';

const answerForm = z.object({
  access_token: z.string().min(1),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.number().int().min(0).optional(),
});
export type Exchanged = z.output<typeof answerForm>;

/** The broker's own assertion for a federated token of this scope. Byte for byte what google-auth-library sends. */
export function federationForm(input: {
  audience: string;
  scope: string;
  assertion: string;
}): URLSearchParams {
  return new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    audience: input.audience,
    scope: input.scope,
    requested_token_type: `${uri}:access_token`,
    subject_token: input.assertion,
    subject_token_type: `${uri}:jwt`,
  });
}

/** An access token for a narrower one. `options` is encoded once, as google-auth-library does. */
export function downscopingForm(input: { accessToken: string; options: string }): URLSearchParams {
  return new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    requested_token_type: `${uri}:access_token`,
    subject_token: input.accessToken,
    subject_token_type: `${uri}:access_token`,
    options: input.options,
  });
}

/** One exchange at Google's STS: tried once, within the signal and a deadline of its own. */
export function exchangeToken(
  endpoint: string,
  form: URLSearchParams,
  context: Pick<CallContext, 'signal'>,
): Promise<Exchanged> {
  return gcpCall('ExchangeToken', context, async () => {
    const answer = await guardedFetch(`${endpoint}/v1/token`, {
      method: 'POST',
      body: form,
      signal: AbortSignal.any([context.signal, AbortSignal.timeout(answerTimeoutMs)]),
    });
    if (!answer.ok) {
      await answer.body?.cancel();
      throw new HttpStatus(answer.status);
    }
    const parsed = answerForm.safeParse(parseJson(await answer.text()));
    if (!parsed.success) throw lying('something else than a token');
    return parsed.data;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
