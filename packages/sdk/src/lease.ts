import type { Clock } from './clock.ts';
import { Refused, TaskOver } from './errors.ts';

/** What a heartbeat has learned: durations from the moment it was sent, so that clocks need not agree. */
export interface Beat {
  readonly sentAt: Date;
  /** Until the lease runs out. */
  readonly leaseMs: number;
  /** Until the task token runs out; null where none was answered. */
  readonly tokenMs: number | null;
}

export interface LeaseOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  random(): number;
  /** Asks the server; rejects with TaskOver where the task is known to live no more. */
  beat(): Promise<Beat>;
  /** Called once, when the task is over or the lease has run out without an answer. */
  lost(reason: TaskOver): void;
}

/** Three beats a lease: two may fail. */
const beatsPerLease = 3;
/** Beats of many tasks drift apart: by up to a tenth, early or late. */
const jitter = 0.1;
/** Fastest rhythm, for short leases and while beats fail. */
const beatMsMin = 500;

/**
 * Keeps a lease while it runs: beats at about a third of what lasts shorter, lease or task token; one beat at a time.
 * A failed beat is tried again sooner and sooner until the lease has really run out. Its timers keep no process alive.
 */
export class Lease {
  readonly #options: LeaseOptions;
  #endsAtMs = 0;
  #stopped = false;
  #cancelBeat = () => {};
  #cancelEnd = () => {};

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  start(first: Beat): void {
    this.#renew(first);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelBeat();
    this.#cancelEnd();
  }

  #renew({ sentAt, leaseMs, tokenMs }: Beat): void {
    this.#endsAtMs = sentAt.getTime() + leaseMs;
    this.#cancelEnd();
    this.#cancelEnd = this.#options.clock.after(this.#leftMs(), () => this.#runOut());
    this.#schedule(Math.min(leaseMs, tokenMs ?? leaseMs));
  }

  #schedule(periodMs: number): void {
    const spread = 1 - jitter + 2 * jitter * this.#options.random();
    const ms = Math.max((periodMs / beatsPerLease) * spread, beatMsMin);
    this.#cancelBeat();
    this.#cancelBeat = this.#options.clock.after(ms, () => void this.#beat());
  }

  async #beat(): Promise<void> {
    try {
      const beat = await this.#options.beat();
      if (!this.#stopped) this.#renew(beat);
    } catch (error) {
      if (this.#stopped) return;
      if (error instanceof TaskOver) this.#lose(error);
      else if (error instanceof Refused && error.reason === 'task_unknown') this.#lose(unknownTask(error));
      else this.#schedule(this.#leftMs());
    }
  }

  #runOut(): void {
    if (this.#stopped) return;
    const says = 'no heartbeat was answered until the lease had run out; the server has abandoned the task.';
    this.#lose(new TaskOver({ reason: 'lease_lost', state: 'abandoned', says }));
  }

  #lose(reason: TaskOver): void {
    this.stop();
    this.#options.lost(reason);
  }

  #leftMs(): number {
    return Math.max(this.#endsAtMs - this.#options.clock.now().getTime(), 0);
  }
}

/** Another database, or no longer its owner: either way not our task any more. */
function unknownTask({ reason, says }: Refused): TaskOver {
  return new TaskOver({ reason, state: 'unknown', says });
}
