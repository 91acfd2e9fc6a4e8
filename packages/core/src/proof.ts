import type { Use } from './ports.ts';
import type { Proof } from './template.ts';
import type { Confirmation } from './workload.ts';

/** What came with a request to prove that the caller holds a key; nothing of it is verified yet. */
export interface Presented {
  /** The DPoP header (RFC 9449 section 4), or null. */
  readonly dpop: string | null;
  readonly method: string;
  /** Our own URL of the route, from the configured issuer: what `htu` must be. */
  readonly url: string;
  /** The access token that stands in the Authorization header: `ath` must be its digest (RFC 9449 section 7). */
  readonly accessToken: string | null;
  /** SHA-256, base64url, of the client certificate whose key the TLS handshake has proven. */
  readonly certificate: string | null;
}

export interface Proven {
  readonly confirmation: Confirmation;
  /** The one use of the proof; null without one. */
  readonly use: Use | null;
}

/** Verifies what was presented, without looking whether it was used before: that is one with its use. */
export interface Proofs {
  /** Refusals: dpop_invalid, dpop_nonce_needed. */
  verify(presented: Presented, now: Date): Promise<Proven>;
}

/** Is every key that the token is bound to among those proven? */
export function provesKey(proven: Confirmation, boundTo: Confirmation | null): boolean {
  if (boundTo === null) return true;
  const { jkt, x5tS256 } = boundTo;
  return (jkt === undefined || jkt === proven.jkt) && (x5tS256 === undefined || x5tS256 === proven.x5tS256);
}

/** What a task token of this caller is bound to; null when no key was proven. */
export function bindingOf({ jkt, x5tS256 }: Confirmation): Confirmation | null {
  if (jkt === undefined && x5tS256 === undefined) return null;
  return { ...(jkt === undefined ? {} : { jkt }), ...(x5tS256 === undefined ? {} : { x5tS256 }) };
}

/**
 * What a credential is bound to, or undefined when a demanded proof is missing. A DPoP proof always binds; a
 * certificate only where it is demanded, since in a mesh every connection has one that no tool server sees.
 */
export function confirmationFor(
  demanded: readonly Proof[],
  { jkt, x5tS256 }: Confirmation,
): Confirmation | null | undefined {
  const certificate = demanded.includes('mtls');
  if ((demanded.includes('dpop') && jkt === undefined) || (certificate && x5tS256 === undefined))
    return undefined;
  return bindingOf({
    ...(jkt === undefined ? {} : { jkt }),
    ...(certificate && x5tS256 !== undefined ? { x5tS256 } : {}),
  });
}
