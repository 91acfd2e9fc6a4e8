import { Fault } from './errors.ts';
import type { End, Work } from './ports.ts';
import { type ReapPorts, type Settled, settleWork } from './reap.ts';

/** Rows of one claim: few enough to lose little with a crash. */
export const claimLimit = 100;
/** Ends of one commit. */
const settleMax = 200;
/** A provider that was away this often in a row is asked by one call at a time, until one is answered. */
const failuresMax = 5;
const openSecondsMax = 30;

export interface LaneCounts {
  claimed: number;
  ended: number;
  waiting: number;
  failed: number;
}

/**
 * What is due at one provider. A lane has calls, a rate and a breaker of its own, so that a provider that hangs or is
 * away delays no other; a call that is free takes the next, without waiting for the slowest before it. Only rows are state:
 * a lane may be lost at any time.
 */
export class Lane {
  readonly name: string;
  readonly counts: LaneCounts = { claimed: 0, ended: 0, waiting: 0, failed: 0 };
  readonly #ports: ReapPorts;
  /** Claimed here and not yet done. */
  readonly #inFlight = new Set<string>();
  /** Of those, what waits for a call to be free. */
  #waiting: { readonly id: string; readonly work: Work }[] = [];
  readonly #breaker = new Breaker();
  readonly #rate: Rate;
  #pulling: Promise<void> | undefined;
  #settling: Promise<void> | undefined;
  #ends: End[] = [];
  #more = false;
  #stopped = false;
  #error: unknown;
  #idle: (() => void)[] = [];

  constructor(name: string, ports: ReapPorts) {
    this.name = name;
    this.#ports = ports;
    this.#rate = new Rate(ports.callsPerSecond, ports.monotonicMs());
  }

