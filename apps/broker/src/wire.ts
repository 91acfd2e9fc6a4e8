import { issuerOf, resolveHost } from '@mayfly/attestors';
import { digestOf } from '@mayfly/audit';
import { type ExchangePorts, Fault, type LifecyclePorts, type Minter } from '@mayfly/core';
import { type AwsMinter, checkBase, checkPlan } from '@mayfly/minters';
import { createStore, type Store } from '@mayfly/store';
import type { Broker } from './broker.ts';
import { type ClockWatch, createClockWatch } from './clock-watch.ts';
import type { Config } from './config.ts';
import { createIds } from './ids.ts';
import type { Keyring, RowMac } from './keys/keyring.ts';
import { loadKeys } from './keys/load.ts';
import { rotateDueKeys } from './keys/rotation.ts';
import type { Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createMinterSet } from './minter-set.ts';
import { createPolicyCache, type PolicyCache } from './policy-cache.ts';
import { createTokens, type Tokens } from './tokens.ts';
import { createUnattested } from './unattested.ts';

export type Decorate = <Port extends object>(name: string, port: Port) => Port;

export interface WireOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly kek: Buffer;
  readonly log: Log;
  /** Wraps each port that has effects, by name: the kill matrix puts its barriers here. */
  readonly decorate?: Decorate;
}

export interface Wired extends Broker {
  readonly unattested: ReturnType<typeof createUnattested>;
  readonly clock: ClockWatch;
  /** The AWS minter, once a Provider of that type is in force. */
  aws(): AwsMinter | undefined;
  setDraining(): void;
  /** The one listener of nudges: the reaper's loop. */
  onNudge(run: () => void): void;
  /** Publishes the next signing keys whose time has come; answers those that this replica made. */
  rotateKeys(): ReturnType<typeof rotateDueKeys>;
}

/** The only place that knows every package: builds the broker from its configuration. */
export async function wire({
  config,
  databaseUrl,
  kek,
  log,
  decorate = (_, port) => port,
}: WireOptions): Promise<Wired> {
  const metrics = createMetrics(config.insecure);
  const keys: { ring?: Keyring; mac?: RowMac } = {};
  const store = openStore({
    config,
    databaseUrl,
    log,
    decorate,
    rowMac: (bytes) => required(keys.mac)(bytes),
  });
  Object.assign(keys, await loadKeys(store, kek));
  const keyring = () => required(keys.ring);
  const now = () => new Date();
  const newId = createIds(now);
  const tokens = createTokens({
    issuer: config.issuer,
    federationIssuer: config.federationIssuer,
    keyring,
    now,
    newId,
  });
  const report = reporter(log, metrics);
  const provider = (name: string) => policies.known()?.providers.get(name);
  const { deny } = store;
  const minters = createMinterSet({ config, tokens, decorate, deny, provider, now, report });
  const policies: PolicyCache = createPolicyCache({
    store,
    brokerIssuer: config.issuer,
    attestors: attestorLimits(config),
    onLoad: async ({ providers }) => {
      Object.assign(keys, await loadKeys(store, kek));
      await minters.load(providers);
    },
  });
  const unattested = createUnattested({
    ledger: store.ledger,
    newId,
    now,
    rowsPerSecond: config.refusalRowsPerSecond,
  });
  const { databaseNow } = store;
  const clock = createClockWatch({ databaseNow, now, skewMs: config.clockSkew, report });
  const ports = exchangePorts({
    ...{ config, store, clock, policies, tokens, unattested },
    ...{ minters: minters.all, newId, now, report },
  });
  const state: { draining: boolean; nudged: () => void } = { draining: false, nudged: () => undefined };
  const lifecycle: LifecyclePorts = { tasks: ports.tasks, policies, newId, now };
  return {
    config,
    exchange: ports,
    lifecycle,
    policies,
    store,
    tokens,
    keyring,
    log,
    metrics,
    unattested,
    clock,
    traffic: { inFlight: 0 },
    draining: () => state.draining,
    nudge: () => state.nudged(),
    onNudge: (run) => {
      state.nudged = run;
    },
    setDraining: () => {
      state.draining = true;
    },
    aws: minters.aws,
    rotateKeys: () =>
      rotateDueKeys({
        ...{ keys: store.keys, kek, databaseNow },
        ...{ everyMs: config.keyRotation, overlapMs: config.keyOverlap },
      }),
  };
}

function openStore(options: {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly log: Log;
  readonly decorate: Decorate;
  readonly rowMac: RowMac;
}): Store {
  const { config, databaseUrl, log, decorate, rowMac } = options;
  const store = createStore({
    url: databaseUrl,
    connections: config.databaseConnections,
    onError: (error) => log.warn({ err: error }, 'database connection lost'),
    reapAgeSeconds: config.reapAge / 1000,
    rowMac,
  });
  return {
    ...store,
    ledger: decorate('ledger', store.ledger),
    taskStore: decorate('tasks', store.taskStore),
    queue: decorate('queue', store.queue),
    deny: decorate('deny', store.deny),
  };
}

function reporter(log: Log, metrics: Metrics): ExchangePorts['report'] {
  return (message, context) => {
    log.warn({ ...context }, message);
    if (typeof context['alarm'] === 'string') metrics.alarms.inc({ kind: context['alarm'] });
  };
}

interface Parts {
  readonly store: Store;
  readonly clock: ClockWatch;
  readonly policies: PolicyCache;
  readonly tokens: Tokens;
  readonly minters: ReadonlyMap<string, Minter>;
  readonly newId: () => string;
  now(): Date;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
  readonly unattested: ExchangePorts['unattested'];
  readonly config: Config;
}

function exchangePorts(parts: Parts): ExchangePorts {
  const { store, clock, policies, tokens, minters, newId, now, report, unattested, config } = parts;
  return {
    clock: { now, monotonicMs: () => performance.now(), isTrusted: clock.isTrusted },
    newId,
    policies,
    attestor: policies.attestor,
    issuerOf,
    taskTokens: { verify: tokens.verifyTask, sign: tokens.signTask },
    tasks: store.taskStore,
    ledger: store.ledger,
    minters,
    check: checkPlan,
    checkBase,
    deadline: () => AbortSignal.timeout(config.mintDeadline),
    digest: digestOf,
    unattested,
    baseFlights: new Map(),
    report,
  };
}

function attestorLimits(config: Config) {
  return {
    allowLoopbackOrigins: config.allowLoopbackIssuers,
    allowPrivateOrigins: config.allowPrivateIssuers,
    skewSeconds: config.clockSkew / 1000,
    resolve: resolveHost,
  };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Fault('internal', { effect: 'none', detail: 'keys are not loaded' });
  return value;
}
