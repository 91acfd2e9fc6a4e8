import type { Random } from '@mayfly/testkit';

interface Event {
  readonly atMs: number;
  /** Events of one moment come in the order of a number that the seed drew. */
  readonly tie: number;
  readonly run: () => void;
}

/**
 * The only source of progress: one event at a time, in the order of virtual time, and after each everything that it
 * set free runs until it waits again. There is no timer and no I/O, so that a seed is a run.
 */
export class Scheduler {
  readonly random: Random;
  readonly #heap: Event[] = [];
  #nowMs = 0;
  #steps = 0;

  constructor(random: Random) {
    this.random = random;
  }

  /** Virtual time since the start; that of the database. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get steps(): number {
    return this.#steps;
  }

  after(delayMs: number, run: () => void): void {
    const event = { atMs: this.#nowMs + Math.max(0, delayMs), tie: this.random.fraction(), run };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above];
      if (other === undefined || !isBefore(event, other)) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = event;
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Until this moment, or until `isOver` says so after a step. */
  async run(untilMs: number, isOver: () => boolean): Promise<void> {
    for (;;) {
      const [next] = this.#heap;
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      this.#nowMs = next.atMs;
      this.#steps += 1;
      next.run();
      await settled();
      if (isOver()) return;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
      if (left === undefined) break;
      const first = right !== undefined && isBefore(right, left) ? right : left;
      if (!isBefore(first, last)) break;
      heap[at] = first;
      at = first === left ? 2 * at + 1 : 2 * at + 2;
    }
    heap[at] = last;
  }
}

function isBefore(one: Event, two: Event): boolean {
  return one.atMs < two.atMs || (one.atMs === two.atMs && one.tie < two.tie);
}

/** Node runs its ticks only once no promise job is left: everything waits again. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
