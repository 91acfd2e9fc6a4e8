import type { DenyStore, Ledger, Revocations, Tasks, WorkQueue } from '@mayfly/core';
import { createAnswers } from './answers.ts';
import { type Database, type DatabaseOptions, openDatabase, openStatements } from './database.ts';
import { createDenyStore } from './deny-store.ts';
import { createDocuments, type Documents, type RowMac } from './documents.ts';
import { createRecovery, HighWater, type Recovery } from './high-water.ts';
import {
  type DatabaseStatus,
  databaseNow,
  ensureInstallation,
  keepPartitions,
  readDatabaseStatus,
} from './installation.ts';
import { createKeys, type Keys } from './keys.ts';
import { createLedger } from './ledger.ts';
import { createQueries } from './queries.ts';
import { createRevocations } from './revocations.ts';
import { createSignIn, type SignInRows } from './sign-in.ts';
import { TaskFacts } from './task-facts.ts';
import { createTasks } from './tasks.ts';
import { createWorkQueue, type QueueStatus, readQueueStatus } from './work-queue.ts';

export type Store = ReturnType<typeof createQueries> &
  ReturnType<typeof createAnswers> & {
    readonly ledger: Ledger;
    readonly taskStore: Tasks;
    readonly queue: WorkQueue;
    readonly revocations: Revocations;
    readonly deny: DenyStore;
    readonly highWater: HighWater;
    readonly recovery: Recovery;
    readonly documents: Documents;
    readonly keys: Keys;
    /** Rows of people's sign-in, sealed under keys that are made from this secret. */
    signIn(secret: () => Buffer): SignInRows;
    readonly database: Database;
    status(): Promise<DatabaseStatus>;
    queueStatus(): Promise<QueueStatus>;
    databaseNow(): Promise<Date>;
    ensureInstallation(environment: 'dev' | 'production'): Promise<{ environment: string; isMoved: boolean }>;
    keepPartitions(retentionDays: number): Promise<void>;
    close(): Promise<void>;
  };

export interface StoreOptions extends DatabaseOptions {
  /** Connections beside those, kept for what ends access. */
  readonly endingConnections: number;
  readonly reapAgeSeconds: number;
  readonly rowMac: RowMac;
}

/** Everything stored. `rowMac` is asked for at each use: the key itself lies wrapped in the database. */
export function createStore(options: StoreOptions): Store {
  const database = openDatabase(options);
  const ending = openStatements({ ...options, connections: options.endingConnections });
  const facts = new TaskFacts();
  const highWater = new HighWater(ending);
  return {
    ...createQueries(database),
    ...createAnswers(database),
    highWater,
    recovery: createRecovery(ending),
    ledger: createLedger(database, facts, { ...options, highWater }),
    taskStore: createTasks(database, facts, { reserved: ending, highWater }),
    queue: createWorkQueue(ending),
    revocations: createRevocations(ending),
    deny: createDenyStore(ending, highWater),
    documents: createDocuments(database, options.rowMac, highWater),
    keys: createKeys(database),
    signIn: (secret) => createSignIn(database, secret),
    database,
    status: () => readDatabaseStatus(database),
    queueStatus: () => readQueueStatus(ending),
    databaseNow: () => databaseNow(database),
    ensureInstallation: (environment) => ensureInstallation(database, environment),
    keepPartitions: (days) => keepPartitions(database, days),
    close: async () => {
      await Promise.all([database.close(), ending.close()]);
    },
  };
}
