import { Fault, Lanes, type Minter } from '@mayfly/core';
import { settings } from './documents.ts';
import { Process } from './effects.ts';
import { type BrokerPorts, createPorts, type Surroundings } from './ports.ts';

/** A broker process from start to death: ports over its own memory, and a reaper that passes now and then. */
export class Replica {
  readonly process: Process;
  readonly ports: BrokerPorts;
  readonly #surroundings: Surroundings;
  readonly #denying: Minter;
  readonly #lanes: Lanes;
  #offsetMs: number;
  #passing = false;
  #watching = false;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #watchedAtMs = 0;

  constructor(
    surroundings: Surroundings,
    { name, offsetMs, onDeath }: { name: string; offsetMs: number; onDeath(): void },
  ) {
    this.#offsetMs = offsetMs;
    const { scheduler, weather, trace } = surroundings;
    this.#surroundings = surroundings;
    this.process = new Process({ name, scheduler, weather, trace, onDeath });
    const own = { process: this.process, offsetMs: () => this.#offsetMs };
    const { ports, denying } = createPorts(surroundings, own);
    this.ports = ports;
    this.#denying = denying;
    this.#lanes = new Lanes(ports);
    this.passWithin(settings.reapInterval * 1000);
  }

  /** Somebody sets the clock of its machine. */
  setClock(offsetMs: number): void {
    this.#offsetMs = offsetMs;
  }

  /** A pass of the reaper at the latest in so long. */
  passWithin(delayMs: number): void {
    const { scheduler } = this.#surroundings;
    const atMs = scheduler.nowMs + delayMs;
    if (this.#passing || this.#wakeAtMs <= atMs || !this.process.isAlive) return;
    this.#wakeAtMs = atMs;
    this.process.after(delayMs, () => {
      if (this.#wakeAtMs !== atMs) return;
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      void this.#pass();
    });
  }

  // As apps/broker/src/reaper.ts: what is due is started, and neither that nor the watch is waited for by the next pass.
  async #pass(): Promise<void> {
    const { store, trace } = this.#surroundings;
    const { rows } = store;
    this.#passing = true;
    if ([...rows.work.values()].some(({ dueAt }) => dueAt <= rows.now()))
      await this.#attempt(() => this.#lanes.look());
    void this.#watch();
    this.#passing = false;
    trace?.(`${this.process.name} reaper rests`);
    this.restUntilDue();
  }

  /** Passes at which nothing would be claimed change nothing: the next is when something is due, within the interval. */
  restUntilDue(): void {
    const { store } = this.#surroundings;
    const { rows } = store;
    const dueMs = Math.min(...[...rows.work.values()].map(({ dueAt }) => dueAt.getTime()));
    const untilDueMs = dueMs - rows.now().getTime();
    const untilWatchMs = this.needsWatch ? settings.denyWatch * 1000 : Number.POSITIVE_INFINITY;
    const nextMs = Math.max(settings.reapInterval * 1000, Math.min(untilDueMs, untilWatchMs));
    if (Number.isFinite(nextMs)) this.passWithin(nextMs);
  }

  /** Looking again at a document that nothing can change any more would go on for hours of virtual time. */
  get needsWatch(): boolean {
    const { store, clouds, weather } = this.#surroundings;
    const unfinished = [...store.rows.denyDocuments.values()].some(
      ({ version, ackedVersion }) => version !== ackedVersion,
    );
    return unfinished || clouds.denying.isOverwritten || weather().faultRate > 0;
  }

  /** A step that fails is logged, and the loop goes on. */
  async #attempt(step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      const { trace, oracles } = this.#surroundings;
      trace?.(`${this.process.name} reaper step failed: ${String(error)}`);
      if (!(error instanceof Fault)) oracles.violated(`I13: a step of the reaper threw ${String(error)}`);
    }
  }

  async #watch(): Promise<void> {
    const { scheduler, store } = this.#surroundings;
    const isDue = scheduler.nowMs - this.#watchedAtMs >= settings.denyWatch * 1000;
    if (this.#watching || !isDue || store.rows.denyDocuments.size === 0) return;
    const { newId, now, deadline } = this.ports;
    this.#watching = true;
    this.#watchedAtMs = scheduler.nowMs;
    await this.#attempt(async () =>
      this.#denying.watch?.(settings.denyWatch, { now: now(), signal: deadline(), newId }),
    );
    this.#watching = false;
  }
}
