import {
  type ExchangePorts,
  type IntendResult,
  type Intent,
  type LifecyclePorts,
  type Minter,
  type NewId,
  type ReapPorts,
  Refusal,
  Secret,
} from '@mayfly/core';
import {
  checkFakeBase,
  checkFakePlan,
  createFakeLocalMinter,
  createMemoryPolicies,
  issuerUrl,
  type MemoryDocuments,
  type MemoryStore,
  type StorePorts,
} from '@mayfly/testkit';
import { createConnections } from '../../packages/minters/src/aws/call.ts';
import { createDenyDocuments } from '../../packages/minters/src/aws/deny.ts';
import type { Cloud, CloudKind } from './clouds.ts';
import { providerNamed, settings } from './documents.ts';
import { cloudApi, database, iamApi, type Process } from './effects.ts';
import type { Weather } from './faults.ts';
import { type IamCall, iamDoors } from './iam-client.ts';
import {
  type CloudCalls,
  createDeletingMinter,
  createDenyingMinter,
  createExpiringMinter,
} from './minters.ts';
import type { Oracles } from './oracles.ts';
import type { Scheduler } from './scheduler.ts';

export type BrokerPorts = ExchangePorts & ReapPorts & LifecyclePorts;

/** What replicas share, and what the simulation knows of them all. */
export interface Surroundings {
  readonly scheduler: Scheduler;
  readonly store: MemoryStore;
  readonly documents: MemoryDocuments;
  readonly clouds: Readonly<Record<CloudKind, Cloud>>;
  readonly oracles: Oracles;
  readonly trace: ((text: string) => void) | null;
  weather(): Weather;
  /** Database time. */
  now(): Date;
  readonly newId: NewId;
  /** Something may be due that was not. */
  onWrite(): void;
}

/** What one process has for itself. */
export interface Own {
  readonly process: Process;
  /** How far its clock is ahead of the database's. */
  offsetMs(): number;
}

/** The ports of one process, each effect of them over the network; `denying` is the minter that has documents to watch. */
export function createPorts(surroundings: Surroundings, own: Own): { ports: BrokerPorts; denying: Minter } {
  const { store, documents, newId } = surroundings;
  const { process, offsetMs } = own;
  const now = () => new Date(surroundings.now().getTime() + offsetMs());
  const storage = observed(store.replica(), surroundings.oracles);
  const wrap = <T extends object>(prefix: string, port: T) => overNetwork(prefix, port, surroundings, own);
  const policies = createMemoryPolicies(documents);
  const ledger = wrap('ledger', storage.ledger);
  const report = reporter(surroundings, own);
  const denials = createDenyDocuments({
    ...{ deny: wrap('deny', storage.deny), provider: providerNamed, now, report },
    federation: { sign: () => Promise.reject(new TypeError('nothing is federated here')) },
    connections: connectionsTo(surroundings, own),
    onWidened: () => undefined,
    deadline: () => own.process.deadline(settings.mintDeadline),
  });
  const denying = createDenyingMinter(callsOf('denying', surroundings, own), denials);
  const minters = [
    denying,
    createDeletingMinter(callsOf('deleting', surroundings, own)),
    createExpiringMinter(callsOf('expiring', surroundings, own)),
    createFakeLocalMinter({ ends: 'denied' }),
  ];
  const { refresh } = policies;
  const ports: BrokerPorts = {
    ...{ newId, now, ledger, report, taskTokens, proofs },
    clock: {
      now,
      monotonicMs: () => surroundings.scheduler.nowMs,
      isTrusted: () => Math.abs(offsetMs()) <= (settings.skew * 1000) / 2,
    },
    policies: {
      ...policies,
      refresh: () => process.call({ peer: database, name: 'policies.refresh', apply: refresh }),
    },
    tasks: wrap('tasks', storage.tasks),
    queue: wrap('queue', storage.queue),
    minters: new Map(minters.map((minter) => [minter.kind, minter])),
    attestor: (iss) => (iss === issuerUrl ? attestor : undefined),
    issuerOf: (assertion) => (assertion.includes(':') ? issuerUrl : undefined),
    toolTokens: { verify: async () => null },
    check: checkFakePlan,
    checkBase: checkFakeBase,
    deadline: () => process.deadline(settings.mintDeadline),
    // Idempotency keys, which are arrays, are looked up again; of the input of a decision only that there is one.
    digest: (value) => (Array.isArray(value) ? JSON.stringify(value) : 'digest'),
    unattested: { append: (event) => ledger.append(event) },
    baseFlights: new Map(),
    skewSeconds: settings.skew,
    concurrency: 3,
    callsPerSecond: 50,
    endsPerCall: (provider) => (provider === 'denying' ? 20 : 1),
    monotonicMs: () => surroundings.scheduler.nowMs,
  };
  return { ports, denying };
}

/** Reports are for operators; one that names an error which is neither Refusal nor Fault is a finding. */
function reporter({ trace, oracles }: Surroundings, { process }: Own): ExchangePorts['report'] {
  return (message, context) => {
    trace?.(`${process.name} reports: ${message} ${JSON.stringify(context)}`);
    const detail = String(context['detail']);
    if (/^[A-Za-z]*Error: /.test(detail)) oracles.violated(`I13: ${message}: ${detail}`);
  };
}

