import { Fault } from '@mayfly/core';
import { CloudRefused } from './clouds.ts';
import { drawDelayMs, drawFate, drawPauseMs, type Fate, type Weather } from './faults.ts';
import type { Scheduler } from './scheduler.ts';

/** Whom a process talks to: how long that takes, and what its failures look like. */
export interface Peer {
  readonly name: string;
  readonly usualMs: number;
  /** A cloud: one that may be slow for a whole run. */
  readonly isCloud: boolean;
  /** How much later than sent a late request may take effect. */
  readonly lateMs: number;
  /** Whether one request may arrive as two; of what has a name of its own, only the first takes effect. */
  readonly mayRepeat: boolean;
  lost(): unknown;
  refused(): unknown;
}

export const database: Peer = {
  name: 'db',
  usualMs: 4,
  isCloud: false,
  lateMs: 40_000,
  mayRepeat: false,
  lost: () => new Fault('database_unavailable', { effect: 'unknown', detail: 'connection lost' }),
  refused: () => new Fault('database_unavailable', { effect: 'none', detail: 'no connection' }),
};

/** Of the broker's calls the deadline cuts the wait; what was sent may still land a little later. */
export const cloudApi: Peer = {
  name: 'cloud',
  usualMs: 60,
  isCloud: true,
  lateMs: 13_000,
  mayRepeat: false,
  lost: () => new Fault('provider_unavailable', { effect: 'unknown', detail: 'connection lost' }),
  refused: () => new Fault('provider_unavailable', { effect: 'none', detail: 'throttled' }),
};

/** IAM has neither compare-and-set nor an order: a write may land after newer ones. Errors as its SDK throws them. */
export const iamApi: Peer = {
  name: 'iam',
  usualMs: 60,
  isCloud: true,
  lateMs: 50_000,
  mayRepeat: true,
  lost: () => Object.assign(new Error('socket hang up'), { name: 'TimeoutError' }),
  refused: () =>
    Object.assign(new Error('slow down'), { name: 'Throttling', $metadata: { httpStatusCode: 400 } }),
};

export interface Call<T> {
  readonly peer: Peer;
  readonly name: string;
  /** Runs when the request arrives; whatever it does within one call is atomic. */
  apply(): Promise<T> | T;
  readonly signal?: AbortSignal;
}

/** One for all: making a DOMException costs more than the call that it ends. */
const passed = new Error('the deadline has passed');

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/**
 * One process of the operating system, between its start and its death: everything it awaits goes through `call`, where
 * the seed decides when it takes effect, when the answer is heard, and whether it lives to hear it.
 */
export class Process {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #weather: () => Weather;
  readonly #trace: ((text: string) => void) | null;
  readonly #onDeath: () => void;
  #pausedUntilMs = 0;
  #alive = true;

  constructor(options: {
    readonly name: string;
    readonly scheduler: Scheduler;
    readonly weather: () => Weather;
    readonly trace: ((text: string) => void) | null;
    onDeath(): void;
  }) {
    this.name = options.name;
    this.#scheduler = options.scheduler;
    this.#weather = options.weather;
    this.#trace = options.trace;
    this.#onDeath = options.onDeath;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  die(why: string): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#trace?.(`${this.name} dies: ${why}`);
    this.#onDeath();
  }

  /** When it goes on; in the past for one that does not stand still. */
  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  /** Runs in this process at that time, later if it stands still then, never if it is dead. */
  after(delayMs: number, run: () => void): void {
    this.#scheduler.after(delayMs, () => {
      if (!this.#alive) return;
      const waitMs = this.#pausedUntilMs - this.#scheduler.nowMs;
      // In which order a process that wakes up hears of timers and answers is open.
      if (waitMs > 0) this.after(waitMs + this.#scheduler.random.below(3), run);
      else run();
    });
  }

  /** Aborts after so long by the monotonic clock, which goes on while the process stands still. */
  deadline(seconds: number): AbortSignal {
    const controller = new AbortController();
    this.after(seconds * 1000, () => controller.abort(passed));
    return controller.signal;
  }

  call<T>(call: Call<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // The code of a dead process may still be unwinding; it reaches nobody.
      if (!this.#alive) return;
      const fate = drawFate(this.#weather(), this.#scheduler.random);
      const { peer, signal } = call;
      this.#trace?.(`${this.name} ${peer.name} ${call.name}${fate === 'ok' ? '' : ` [${fate}]`}`);
      if (fate === 'crash before') return this.die(`before ${call.name}`);
      if (fate === 'refused') return this.after(this.#delayMs(peer), () => reject(peer.refused()));
      // As fetch does: with a signal that has fired nothing is sent.
      if (signal?.aborted) return this.after(0, () => reject(peer.refused()));
      const giveUp = () => reject(peer.lost());
      signal?.addEventListener('abort', giveUp, { once: true });
      if (fate === 'lost') return signal === undefined ? this.after(peer.usualMs, giveUp) : undefined;
      this.#send(call, fate, (outcome) => {
        if (fate === 'answer lost') giveUp();
        else if ('value' in outcome) resolve(outcome.value);
        else reject(outcome.error);
      });
    });
  }

  #send<T>(call: Call<T>, fate: Fate, hear: (outcome: Outcome<T>) => void): void {
    const { peer, name } = call;
    const random = this.#scheduler.random;
    const lateMs = fate === 'late' ? random.below(peer.lateMs) : 0;
    const waitMs = Math.max(0, this.#pausedUntilMs - this.#scheduler.nowMs);
    const arriveMs = waitMs + Math.max(lateMs, this.#delayMs(peer));
    this.#scheduler.after(arriveMs, () => {
      const outcome = arrive(call);
      if (fate === 'late') this.#trace?.(`${this.name} ${peer.name} ${name} lands late`);
      this.after(this.#delayMs(peer), () => outcome.then(hear));
    });
    if (fate === 'twice' && peer.mayRepeat)
      this.#scheduler.after(arriveMs + random.below(peer.lateMs), () => {
        this.#trace?.(`${this.name} ${peer.name} ${name} lands again`);
        arrive(call);
      });
    if (fate === 'crash after')
      this.#scheduler.after(random.below(2) === 0 ? waitMs : arriveMs, () => this.die(`after ${name}`));
    if (fate === 'pause') this.#pause();
  }

  #pause(): void {
    const forMs = drawPauseMs(this.#weather(), this.#scheduler.random);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#scheduler.nowMs + forMs);
    this.#trace?.(`${this.name} stands still for ${(forMs / 1000).toFixed(1)} s`);
  }

  #delayMs({ usualMs, lateMs, isCloud }: Peer): number {
    const slowness = isCloud ? this.#weather().slowness : 1;
    return Math.min(lateMs, drawDelayMs(this.#scheduler.random, usualMs * slowness));
  }
}

/** An answer that says no is an answer: it is heard, and nothing happened. */
async function arrive<T>({ apply, peer }: Call<T>): Promise<Outcome<T>> {
  try {
    return { value: await apply() };
  } catch (error) {
    return { error: error instanceof CloudRefused ? peer.refused() : error };
  }
}
