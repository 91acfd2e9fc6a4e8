import { digestOf } from '@mayfly/audit';
import {
  type Attestor,
  compilePattern,
  type Delivered,
  type ExchangePorts,
  type ExchangeRequest,
  exchange,
  Fault,
  type Identity,
  type Minter,
  type NewId,
  noDeviationRules,
  type Pattern,
  type PolicySet,
  type Presented,
  type Provider,
  type ReapPorts,
  Refusal,
  type Refused,
  type RevocationPorts,
  reapOnce,
  Secret,
  type Template,
  type TrustedIssuer,
  type Workload,
} from '@mayfly/core';
import { seededIds, TestClock } from './clock.ts';
import { FakeCloud } from './fake-cloud.ts';
import { createMemoryPolicies, MemoryDocuments } from './memory/policies.ts';
import { createMemoryStore, type MemoryStore, type StorePorts } from './memory-store.ts';
import {
  checkFakeBase,
  checkFakePlan,
  createFakeLocalMinter,
  createFakeMinter,
  type FakeMinterOptions,
} from './minter.ts';
import { Trace } from './trace.ts';

export const issuerUrl = 'https://issuer.example';
export const otherIssuerUrl = 'https://other.example';

/** Compiles or throws: for tests, which write only patterns that are some. */
export function pattern(text: string): Pattern {
  const compiled = compilePattern(text);
  if ('problem' in compiled) throw new TypeError(`${text}: ${compiled.problem}`);
  return compiled;
}

export interface WorldOptions {
  readonly template?: Partial<Template>;
  readonly issuer?: Partial<TrustedIssuer>;
  readonly minter?: Omit<FakeMinterOptions, 'cloud'>;
  /** How tool tokens of the local minter end. */
  readonly localEnds?: 'denied' | 'expired';
  readonly concurrency?: number;
}

/** What one broker process has: its ports, what it did with them, and what it reported. */
export interface Broker {
  readonly ports: ExchangePorts & ReapPorts & RevocationPorts;
  readonly trace: Trace;
  readonly reports: { readonly message: string; readonly context: Readonly<Record<string, unknown>> }[];
  /** Aborts every call that runs under the mint deadline now. */
  passMintDeadline(): void;
  exchange(request: Partial<ExchangeRequest>): Promise<Delivered | Refused>;
  reap(): ReturnType<typeof reapOnce>;
}

export interface World extends Broker {
  readonly clock: TestClock;
  readonly newId: NewId;
  readonly store: MemoryStore;
  readonly documents: MemoryDocuments;
  readonly cloud: FakeCloud;
  readonly template: Template;
  readonly issuer: TrustedIssuer;
  /** What the issuer says of its subjects; empty at first. */
  readonly claims: Map<string, Identity['claims']>;
  /** `cnf`, `may_act` and `iat` in the assertions of a subject; empty at first. */
  readonly bound: Map<string, Pick<Workload, 'confirmation' | 'mayAct' | 'assertionIssuedAt'>>;
  /** Set to make the issuer's keys unreadable. */
  issuerDown(): void;
  /** Another process over the same database and cloud. */
  anotherBroker(): Broker;
}

/**
 * A broker in memory: one issuer, one template with a grant on a cloud and one for a tool server, a clock that stands
 * still. A subject token is `SUBJECT:JTI`; what the issuer knows of the subject is in `claims`. A DPoP proof is
 * `KEY:JTI`; a task token `task-token:TASK:KEY`, a tool token `tool-token:TASK:AUDIENCE`.
 */
export function coreWorld(options: WorldOptions = {}): World {
  const clock = new TestClock();
  const newId = seededIds(clock);
  const store = createMemoryStore({ now: () => clock.now() });
  const template = { ...reconcile, ...options.template };
  const issuer = { ...trustedIssuer, ...options.issuer };
  const documents = new MemoryDocuments(store.rows, policyOf(template, issuer));
  const cloud = new FakeCloud();
  const claims = new Map<string, Identity['claims']>();
  const bound: World['bound'] = new Map();
  const down = { issuer: false };
  const shared = { clock, newId, documents, cloud, claims, bound, options, down };
  const broker = (ports: StorePorts) => createBroker(ports, shared);
  return {
    ...broker(store),
    ...{ clock, newId, store, documents, cloud, template, issuer, claims, bound },
    issuerDown: () => {
      down.issuer = true;
    },
    anotherBroker: () => broker(store.replica()),
  };
}

