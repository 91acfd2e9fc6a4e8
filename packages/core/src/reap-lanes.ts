import { Lane, type LaneCounts } from './lane.ts';
import type { ReapPorts } from './reap.ts';

/** Every provider at which something is due, each in a lane of its own. */
export class Lanes {
  readonly #ports: ReapPorts;
  readonly #lanes = new Map<string, Lane>();

  constructor(ports: ReapPorts) {
    this.#ports = ports;
  }

  /** One look at what is due; what there is room for is started. Rejects when the queue cannot be read. */
  async look(): Promise<void> {
    const due = await this.#ports.queue.lanes();
    for (const [name, lane] of this.#lanes)
      if (lane.isIdle && !lane.isBroken && lane.counts.claimed === 0 && !due.includes(name))
        this.#lanes.delete(name);
    const pulls = await Promise.allSettled(due.map((name) => this.#of(name).pull()));
    for (const pull of pulls) if (pull.status === 'rejected') throw pull.reason;
  }

  /** Once nothing is in flight; rejects with the first failure of the queue on the way. */
  async drained(): Promise<void> {
    const lanes = await Promise.allSettled([...this.#lanes.values()].map((lane) => lane.drained()));
    for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
  }

  /** Claims nothing more, and waits for what is under way. */
  stop(): Promise<void> {
    for (const lane of this.#lanes.values()) lane.stop();
    return this.drained();
  }

  /** Lanes whose provider is away. */
  broken(): readonly string[] {
    return [...this.#lanes.values()].filter(({ isBroken }) => isBroken).map(({ name }) => name);
  }

  /** What was done since this was last asked. */
  takeCounts(): LaneCounts {
    const sum: LaneCounts = { claimed: 0, ended: 0, waiting: 0, failed: 0 };
    for (const { counts } of this.#lanes.values()) {
      for (const key of ['claimed', 'ended', 'waiting', 'failed'] as const) {
        sum[key] += counts[key];
        counts[key] = 0;
      }
    }
    return sum;
  }

  #of(name: string): Lane {
    const lane = this.#lanes.get(name) ?? new Lane(name, this.#ports);
    this.#lanes.set(name, lane);
    return lane;
  }
}

/** Takes back everything that is due now; for tests and for whoever wants one pass. */
export async function reapOnce(ports: ReapPorts): Promise<Readonly<LaneCounts>> {
  const lanes = new Lanes(ports);
  await lanes.look();
  await lanes.drained();
  return lanes.takeCounts();
}
