import type { Secret } from '@mayfly/core';

/** Tokens of the last hour in one replica: 100,000 take about 40 MB. Beyond that the oldest can only expire. */
const heldMax = 100_000;

export interface Held {
  /** Empty once they were deleted; more than one where a plan was minted twice. */
  readonly tokens: readonly Secret<string>[];
  readonly madeAt: Date;
  readonly until: Date;
}

/**
 * Tokens that this process has made and that have not expired, by issuance, so that they can be asked to delete
 * themselves. In memory only: a lost one expires by itself. It decides nothing.
 */
export class HeldTokens {
  readonly #held = new Map<string, Held>();

  keep(issuanceId: string, token: Secret<string>, { until, now }: { until: Date; now: Date }): void {
    // All are of one length of life: those made first expire first.
    for (const [id, held] of this.#held) {
      if (held.until > now && this.#held.size < heldMax) break;
      this.#held.delete(id);
    }
    const before = this.#held.get(issuanceId)?.tokens ?? [];
    this.#held.set(issuanceId, { tokens: [...before, token], madeAt: now, until });
  }

  /** Undefined where this process knows nothing of it; without tokens where it has deleted what there was. */
  find(issuanceId: string, now: Date): Held | undefined {
    const held = this.#held.get(issuanceId);
    return held === undefined || held.until <= now ? undefined : held;
  }

  deleted(issuanceId: string, token: Secret<string>): void {
    const held = this.#held.get(issuanceId);
    if (held === undefined) return;
    this.#held.set(issuanceId, { ...held, tokens: held.tokens.filter((one) => one !== token) });
  }
}