interface Shared extends Pick<World, 'clock' | 'newId' | 'documents' | 'cloud' | 'claims' | 'bound'> {
  readonly options: WorldOptions;
  readonly down: { readonly issuer: boolean };
}

function createBroker(storage: StorePorts, shared: Shared): Broker {
  const { clock, newId, documents, options } = shared;
  const trace = new Trace();
  const reports: Broker['reports'] = [];
  let deadline = new AbortController();
  const ledger = trace.wrap('ledger', storage.ledger);
  const local = createFakeLocalMinter({ ends: options.localEnds ?? 'denied' });
  const made: readonly Minter[] = [createFakeMinter({ ...options.minter, cloud: shared.cloud }), local];
  const minters = new Map(made.map((one) => [one.kind, trace.wrap('minter', one)]));
  const policies = createMemoryPolicies(documents);
  const ports: Broker['ports'] = {
    ...{ clock, newId, policies, ledger, minters, tasks: trace.wrap('tasks', storage.tasks) },
    now: () => clock.now(),
    queue: trace.wrap('queue', storage.queue),
    revocations: trace.wrap('revocations', storage.revocations),
    attestor: (iss) => attestorOf(iss, shared),
    issuerOf,
    taskTokens: trace.wrap('taskTokens', taskTokens),
    toolTokens: trace.wrap('toolTokens', toolTokens),
    proofs,
    check: checkFakePlan,
    checkBase: checkFakeBase,
    deadline: () => deadline.signal,
    digest: digestOf,
    unattested: trace.wrap('unattested', { append: (event) => storage.ledger.append(event) }),
    baseFlights: new Map(),
    report: (message, context) => void reports.push({ message, context }),
    skewSeconds: 30,
    concurrency: options.concurrency ?? 4,
    callsPerSecond: 1_000,
    endsPerCall: () => 1,
    monotonicMs: () => clock.monotonicMs(),
  };
  return {
    ...{ ports, trace, reports },
    passMintDeadline: () => {
      deadline.abort();
      deadline = new AbortController();
    },
    exchange: (request) => exchange({ ...emptyRequest, ...request }, ports),
    reap: () => reapOnce(ports),
  };
}

/** An opening by the workload itself, with no key proven and no task above. */
export const byItself = { actors: [], confirmation: null, ancestors: [] } as const;

export const nothingPresented: Presented = {
  ...{ dpop: null, method: 'POST', url: 'https://mayfly.example/token', accessToken: null },
  certificate: null,
};

const emptyRequest: ExchangeRequest = {
  subject: { kind: 'assertion', token: 'reconciler:1' },
  actor: null,
  presented: { ...nothingPresented },
  detail: null,
  grantId: null,
  requestedTokenType: null,
  targets: [],
  idempotencyKey: null,
  requestId: 'request-1',
};

const taskTokens: ExchangePorts['taskTokens'] = {
  verify: async (token) => {
    if (!token.startsWith('task-token:')) throw new Refusal('assertion_invalid', { detail: 'no task token' });
    const [, taskId = '', key = ''] = token.split(':');
    return { taskId, confirmation: key === '' ? null : { jkt: key } };
  },
  sign: async ({ id, confirmation }) =>
    new Secret(`task-token:${id}${confirmation?.jkt === undefined ? '' : `:${confirmation.jkt}`}`),
};

const toolTokens: ExchangePorts['toolTokens'] = {
  verify: async (token) => {
    const [, taskId = '', ...rest] = token.split(':');
    return token.startsWith('tool-token:') ? { taskId, audience: rest.join(':'), confirmation: null } : null;
  },
};

const proofs: ExchangePorts['proofs'] = {
  verify: async ({ dpop, certificate }) => {
    const certified = certificate === null ? {} : { x5tS256: certificate };
    if (dpop === null) return { confirmation: certified, use: null };
    const [jkt = '', jti = ''] = dpop.split(':');
    if (jti === '') throw new Refusal('dpop_invalid', { detail: 'no proof' });
    const use = { digest: digestOf(['dpop', jkt, jti]), expiresAt: assertionExpiresAt };
    return { confirmation: { jkt, ...certified }, use: { ...use, replayed: 'dpop_replayed' } };
  },
};

/** The same for every assertion, however often it is shown. */
const assertionExpiresAt = new Date('2026-07-02T00:00:00Z');