  /** Claims what there is room for and starts it; the rest follows as calls end. Rejects when the claim fails. */
  pull(): Promise<void> {
    this.#pulling ??= this.#claim().finally(() => {
      this.#pulling = undefined;
      this.#tellIdle();
    });
    return this.#pulling;
  }

  /** Claims and starts nothing more; what is in flight goes on. */
  stop(): void {
    this.#stopped = true;
    this.#giveBack();
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0 && this.#pulling === undefined && this.#settling === undefined;
  }

  /** For metrics: the provider is away, and is asked by one call at a time. */
  get isBroken(): boolean {
    return this.#breaker.isOpen;
  }

  /** Once nothing is in flight any more; rejects with the first claim or settlement that failed on the way. */
  async drained(): Promise<void> {
    while (!this.isIdle) await new Promise<void>((resolve) => this.#idle.push(resolve));
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
  }

  async #claim(): Promise<void> {
    do {
      const room = this.#stopped ? 0 : this.#room();
      if (room <= 0) return;
      const claimed = await this.#ports.queue.claim({ lane: this.name, limit: room });
      this.counts.claimed += claimed.length;
      this.#more = claimed.length === room;
      for (const work of claimed) this.#take(work);
      this.#startWaiting();
    } while (this.#more && this.#isWorthAClaim);
  }

  #room(): number {
    const { monotonicMs } = this.#ports;
    // As many again are claimed ahead, so that no call waits for a claim: quick ones start long before their backoff,
    // and slow ones are harmless twice.
    const width = this.#width;
    const ahead = this.#breaker.isOpen ? 0 : width;
    const rate = Math.floor(this.#rate.left(monotonicMs()) * this.#endsPerCall);
    return Math.min(width + ahead - this.#inFlight.size, claimLimit, rate);
  }

  /** Ends at once. */
  get #width(): number {
    const { concurrency, monotonicMs } = this.#ports;
    return this.#breaker.width(concurrency * this.#endsPerCall, monotonicMs());
  }

  get #endsPerCall(): number {
    return this.#ports.endsPerCall(this.name);
  }

  /** Half of the calls' worth is wanted: claimed in bulk, not one by one. */
  get #isWorthAClaim(): boolean {
    return this.#waiting.length <= Math.floor((this.#ports.concurrency * this.#endsPerCall) / 2);
  }

  #take(work: Work): void {
    const id = work.kind === 'task' ? work.taskId : work.issuanceId;
    // Its backoff has passed while its call still hangs here: one call is enough.
    if (this.#inFlight.has(id)) return;
    this.#inFlight.add(id);
    this.#rate.take(1 / this.#endsPerCall);
    this.#waiting.push({ id, work });
  }

  #startWaiting(): void {
    if (this.#stopped) this.#giveBack();
    while (this.#waiting.length > 0 && this.#inFlight.size - this.#waiting.length < this.#width) {
      const next = this.#waiting.shift();
      if (next !== undefined)
        void settleWork(next.work, this.#ports).then((settled) => this.#done(next.id, settled));
    }
    // No call may be under way whose end would start them.
    if (this.#breaker.isOpen) this.#giveBack();
  }

  /** What was not started comes back by its backoff. */
  #giveBack(): void {
    for (const waiting of this.#waiting) this.#inFlight.delete(waiting.id);
    this.#waiting = [];
  }

  #done(id: string, settled: Settled): void {
    this.#inFlight.delete(id);
    if (settled instanceof Fault) this.#breaker.failed(settled, this.#ports.monotonicMs());
    else this.#breaker.answered();
    if (settled instanceof Error) this.counts.failed += 1;
    else if (settled === 'waiting') this.counts.waiting += 1;
    else this.counts.ended += 1;
    if (typeof settled === 'object' && !(settled instanceof Error)) this.#ends.push(settled);
    if (this.#ends.length > 0)
      this.#settling ??= this.#settle().finally(() => {
        this.#settling = undefined;
        this.#tellIdle();
      });
    this.#startWaiting();
    if (this.#more && this.#isWorthAClaim) this.pull().catch((error: unknown) => this.#note(error));
    this.#tellIdle();
  }

  async #settle(): Promise<void> {
    while (this.#ends.length > 0) {
      const batch = this.#ends.splice(0, settleMax);
      // What is not recorded is claimed again, and taking it back again is harmless.
      await this.#ports.queue.settle(batch).catch((error: unknown) => this.#note(error));
    }
  }

  #note(error: unknown): void {
    this.#error ??= error;
    const detail = error instanceof Fault ? (error.detail ?? error.reason) : String(error);
    this.#ports.report('the work queue could not be read or written', { lane: this.name, detail });
  }

  #tellIdle(): void {
    if (!this.isIdle) return;
    for (const tell of this.#idle.splice(0)) tell();
  }
}

/** Opens when a provider is away, whatever it is asked; what it refuses is an answer. */
class Breaker {
  #failures = 0;
  #trips = 0;
  #until = 0;

  get isOpen(): boolean {
    return this.#trips > 0;
  }

  width(whole: number, now: number): number {
    if (this.#trips === 0) return whole;
    return now < this.#until ? 0 : 1;
  }

  answered(): void {
    this.#failures = 0;
    this.#trips = 0;
  }

  failed({ reason }: Fault, now: number): void {
    if (reason !== 'provider_unavailable') {
      this.answered();
      return;
    }
    this.#failures += 1;
    if (this.#failures < failuresMax || now < this.#until) return;
    this.#trips += 1;
    this.#until = now + Math.min(openSecondsMax, 2 ** (this.#trips - 1)) * 1000;
  }
}

/** A bucket that holds one second's worth of calls. */
class Rate {
  readonly #perSecond: number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#at = now;
  }

  left(now: number): number {
    const gained = ((now - this.#at) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#perSecond, this.#tokens + gained);
    this.#at = now;
    return this.#tokens;
  }

  /** A part of a call, where one takes several ends. */
  take(calls: number): void {
    this.#tokens -= calls;
  }
}
