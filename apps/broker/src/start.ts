import type { Server } from 'node:http';
import { migrate, startEmbedded } from '@mayfly/store';
import { applyBundle, readFolder } from './bundle.ts';
import { type Config, ConfigError } from './config.ts';
import { type HighWaterWatch, startHighWater } from './high-water.ts';
import { createApp } from './http/app.ts';
import { readInstallationKek } from './keys/key-encryption-key.ts';
import { startKeyWatch } from './keys/watch.ts';
import { createLog, type Log } from './log.ts';
import { createOpsServer } from './ops.ts';
import { keepPartitions, type Reaper, startReaper } from './reaper.ts';
import { closeGently, createServer, listen } from './server.ts';
import { type Wired, type WireOptions, wire } from './wire.ts';

/** What is left of a connection when nothing is in flight any more. */
const closeMs = 500;
const lastCallMs = 100;
const drainLookMs = 20;

export interface StartOptions {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `dev` marks its database, `serve` refuses that one. */
  readonly environment: 'dev' | 'production';
  readonly role?: 'all' | 'api' | 'worker';
  readonly log?: Log;
  /** Documents beside those of the bundle folder: what `dev` brings. */
  readonly documents?: readonly { file: string; text: string }[];
  readonly decorate?: WireOptions['decorate'];
  /** Progress, a line each. */
  say?(line: string): void;
}

export interface Running {
  readonly broker: Wired;
  readonly url: string;
  readonly opsUrl: string;
  readonly databaseUrls: {
    readonly app: string;
    readonly owner: string | null;
    readonly auditor: string | null;
  };
  stop(): Promise<void>;
}

/** Database, keys, documents, listeners, reaper; `stop` drains and leaves no process. */
export async function startBroker(options: StartOptions): Promise<Running> {
  const { config, environment, role = 'all', say = () => undefined } = options;
  const log = options.log ?? createLog({ level: config.logLevel, file: config.logFile });
  const kek = readInstallationKek(config, { env: options.env, create: true });
  const database = await openDatabase(config, log, say);
  const undo: (() => Promise<unknown>)[] = [database.stop];
  try {
    const broker = await wire({
      config,
      databaseUrl: database.appUrl,
      kek,
      env: options.env,
      log,
      ...(options.decorate ? { decorate: options.decorate } : {}),
    });
    undo.unshift(() => broker.store.close());
    const found = await refuseOtherEnvironment(broker, environment);
    const highWater = await startHighWater(broker, found);
    undo.unshift(() => highWater.stop());
    await keepPartitions(broker);
    const sources = [
      ...(options.documents ?? []),
      ...(config.bundle === undefined ? [] : readFolder(config.bundle)),
    ];
    if (sources.length > 0) await applyBundle(broker, sources);
    // An older state serves its ends all the same.
    await broker.policies.current();
    await broker.clock.look();
    const clock = broker.clock.start();
    undo.unshift(async () => clock.stop());
    const keyWatch = startKeyWatch(broker);
    undo.unshift(() => keyWatch.stop());
    const reaper = role === 'api' ? undefined : startReaper(broker);
    if (reaper !== undefined) undo.unshift(() => reaper.stop());
    const { api, ops, ports } = await openListeners(broker, role);
    say(`broker ${config.issuer}`);
    return {
      broker,
      url: config.issuer,
      opsUrl: `http://${config.opsListen.replace(/:\d+$/, '')}:${ports.ops}`,
      databaseUrls: { app: database.appUrl, owner: database.ownerUrl, auditor: database.auditorUrl },
      stop: () =>
        stop({ broker, clock, highWater, keyWatch, api, ops, reaper, closeDatabase: database.stop }),
    };
  } catch (error) {
    for (const step of undo) await step().catch(() => undefined);
    throw error;
  }
}

interface OpenedDatabase {
  readonly appUrl: string;
  readonly ownerUrl: string | null;
  readonly auditorUrl: string | null;
  stop(): Promise<void>;
}