/** Each method of a storage port is one statement, sent to the database and answered. */
function overNetwork<T extends object>(
  prefix: string,
  port: T,
  { onWrite }: Surroundings,
  { process }: Own,
): T {
  return new Proxy(port, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key);
      if (typeof member !== 'function' || typeof key !== 'string') return member;
      const name = `${prefix}.${key}`;
      return (...values: readonly unknown[]) =>
        process.call({
          peer: database,
          name,
          apply: () => {
            onWrite();
            return Reflect.apply(member, target, values);
          },
        });
    },
  });
}

/** The statements that the oracles look at as they take effect. */
function observed({ ledger, queue, deny, ...rest }: StorePorts, oracles: Oracles): StorePorts {
  const watch = async (intent: Intent, run: () => Promise<IntendResult>): Promise<IntendResult> => {
    const intended = oracles.intents.before(intent);
    const result = await run();
    intended(result.kind === 'intended');
    return result;
  };
  return {
    ...rest,
    ledger: {
      ...ledger,
      intend: (intent) => watch(intent, () => ledger.intend(intent)),
      issueLocal: (intent, delivery) => watch(intent, () => ledger.issueLocal(intent, delivery)),
    },
    queue: {
      ...queue,
      settle: async (ends) => {
        const settled = oracles.credentials.beforeSettled(ends);
        await queue.settle(ends);
        settled();
      },
    },
    deny: {
      ...deny,
      request: async (role, add, leaseSeconds) => {
        const write = await deny.request(role, add, leaseSeconds);
        if (write !== null) oracles.denials.onRequested(write.version, add);
        return write;
      },
      acknowledge: async (role, version, widened) => {
        const acknowledged = await deny.acknowledge(role, version, widened);
        if (acknowledged) oracles.denials.onAcknowledged(version);
        return acknowledged;
      },
    },
  };
}

function callsOf(kind: CloudKind, { clouds, oracles, onWrite }: Surroundings, { process }: Own): CloudCalls {
  const cloud = clouds[kind];
  // A second request for a thing that has a name would be refused as one that exists; others simply come twice.
  const peer = { ...cloudApi, mayRepeat: kind !== 'deleting' };
  return {
    mint: (plan, signal) =>
      process.call({
        ...{ peer, name: `${kind}.mint`, signal },
        apply: () => {
          const credential = cloud.mint(plan);
          oracles.credentials.onMinted(credential);
          onWrite();
          return credential;
        },
      }),
    remove: (issuanceId, signal) =>
      process.call({
        ...{ peer: cloudApi, name: `${kind}.remove`, signal },
        apply: () => {
          onWrite();
          return cloud.remove(issuanceId);
        },
      }),
  };
}

function connectionsTo(surroundings: Surroundings, { process }: Own) {
  const connections = createConnections();
  const cloud = surroundings.clouds.denying;
  iamDoors.set(connections, (request, signal) =>
    process.call({
      ...{ peer: iamApi, name: request.action, signal },
      apply: () => {
        surroundings.onWrite();
        surroundings.trace?.(`${process.name} iam ${request.action} meets document ${cloud.version}`);
        return answerIam(cloud, request, surroundings.oracles);
      },
    }),
  );
  return connections;
}

function answerIam(
  cloud: Cloud,
  { action, document }: IamCall,
  oracles: Oracles,
): { PolicyDocument?: string } {
  if (action === 'PutRolePolicy') {
    const landed = cloud.putPolicy(document ?? '');
    if (landed !== null) oracles.denials.onLanded(landed);
    return {};
  }
  if (action === 'DeleteRolePolicy') {
    cloud.deletePolicy();
    return {};
  }
  const text = cloud.readPolicy();
  if (text === null) throw Object.assign(new Error('no such policy'), { name: 'NoSuchEntityException' });
  return { PolicyDocument: encodeURIComponent(text) };
}

/** The same for every assertion, however often it is shown. */
const assertionExpiresAt = new Date('2026-07-02T00:00:00Z');

/** `SUBJECT:JTI`; each works once. */
const attestor: NonNullable<ReturnType<ExchangePorts['attestor']>> = {
  issuer: issuerUrl,
  attest: async (assertion) => {
    const [subject = ''] = assertion.split(':');
    return {
      ...{ issuer: issuerUrl, issuerName: 'agents', subject, claims: { sub: subject } },
      ...{ assertionId: `digest of ${assertion}`, assertionExpiresAt, replay: 'once', people: false },
    };
  },
};

const taskTokens: ExchangePorts['taskTokens'] = {
  verify: async (token) => {
    if (!token.startsWith('task-token/')) throw new Refusal('assertion_invalid', { detail: 'no task token' });
    return { taskId: token.slice('task-token/'.length), confirmation: null };
  },
  sign: async ({ id }) => new Secret(`task-token/${id}`),
};

const proofs: ExchangePorts['proofs'] = {
  verify: async () => ({ confirmation: {}, use: null }),
};
