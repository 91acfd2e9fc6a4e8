import { digestOf } from '@mayfly/audit';
import { type ExchangePorts, Fault, type LifecyclePorts, type Minter, Refusal } from '@mayfly/core';
import { checkBase, checkPlan } from '@mayfly/minters';
import { joseType, parseId } from '@mayfly/protocol';
import { createStore, type Store } from '@mayfly/store';
import { attestorOptions, createRoute } from './attesting.ts';
import type { Broker } from './broker.ts';
import { type ClockWatch, createClockWatch } from './clock-watch.ts';
import type { Config } from './config.ts';
import { createIds } from './ids.ts';
import type { Keyring, RowMac } from './keys/keyring.ts';
import { type LoadedKeys, loadKeys } from './keys/load.ts';
import { rotateDueKeys } from './keys/rotation.ts';
import type { Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createMinterSet } from './minter-set.ts';
import { createOperatorFiles } from './operator-files.ts';
import { createPolicyCache, type PolicyCache } from './policy-cache.ts';
import { createNonces, type Nonces } from './proof/nonce.ts';
import { createProofs } from './proof/proofs.ts';
import type { SignIn } from './signin/sign-in.ts';
import { createTokens, type Tokens, typOf } from './tokens.ts';
import { createUnattested } from './unattested.ts';

export type Decorate = <Port extends object>(name: string, port: Port) => Port;

export interface WireOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly kek: Buffer;
  /** Where `{env: NAME}` references are read. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** Wraps each port that has effects, by name: the kill matrix puts its barriers here. */
  readonly decorate?: Decorate;
}

export interface Wired extends Broker {
  readonly unattested: ReturnType<typeof createUnattested>;
  readonly clock: ClockWatch;
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
  env = {},
  log,
  decorate = (_, port) => port,
}: WireOptions): Promise<Wired> {
  const metrics = createMetrics(config.insecure);
  const keys: Partial<LoadedKeys> = {};
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
  const { issuer, federationIssuer } = config;
  const tokens = createTokens({ issuer, federationIssuer, keyring, now, newId });
  const nonces = createNonces(() => required(keys.nonceSecret));
  const report = reporter(log, metrics);
  const provider = (name: string) => policies.known()?.providers.get(name);
  const { deny } = store;
  const files = createOperatorFiles(config, env);
  const minters = createMinterSet({ config, tokens, decorate, deny, files, provider, now, report });
  const policies: PolicyCache = createPolicyCache({
    store,
    brokerIssuer: config.issuer,
    attestors: attestorOptions(config),
    attestorsMax: config.issuersCached,
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
  const parts = { store, policies, newId, now, report, unattested, config };
  const ports = exchangePorts({ ...parts, clock, tokens, nonces, minters: minters.all });
  const state = { draining: false, nudged: (): void => undefined };
  const secret = () => required(keys.signInSecret);
  const signIn = await openSignIn({ parts, env, keyring, secret });
  const lifecycle: LifecyclePorts = { tasks: ports.tasks, policies, newId, now };
  return {
    config,
    exchange: ports,
    lifecycle,
    policies,
    store,
    tokens,
    nonces,
    keyring,
    signIn,
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
    endingConnections: config.endingConnections,
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
  readonly nonces: Nonces;
  readonly minters: ReadonlyMap<string, Minter>;
  readonly newId: () => string;
  now(): Date;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
  readonly unattested: ExchangePorts['unattested'];
  readonly config: Config;
}

function exchangePorts(parts: Parts): ExchangePorts {
  const { store, clock, policies, tokens, nonces, minters, newId, now, report, unattested, config } = parts;
  return {
    clock: { now, monotonicMs: () => performance.now(), isTrusted: clock.isTrusted },
    newId,
    policies,
    attestor: policies.attestor,
    issuerOf: createRoute(config, policies),
    taskTokens: { verify: tokens.verifyTask, sign: tokens.signTask },
    toolTokens: { verify: (token) => verifyShownToken(token, { tokens, store }) },
    proofs: createProofs({
      windowMs: config.dpopWindow,
      nonceRequired: config.dpopNonce === 'required',
      nonceUntil: nonces.until,
    }),
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

/** A tool token that a tool was shown, when it is active now. A token of another `typ` is none. */
async function verifyShownToken(token: string, { tokens, store }: Pick<Parts, 'tokens' | 'store'>) {
  if (typOf(token) !== joseType.accessToken) return null;
  const claims = await tokens.verifyTool(token);
  const id = claims === undefined ? undefined : parseId('isn', String(claims['jti']));
  const taskId = claims === undefined ? undefined : parseId('tsk', String(claims['txn']));
  if (claims === undefined || id === undefined || taskId === undefined || !(await store.tokenStatus(id)))
    throw new Refusal('assertion_invalid', { detail: 'a tool token that is not active' });
  return { taskId, audience: claims.aud, confirmation: claims.confirmation };
}

interface SignInParts {
  readonly parts: Pick<Parts, 'store' | 'policies' | 'newId' | 'now' | 'report' | 'unattested' | 'config'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  keyring(): Keyring;
  secret(): Buffer;
}

/** Off, it is not even loaded. */
async function openSignIn({ parts, env, keyring, secret }: SignInParts): Promise<SignIn | undefined> {
  const { store, policies, config } = parts;
  if (config.signInIssuer === undefined) return undefined;
  const { createSignIn } = await import('./signin/sign-in.ts');
  return createSignIn({
    ...parts,
    env,
    keyring,
    secret,
    issuerName: config.signInIssuer,
    rows: store.signIn(secret),
    attestors: attestorOptions(config),
    policy: () => policies.refresh(),
  });
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Fault('internal', { effect: 'none', detail: 'keys are not loaded' });
  return value;
}