/** The embedded one is migrated at start; an external one by `mayfly migrate` with the owner's login. */
async function openDatabase(config: Config, log: Log, say: (line: string) => void): Promise<OpenedDatabase> {
  if (config.databaseUrl !== undefined) {
    await refuseUnmigrated(config.databaseUrl);
    return { appUrl: config.databaseUrl, ownerUrl: null, auditorUrl: null, stop: async () => undefined };
  }
  say(`PostgreSQL 18, embedded, data in ${config.dataDir}`);
  const embedded = await startEmbedded({
    dataDir: config.dataDir,
    log: (line) => log.debug({ postgres: line }, 'postgres'),
  });
  await migrate(embedded.ownerUrl);
  const { appUrl, ownerUrl, auditorUrl } = embedded;
  return { appUrl, ownerUrl, auditorUrl, stop: () => embedded.stop() };
}

/** Throws ConfigError where migrations are missing. */
export async function refuseUnmigrated(url: string): Promise<void> {
  const { pending } = await migrate(url, { plan: true });
  if (pending.length === 0) return;
  const problem = `the database lacks ${pending.join(', ')}: run \`mayfly migrate\` with the owner’s login`;
  throw new ConfigError([problem]);
}

async function refuseOtherEnvironment(
  { store }: Wired,
  environment: 'dev' | 'production',
): Promise<{ isMoved: boolean }> {
  const { environment: marked, isMoved } = await store.ensureInstallation(environment);
  if (marked === environment) return { isMoved };
  const hint =
    environment === 'dev' ? '`mayfly dev` never touches it' : 'it was made by `mayfly dev`; use a new one';
  throw new ConfigError([`this database is marked "${marked}": ${hint}`]);
}

async function openListeners(broker: Wired, role: 'all' | 'api' | 'worker') {
  const { config } = broker;
  const api = createServer(createApp(broker), config);
  const ops = createOpsServer(broker);
  if (role !== 'worker') await listen(api, config.listen, 'listen (MAYFLY_LISTEN)');
  try {
    const opsPort = await listen(ops, config.opsListen, 'opsListen (MAYFLY_OPS_LISTEN)');
    return { api, ops, ports: { ops: opsPort } };
  } catch (error) {
    api.close();
    throw error;
  }
}

async function drained(traffic: { readonly inFlight: number }, deadlineMs: number): Promise<void> {
  const until = performance.now() + deadlineMs;
  while (traffic.inFlight > 0 && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, drainLookMs));
}

interface Stopping {
  readonly broker: Wired;
  readonly clock: { stop(): void };
  readonly keyWatch: { stop(): Promise<void> };
  readonly highWater: HighWaterWatch;
  readonly api: Server;
  readonly ops: Server;
  readonly reaper: Reaper | undefined;
  closeDatabase(): Promise<void>;
}

/**
 * New exchanges are refused at once, those in flight get their time; until then we go on listening, since a cloud may
 * yet fetch the keys of an assertion that it is being shown. /readyz says `draining` meanwhile.
 */
async function stop(stopping: Stopping): Promise<void> {
  const { broker, clock, highWater, keyWatch, api, ops, reaper, closeDatabase } = stopping;
  broker.setDraining();
  const { drainTimeout } = broker.config;
  await Promise.all([reaper?.stop(), drained(broker.traffic, drainTimeout)]);
  if (api.listening) {
    // A request may be on its way over a connection that seems idle: it is told to go elsewhere, and not cut off.
    await new Promise((resolve) => setTimeout(resolve, lastCallMs));
    await drained(broker.traffic, drainTimeout);
    await closeGently(api, closeMs);
  }
  clock.stop();
  await keyWatch.stop();
  await highWater.stop();
  await broker.unattested.flush().catch(() => undefined); // Counted refusals; nothing is lost with the database gone.
  await closeGently(ops, closeMs);
  await broker.store.close();
  await closeDatabase();
}
