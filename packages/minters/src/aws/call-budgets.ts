import { Fault } from '@mayfly/core';

/** After AWS itself has said that it is too much, nothing is sent for this long. */
const throttledPauseMs = 1_000;

/** Buckets in use; the oldest goes first, and begins anew with one second's worth. */
const bucketsMax = 1_000;

interface Bucket {
  left: number;
  filledAt: number;
}

export interface BudgetOf {
  /** Where a role names none, its Provider: another system's roles share nothing with each other. */
  readonly account: string;
  readonly region: string;
  /** Of the Provider document: this replica's share. */
  readonly perSecond: number;
}

/**
 * What this replica may ask of STS, per account and region: AWS counts there, for everybody in the account. Only mints
 * are held to it; an end is never refused. In memory, one bucket for each account and region in use, each refilled
 * by the second and never above one second's worth.
 */
export class CallBudgets {
  readonly #buckets = new Map<string, Bucket>();

  /** Uses up one call, or says that none is left: surely nothing was sent. */
  take(of: BudgetOf, now: Date): void {
    const bucket = this.#filled(of, now);
    if (bucket.left < 1) {
      const detail = `${of.perSecond} calls of STS a second in account ${of.account}, ${of.region} are spent`;
      throw new Fault('provider_unavailable', { effect: 'none', detail });
    }
    bucket.left -= 1;
  }

  /** AWS has throttled: others in the account are served first. */
  throttled(of: BudgetOf, now: Date): void {
    const bucket = this.#filled(of, now);
    bucket.left = 0;
    bucket.filledAt = now.getTime() + throttledPauseMs;
  }

  #filled({ account, region, perSecond }: BudgetOf, now: Date): Bucket {
    const key = `${account} ${region}`;
    const bucket = this.#buckets.get(key) ?? { left: perSecond, filledAt: now.getTime() };
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > bucketsMax && oldest !== undefined) this.#buckets.delete(oldest);
    const elapsedMs = now.getTime() - bucket.filledAt;
    if (elapsedMs > 0) {
      bucket.left = Math.min(perSecond, bucket.left + (elapsedMs / 1000) * perSecond);
      bucket.filledAt = now.getTime();
    }
    return bucket;
  }
}
