import type { Clock, NewId } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { seededRandom } from './random.ts';

/** Time that stands still until a test moves it. Wall time and monotonic time move together. */
export class TestClock implements Clock {
  #nowMs: number;
  #monotonicMs = 1_000;
  /** Set false to be a replica whose clock is off. */
  trusted = true;

  constructor(start = new Date('2026-07-01T12:00:00.250Z')) {
    this.#nowMs = start.getTime();
  }

  now(): Date {
    return new Date(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  isTrusted(): boolean {
    return this.trusted;
  }

  advance(seconds: number): void {
    if (!(seconds >= 0)) throw new RangeError('time goes forward');
    this.#nowMs += seconds * 1000;
    this.#monotonicMs += seconds * 1000;
  }

  /** To this moment; the past is refused. */
  advanceTo(moment: Date): void {
    this.advance((moment.getTime() - this.#nowMs) / 1000);
  }
}

/** Ids of the clock's time that rise within one millisecond (RFC 9562 section 6.2) and are the same for the same seed. */
export function seededIds(clock: Pick<Clock, 'now'>, seed = 1): NewId {
  const random = seededRandom(seed);
  let count = 0;
  return () => {
    const bytes = random.bytes(10);
    bytes[0] = (count >> 8) & 0x0f;
    bytes[1] = count & 0xff;
    count += 1;
    return uuidV7(clock.now().getTime(), bytes);
  };
}
