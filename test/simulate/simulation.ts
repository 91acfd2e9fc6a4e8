import { createMemoryStore, MemoryDocuments, seededRandom } from '@mayfly/testkit';
import { runAgent } from './agent.ts';
import type { Ask, Clients } from './clients.ts';
import { Cloud } from './clouds.ts';
import { documents, settings } from './documents.ts';
import { calm, drawDelayMs, drawWeather } from './faults.ts';
import { Oracles } from './oracles.ts';
import { runAdmin, runOperator } from './people.ts';
import type { BrokerPorts, Surroundings } from './ports.ts';
import { Replica } from './replica.ts';
import { Scheduler } from './scheduler.ts';

export interface Run {
  readonly seed: number;
  /** The invariant that did not hold and how, or null. */
  readonly problem: string | null;
  readonly steps: number;
  readonly minted: number;
}

const startMs = Date.parse('2026-07-01T12:00:00.250Z');
/** The clients are given up after this long: virtual time. */
const activeMs = 400_000;
/** A process that died is started again within this. */
const restartMs = 20_000;
/** The longest backoff, a late answer and a pass. */
const calmMs = 90_000;
/** After the last fault: backoff of 60 s, a writer's lease of 20 s, a reap age of 60 s, late requests of 50 s. */
const healMs = 300_000;
/** A base session lives 15 minutes. */
const quietMs = 3_600_000;
const stepsMax = 60_000;
/** A client waits no longer for an answer. */
const patienceMs = 30_000;

/** One seed, one run: a few agents, an operator and an admin over some replicas, while things fail. */
export async function simulate(
  seed: number,
  { trace = null }: { trace?: ((text: string) => void) | null } = {},
): Promise<Run> {
  const scheduler = new Scheduler(seededRandom(seed));
  const restore = ownTime(scheduler);
  try {
    const simulation = new Simulation(seed, scheduler, trace);
    const problem = await simulation.run();
    return { seed, problem, steps: scheduler.steps, minted: simulation.minted };
  } finally {
    restore();
  }
}

/** What the product waits for by itself (deny.ts gathers) waits in virtual time; whoever reads the clock is caught. */
function ownTime(scheduler: Scheduler): () => void {
  const { setTimeout: timeout } = globalThis;
  const { now } = Date;
  const { stackTraceLimit } = Error;
  // Refusals are part of the game, and nobody reads where they were made.
  Error.stackTraceLimit = 0;
  Reflect.set(globalThis, 'setTimeout', (run: () => void, ms: number) => scheduler.after(ms, run));
  Reflect.set(Date, 'now', () => {
    throw new TypeError('the simulated code read the real clock');
  });
  return () => {
    Reflect.set(globalThis, 'setTimeout', timeout);
    Reflect.set(Date, 'now', now);
    Error.stackTraceLimit = stackTraceLimit;
  };
}

/** Seconds of virtual time. */
function stamp(ms: number): string {
  return (ms / 1000).toFixed(3).padStart(9);
}

class Simulation {
  readonly #scheduler: Scheduler;
  readonly #surroundings: Surroundings;
  readonly #replicas: Replica[] = [];
  #weather: ReturnType<typeof drawWeather>;
  #dirty = false;
  #ids = 0;

