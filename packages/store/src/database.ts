import { Fault } from '@mayfly/core';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from './generated/client.ts';

/** How long a request waits for a free connection before it is told 503. */
const connectTimeoutMs = 3_000;
/** Longest single statement; far above any of ours, so that a stuck database is noticed. */
const queryTimeoutMs = 15_000;

/** Statements over a pool of their own, prepared unless a pooler stands between. Holds no session state. */
export interface Statements {
  /** The name is that of the prepared statement. Faults say whether it may have been applied. */
  call<Row extends pg.QueryResultRow>(name: string, text: string, values: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** One pool, shared by the prepared hot statements and by Prisma. */
export interface Database extends Statements {
  readonly pool: pg.Pool;
  readonly prisma: PrismaClient;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly connections: number;
  /** A lost idle connection is news for the log, never the end of the process. */
  onError(error: Error): void;
}

export function openDatabase(options: DatabaseOptions): Database {
  const pool = openPool(options);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
  return {
    pool,
    prisma,
    call: (name, text, values) => callNamed(pool, { name, text, values: [...values] }),
    close: async () => {
      await prisma.$disconnect();
      await pool.end();
    },
  };
}

/** Connections that nobody else takes: what ends access must not wait behind what gives it (invariant I14). */
export function openStatements(options: DatabaseOptions): Statements {
  const pool = openPool(options);
  return {
    call: (name, text, values) => callNamed(pool, { name, text, values: [...values] }),
    close: () => pool.end(),
  };
}

function openPool({ url, connections, onError }: DatabaseOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: queryTimeoutMs,
    application_name: 'mayfly',
    keepAlive: true,
    onConnect: notePooler,
  });
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

/** Connections that a pooler stands behind. */
const pooled = new WeakSet<pg.ClientBase>();

/**
 * A pooler that hands each transaction to whichever server connection is free (PgBouncer) knows nothing of statements
 * that were prepared on another one. It shows by the process that answers: another than the connection was told.
 */
async function notePooler(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  if (rows[0]?.pid !== Reflect.get(client, 'processID')) pooled.add(client);
}

/** A deadlock or serialization failure applied nothing; asked again it has always passed here. */
const triesMax = 3;

async function callNamed<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  query: pg.QueryConfig,
  tries = 1,
): Promise<Row[]> {
  try {
    return await callOnce<Row>(pool, query);
  } catch (cause) {
    if (!(cause instanceof pg.DatabaseError) || tries >= triesMax) throw cause;
    if (cause.code !== '40P01' && cause.code !== '40001') throw cause;
    return callNamed(pool, query, tries + 1);
  }
}

async function callOnce<Row extends pg.QueryResultRow>(pool: pg.Pool, query: pg.QueryConfig): Promise<Row[]> {
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (cause) {
    throw new Fault('database_unavailable', { effect: 'none', detail: describeLoss(cause), cause });
  }
  try {
    const { text, values } = query;
    const { rows } = await client.query<Row>(pooled.has(client) ? { text, values } : query);
    client.release();
    return rows;
  } catch (cause) {
    // A server's answer leaves the connection usable; anything else may have been applied, and the client is dropped.
    const answered = cause instanceof pg.DatabaseError && !isShutdown(cause);
    client.release(!answered);
    if (answered && isExhausted(cause))
      throw new Fault('database_unavailable', { effect: 'none', detail: describeLoss(cause), cause });
    if (answered) throw cause;
    throw new Fault('database_unavailable', { effect: 'unknown', detail: describeLoss(cause), cause });
  }
}

/** Prisma's and pg's errors of an absent database as the one Fault; everything else passes through. */
export async function orFault<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    if (cause instanceof pg.DatabaseError && !isShutdown(cause) && !isExhausted(cause)) throw cause;
    if (!isUnavailable(cause) && !(cause instanceof pg.DatabaseError)) throw cause;
    throw new Fault('database_unavailable', { effect: 'unknown', detail: describeLoss(cause), cause });
  }
}

// Class 57P: the server is going away; 53300: no connection slot; 08: connection exceptions.
function isShutdown({ code = '' }: pg.DatabaseError): boolean {
  return code.startsWith('57P') || code.startsWith('08') || code === '53300';
}

// Class 53: no disk, no memory. It answered, so nothing of the statement stands, and it may be better soon.
function isExhausted({ code = '' }: pg.DatabaseError): boolean {
  return code.startsWith('53');
}

const absent =
  /ECONNREFUSED|ECONNRESET|EPIPE|ENOTFOUND|ETIMEDOUT|terminated|timeout|closed|Can't reach|57P0|starting up|shutting down/i;

function isUnavailable(cause: unknown): boolean {
  return (
    cause instanceof Error &&
    absent.test(`${cause.name} ${cause.message} ${String(Reflect.get(cause, 'code') ?? '')}`)
  );
}

/** What is known of a lost or refused connection, without its address or login. */
export function describeLoss(cause: unknown): string {
  if (cause instanceof pg.DatabaseError) return `SQLSTATE ${cause.code ?? 'unknown'}`;
  const code = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
  return typeof code === 'string' ? code : 'connection lost or timed out';
}
