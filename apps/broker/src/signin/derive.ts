import { createHmac, timingSafeEqual } from 'node:crypto';
import { subkey } from '@mayfly/store';

/** What one interaction needs at the organisation's identity provider and in its own links. */
export type Use = 'state' | 'nonce' | 'verifier' | 'cancel';

/**
 * Values that any replica can make again from an interaction's id, and nobody else can: nothing has to be kept between
 * the way out and the way back. 43 characters, as RFC 7636 section 4.1 asks of a verifier.
 */
export function derive(secret: Buffer, use: Use, uid: string): string {
  return createHmac('sha256', subkey(secret, 'upstream'))
    .update(JSON.stringify([use, uid]))
    .digest('base64url');
}

export function sameText(left: string, right: string): boolean {
  const [one, other] = [Buffer.from(left), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}
