import type { MemoryRows } from './rows.ts';

export type Refused = {
  readonly kind: 'refused';
  readonly reason: 'rate_limited';
  readonly retryAfterSeconds: number;
};

/** One counter row of the window that the database's clock stands in (`counter` in the migrations). */
export class WindowCounter {
  readonly #rows: MemoryRows;
  readonly #key: string;
  readonly #ends: number;

  constructor(rows: MemoryRows, scope: readonly string[], windowSeconds: number) {
    const windowMs = windowSeconds * 1000;
    const start = Math.floor(rows.now().getTime() / windowMs) * windowMs;
    this.#rows = rows;
    this.#key = JSON.stringify([...scope, start]);
    this.#ends = start + windowMs;
  }

  /** Refused when `max` were counted in this window; null means no limit. */
  refuseAt(max: number | null): Refused | null {
    if (max === null || this.#count < max) return null;
    const retryAfterSeconds = Math.ceil((this.#ends - this.#rows.now().getTime()) / 1000);
    return { kind: 'refused', reason: 'rate_limited', retryAfterSeconds };
  }

  raise(): void {
    this.#rows.counters.set(this.#key, this.#count + 1);
  }

  get #count(): number {
    return this.#rows.counters.get(this.#key) ?? 0;
  }
}
