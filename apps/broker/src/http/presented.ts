import type { Presented } from '@mayfly/core';
import type { Broker } from '../broker.ts';
import type { RawRequest } from './request.ts';

/** What came with a request to prove a key; `accessToken` is the token of its Authorization header, where it has one. */
export function presentedWith(
  { config }: Broker,
  request: RawRequest,
  accessToken: string | null = null,
): Presented {
  const { dpop } = request.headers;
  return {
    // Two headers are joined by Node with a comma, which no proof holds (RFC 9449 section 4.3, check 1).
    dpop: typeof dpop === 'string' ? dpop : null,
    method: request.method,
    // Never from the Host header: a proof for another server would be taken here.
    url: `${config.issuer}${request.path}`,
    accessToken,
    certificate: request.certificate,
  };
}
