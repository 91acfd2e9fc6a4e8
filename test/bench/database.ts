import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { round } from './load.ts';

/** What PostgreSQL and the processes had done until now. */
export interface Sample {
  readonly atMs: number;
  readonly statements: number;
  readonly walBytes: number;
  readonly brokerCpuMs: number;
  /** By process: some end, and others begin, between two samples. */
  readonly postgresCpuMs: ReadonlyMap<number, number>;
}

export interface Cost {
  readonly statements: number;
  readonly walBytes: number;
  readonly brokerCpuMicroseconds: number;
  readonly postgresCpuMicroseconds: number;
}

/** A backend that has become idle reports its statistics ten seconds later at the latest (PGSTAT_IDLE_INTERVAL). */
const statisticsMs = 10_500;
/** /proc counts in ticks of 10 ms. */
const tickMs = 10;

export class Database {
  readonly #client: pg.Client;
  readonly #pids: { readonly broker: number; readonly postmaster: number };

  private constructor(client: pg.Client, pids: { broker: number; postmaster: number }) {
    this.#client = client;
    this.#pids = pids;
  }

  static async connect(url: string, pids: { broker: number; postmaster: number }): Promise<Database> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return new Database(client, pids);
  }

  async one(text: string): Promise<Readonly<Record<string, unknown>>> {
    const { rows } = await this.#client.query<Record<string, unknown>>(text);
    return rows[0] ?? {};
  }

  /** Every statement of ours is a transaction, so commits count statements. */
  async sample(): Promise<Sample> {
    await new Promise((resolve) => setTimeout(resolve, statisticsMs));
    const row = await this.one(`select xact_commit + xact_rollback as statements,
      pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal from pg_stat_database where datname = current_database()`);
    return {
      atMs: performance.now(),
      statements: Number(row['statements']),
      walBytes: Number(row['wal']),
      brokerCpuMs: cpuMs(this.#pids.broker),
      postgresCpuMs: new Map(childrenOf(this.#pids.postmaster).map((pid) => [pid, cpuMs(pid)])),
    };
  }

  async settings(): Promise<Readonly<Record<string, unknown>>> {
    return this.one(`select current_setting('server_version') as version, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as "synchronousCommit"`);
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

/** What one exchange cost, with what the idle broker does beside taken off. */
export function costOf(from: Sample, to: Sample, options: { exchanges: number; idlePerMs: number }): Cost {
  const { exchanges, idlePerMs } = options;
  const statements = to.statements - from.statements - idlePerMs * (to.atMs - from.atMs);
  let postgresMs = 0;
  for (const [pid, ms] of to.postgresCpuMs) postgresMs += ms - (from.postgresCpuMs.get(pid) ?? 0);
  return {
    statements: round(statements / exchanges),
    walBytes: Math.round((to.walBytes - from.walBytes) / exchanges),
    brokerCpuMicroseconds: Math.round(((to.brokerCpuMs - from.brokerCpuMs) * 1000) / exchanges),
    postgresCpuMicroseconds: Math.round((postgresMs * 1000) / exchanges),
  };
}

function cpuMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * tickMs;
  } catch {
    return 0; // Ended between listing and reading, or a system without /proc.
  }
}

function childrenOf(parent: number): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name))
      .map(Number)
      .filter((pid) => parentOf(pid) === parent);
  } catch {
    return [];
  }
}

function parentOf(pid: number): number {
  try {
    return Number(
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')[1],
    );
  } catch {
    return 0;
  }
}