  constructor(seed: number, scheduler: Scheduler, trace: ((text: string) => void) | null) {
    const { random } = scheduler;
    this.#scheduler = scheduler;
    this.#weather = drawWeather(random);
    const now = () => new Date(startMs + scheduler.nowMs);
    const store = createMemoryStore({ now, seed, reapAgeSeconds: settings.reapAge });
    const documentStore = new MemoryDocuments(store.rows, documents);
    const cloudAt = (offsetMs: number) => () => new Date(startMs + scheduler.nowMs + offsetMs);
    const skewMs = () => (random.fraction() * 2 - 1) * settings.skew * 500;
    const clouds = {
      denying: new Cloud('denying', cloudAt(skewMs())),
      deleting: new Cloud('deleting', cloudAt(skewMs())),
      expiring: new Cloud('expiring', cloudAt(skewMs())),
    };
    const evidence = { rows: store.rows, clouds, policy: () => documentStore.set };
    const traceAt = trace && ((text: string) => trace(`${stamp(scheduler.nowMs)} ${text}`));
    this.#surroundings = {
      ...{ scheduler, store, documents: documentStore, clouds, now },
      oracles: new Oracles({ ...evidence, isCalm: this.#weather.faultRate === 0 }, traceAt),
      trace: traceAt,
      weather: () => this.#weather,
      // Short in a trace; that they would be random and of their time decides nothing here.
      newId: () => {
        this.#ids += 1;
        return `00000000-0000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`;
      },
      onWrite: () => {
        this.#dirty = true;
      },
    };
  }

  get minted(): number {
    return Object.values(this.#surroundings.clouds).reduce((sum, { minted }) => sum + minted.length, 0);
  }

  async run(): Promise<string | null> {
    const { oracles } = this.#surroundings;
    const { random } = this.#scheduler;
    for (let index = 1 + random.below(3); index > 0; index -= 1) this.#startReplica(`r${index}`);
    this.#disturbClocks();
    const over = this.#startClients();
    const isOver = () => this.#step() || over.done;
    await this.#scheduler.run(activeMs, isOver);
    if (oracles.problem !== null) return oracles.problem;
    this.#weather = calm;
    const { now, trace } = this.#surroundings;
    trace?.('--- no more faults');
    const awakeMs = Math.max(...this.#replicas.map(({ process }) => process.pausedUntilMs));
    await this.#scheduler.run(Math.max(awakeMs, this.#scheduler.nowMs + restartMs), () => this.#step());
    const healedMs = this.#scheduler.nowMs + healMs;
    trace?.('--- all are up');
    const calmSince = now();
    await this.#scheduler.run(this.#scheduler.nowMs + calmMs, () => this.#step());
    if (oracles.problem === null) oracles.onCalm(calmSince);
    await this.#scheduler.run(healedMs, () => this.#step());
    if (oracles.problem === null) oracles.onHealed();
    if (oracles.problem !== null) return oracles.problem;
    await this.#scheduler.run(this.#scheduler.nowMs + quietMs, () => this.#step());
    oracles.atEnd();
    return oracles.problem;
  }

  /** After each step; true when there is nothing more to see. */
  #step(): boolean {
    const { oracles, scheduler } = this.#surroundings;
    if (this.#dirty) {
      this.#dirty = false;
      oracles.onStep();
      for (const replica of this.#replicas) replica.restUntilDue();
    }
    if (scheduler.steps > stepsMax) oracles.violated(`I5: no rest after ${stepsMax} steps`);
    return oracles.problem !== null;
  }

  #startReplica(name: string): void {
    const { scheduler } = this.#surroundings;
    const { random } = scheduler;
    const offsetMs = this.#drawOffsetMs();
    const onDeath = () => scheduler.after(random.below(restartMs), () => this.#startReplica(name));
    const replica = new Replica(this.#surroundings, { name, offsetMs, onDeath });
    const at = this.#replicas.findIndex(({ process }) => process.name === name);
    if (at === -1) this.#replicas.push(replica);
    else this.#replicas[at] = replica;
  }

  /** Mostly trusted; beyond half the skew it must issue nothing, and its reaper goes on. */
  #drawOffsetMs(): number {
    const { random } = this.#scheduler;
    return (random.fraction() * 2 - 1) * settings.skew * (random.below(8) === 0 ? 1000 : 500);
  }

  /** Now and then the clock of a machine is set while it works. */
  #disturbClocks(): void {
    const { random } = this.#scheduler;
    if (this.#weather.faultRate === 0 || random.below(4) > 0) return;
    this.#scheduler.after(random.below(60_000), () => {
      const offsetMs = this.#drawOffsetMs();
      const replica = this.#replicas[random.below(this.#replicas.length)];
      this.#surroundings.trace?.(`${replica?.process.name} has its clock set to ${Math.round(offsetMs)} ms`);
      replica?.setClock(offsetMs);
    });
  }

  #startClients(): { readonly done: boolean } {
    const { random } = this.#scheduler;
    const clients: Clients = { ...this.#surroundings, ask: this.#ask };
    const running: Promise<void>[] = [];
    for (let index = random.pick([1, 1, 2]); index > 0; index -= 1)
      running.push(runAgent(clients, `agent-${index}`));
    if (random.below(3) > 0) running.push(runOperator(clients));
    if (random.below(3) === 0) running.push(runAdmin(clients));
    const over = { done: false };
    void Promise.all(running).then(() => {
      over.done = true;
    });
    return over;
  }

  readonly #ask: Ask = (name, run) => {
    const { random } = this.#scheduler;
    return new Promise((resolve) => {
      const [first] = this.#replicas;
      const replica = this.#replicas[random.below(this.#replicas.length)] ?? first;
      this.#scheduler.after(patienceMs, () => resolve('no answer'));
      if (replica === undefined) return;
      const { process, ports } = replica;
      this.#surroundings.trace?.(`${name} -> ${process.name}`);
      process.after(drawDelayMs(random, 5), () => void this.#answer({ run, ports, process, resolve }));
    });
  };

  async #answer<T>({
    run,
    ports,
    process,
    resolve,
  }: {
    readonly run: (ports: BrokerPorts) => Promise<T>;
    readonly ports: BrokerPorts;
    readonly process: Replica['process'];
    readonly resolve: (answer: T) => void;
  }): Promise<void> {
    const answer = await run(ports);
    process.after(drawDelayMs(this.#scheduler.random, 5), () => resolve(answer));
  }
}
