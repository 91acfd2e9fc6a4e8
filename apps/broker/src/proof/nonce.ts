import { createHmac, timingSafeEqual } from 'node:crypto';

/** A nonce is given out for one window and accepted through the next, so a client has at least one to use it in. */
export const nonceWindowMs = 60_000;
const macBytes = 16;

export interface Nonces {
  issue(now: Date): string;
  /** When this nonce is accepted no longer; undefined for what is none of ours, or too old. */
  until(nonce: string, now: Date): Date | undefined;
}

/**
 * Nonces for DPoP (RFC 9449 section 8) without any state: the number of the window and its MAC under a secret that the
 * replicas share. `secret` is asked for at each use, since keys are loaded after the routes are made.
 */
export function createNonces(secret: () => Buffer): Nonces {
  const nonceOf = (window: number) => {
    const head = Buffer.alloc(6);
    head.writeUIntBE(window, 0, 6);
    const mac = createHmac('sha256', secret()).update('dpop-nonce').update(head).digest();
    return Buffer.concat([head, mac.subarray(0, macBytes)]);
  };
  return {
    issue: (now) => nonceOf(windowOf(now)).toString('base64url'),
    until: (nonce, now) => {
      const given = Buffer.from(nonce, 'base64url');
      for (const window of [windowOf(now), windowOf(now) - 1]) {
        const ours = nonceOf(window);
        if (given.length === ours.length && timingSafeEqual(given, ours))
          return new Date((window + 2) * nonceWindowMs);
      }
      return undefined;
    },
  };
}

function windowOf(now: Date): number {
  return Math.floor(now.getTime() / nonceWindowMs);
}
