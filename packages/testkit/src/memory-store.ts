import type { DenyStore, Ledger, Revocations, Tasks, WorkQueue } from '@mayfly/core';
import { createMemoryDenyStore } from './memory/deny-store.ts';
import { MemoryFacts } from './memory/facts.ts';
import { createMemoryLedger } from './memory/ledger.ts';
import { createMemoryRevocations } from './memory/revocations.ts';
import { MemoryRows } from './memory/rows.ts';
import { createMemoryTasks } from './memory/tasks.ts';
import { createMemoryQueue } from './memory/work-queue.ts';
import { seededRandom } from './random.ts';

/** One replica's storage ports. */
export interface StorePorts {
  readonly ledger: Ledger;
  readonly tasks: Tasks;
  readonly queue: WorkQueue;
  readonly revocations: Revocations;
  readonly deny: DenyStore;
}

export interface MemoryStore extends StorePorts {
  /** The tables, for assertions and for moving time in single rows. */
  readonly rows: MemoryRows;
  /** Ports of another process over the same rows: with its own memory of tasks. */
  replica(): StorePorts;
}

export interface MemoryStoreOptions {
  readonly now: () => Date;
  /** Default 60, as MAYFLY_REAP_AGE. */
  readonly reapAgeSeconds?: number;
  readonly seed?: number;
}

/**
 * A store in memory with the semantics of prisma/migrations: store-contract.ts is run against both. Its clock is the
 * given one; whatever is done within one call is atomic.
 */
export function createMemoryStore({ now, reapAgeSeconds = 60, seed = 1 }: MemoryStoreOptions): MemoryStore {
  const rows = new MemoryRows(now);
  const random = seededRandom(seed);
  const replica = (): StorePorts => {
    const facts = new MemoryFacts();
    return {
      ledger: createMemoryLedger(rows, { facts, reapAgeSeconds }),
      tasks: createMemoryTasks(rows, facts),
      queue: createMemoryQueue(rows, random),
      revocations: createMemoryRevocations(rows),
      deny: createMemoryDenyStore(rows),
    };
  };
  return { rows, replica, ...replica() };
}