/** `SUBJECT:JTI` comes from the one issuer, `other/...` from one that is registered nowhere. */
function issuerOf(assertion: string): string | undefined {
  if (assertion.startsWith('other/')) return otherIssuerUrl;
  return assertion.includes(':') ? issuerUrl : undefined;
}

function attestorOf(iss: string, { claims, bound, documents, down }: Shared): Attestor | undefined {
  const issuer = documents.set.issuers.get(iss);
  if (issuer === undefined) return undefined;
  return {
    issuer: iss,
    attest: async (assertion): Promise<Workload> => {
      if (down.issuer) throw new Fault('issuer_unavailable', { effect: 'none', detail: 'no keys' });
      const [subject = '', jti = ''] = assertion.split(':');
      if (jti === '' || !issuer.subjects.some((one) => one.matches(subject)))
        throw new Refusal('assertion_invalid', { detail: 'not a subject of this issuer' });
      return {
        issuer: iss,
        issuerName: issuer.name,
        subject,
        claims: { ...claims.get(subject), sub: subject },
        assertionId: digestOf([iss, jti]),
        assertionExpiresAt,
        replay: issuer.replay,
        people: issuer.people,
        ...bound.get(subject),
      };
    },
  };
}

const trustedIssuer: TrustedIssuer = {
  name: 'agents',
  type: 'oidc',
  issuer: issuerUrl,
  audience: 'https://mayfly.example',
  jwksUri: null,
  jwksFile: null,
  bundleUrl: null,
  bundleFile: null,
  caFile: null,
  tokenFile: null,
  tokenReview: null,
  pullRequests: 'refuse',
  algorithms: ['ES256'],
  subjects: [pattern('*')],
  claims: [],
  maxLifetimeSeconds: 3600,
  replay: 'once',
  people: false,
  events: null,
};

const reconcile: Template = {
  name: 'invoice-reconcile',
  version: 1,
  owner: 'team-finance',
  mode: 'enforce',
  workloads: [{ issuerName: 'agents', match: { sub: [pattern('reconciler*')] }, bind: [] }],
  openers: [{ kind: 'self' }],
  params: { quarter: { fromClaim: null, accepts: (value) => /^20[0-9]{2}q[1-4]$/.test(value) } },
  task: {
    maxDurationSeconds: 1800,
    leaseSeconds: 60,
    maxOpen: null,
    opensPerHour: null,
    refClaims: [],
    children: null,
  },
  delegation: { actor: 'none', actors: [] },
  deviation: noDeviationRules,
  onChange: 'keep',
  sources: [],
  grants: [
    {
      name: 'read-invoices',
      tool: 's3.read',
      resource: 'arn:aws:s3:::invoices/${params.quarter}/**',
      provider: 'cloud',
      access: 's3.object',
      mint: {},
      actions: ['read', 'list'],
      effects: ['read'],
      data: ['invoices'],
      ttl: { defaultSeconds: 60, maxSeconds: 120 },
      endsWithinSeconds: null,
      budget: { exchanges: null, perMinute: null },
      proof: 'none',
    },
    {
      name: 'post-report',
      tool: 'report.post',
      resource: 'https://reports.example/${params.quarter}',
      provider: 'local',
      access: 'token',
      mint: { server: 'reports' },
      actions: ['write'],
      effects: ['write'],
      data: [],
      ttl: { defaultSeconds: 30, maxSeconds: 30 },
      endsWithinSeconds: null,
      budget: { exchanges: null, perMinute: null },
      proof: 'none',
    },
  ],
};

function policyOf(template: Template, issuer: TrustedIssuer): Omit<PolicySet, 'epoch' | 'freezes'> {
  const providers: readonly Provider[] = [
    { name: 'cloud', type: 'fake', spec: {} },
    { name: 'local', type: 'fake-local', spec: {} },
    { name: 'dormant', type: 'nobody-mints-this', spec: {} },
  ];
  const reports = { name: 'reports', audience: 'https://reports.example', cacheSeconds: 5, subjects: [] };
  return {
    issuers: new Map([[issuer.issuer, issuer]]),
    templates: new Map([[template.name, template]]),
    providers: new Map(providers.map((provider) => [provider.name, provider])),
    servers: new Map([['reports', { ...reports, verification: 'introspect', signingAlgorithm: 'ES256' }]]),
    bindings: [],
  };
}
