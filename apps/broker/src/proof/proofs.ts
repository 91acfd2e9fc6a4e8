import type { Proofs } from '@mayfly/core';
import { type DpopOptions, verifyDpop } from './dpop.ts';

/** What was presented with a request, verified: a DPoP proof by its signature, a certificate by the TLS handshake before. */
export function createProofs(options: DpopOptions): Proofs {
  return {
    verify: async (presented, now) => {
      const { dpop, certificate } = presented;
      const certified = certificate === null ? {} : { x5tS256: certificate };
      if (dpop === null) return { confirmation: certified, use: null };
      const { jkt, use } = await verifyDpop(dpop, presented, { ...options, now });
      return { confirmation: { jkt, ...certified }, use };
    },
  };
}
