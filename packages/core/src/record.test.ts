import { describe, expect, test } from '@jest/globals';
import {
  byItself,
  coreWorld,
  createFakeMinter,
  issuerUrl,
  nothingPresented,
  reading,
  seededIds,
  TestClock,
} from '@mayfly/testkit';
import type { Caller } from './attest.ts';
import { decide } from './decide.ts';
import type { ExchangeRequest } from './exchange.ts';
import type { Found } from './find.ts';
import type { MintPlan, Revocability } from './minter.ts';
import { considerOpening, planOpening } from './open.ts';
import { baseRecord, issuanceRecord, Trail } from './record.ts';
import type { TaskStatus } from './task.ts';
import type { PolicySet } from './template.ts';

const world = coreWorld();
const policy = world.documents.set;
const now = world.clock.now();
const identity = {
  issuer: issuerUrl,
  issuerName: 'agents',
  subject: 'reconciler',
  claims: { sub: 'reconciler' },
};
const token = 'eyJ-the-assertion-itself';

const request: ExchangeRequest = {
  subject: { kind: 'assertion', token },
  actor: null,
  presented: nothingPresented,
  detail: reading(),
  grantId: null,
  requestedTokenType: null,
  targets: [],
  idempotencyKey: 'the-key-itself',
  requestId: 'request-1',
};

const caller: Caller = {
  identity,
  name: 'agents/reconciler',
  ...{ actors: [], confirmation: {}, boundTo: null, viaTask: null, parent: null, uses: [], attested: [] },
  assertionDigest: 'digest-of-the-assertion',
};

function found(opening = false): Found {
  const asked = {
    template: 'invoice-reconcile',
    ref: 'run-1',
    params: { quarter: '2026q3' },
    objective: null,
  };
  const openRequest = { ...asked, ...byItself, workload: identity, opener: null };
  const context = { newId: seededIds(new TestClock()), now };
  const planned = planOpening(openRequest, considerOpening(openRequest, policy), context);
  const status: TaskStatus = {
    ...{ state: 'open', stateReason: null, outcome: null, endedAt: null, generations: {} },
    leaseExpiresAt: planned.task.expiresAt,
  };
  return {
    task: planned.task,
    status,
    pinned: world.template,
    ancestors: [],
    grant: null,
    opening: opening ? planned : null,
  };
}

interface Walk {
  readonly request?: Partial<ExchangeRequest>;
  readonly caller?: Partial<Caller>;
  readonly found?: Found;
  readonly policy?: Partial<PolicySet>;
  readonly now?: Date;
  readonly ttlSeconds?: number | null;
  readonly digest?: (value: unknown) => string;
}

/** A trail that went as far as the plan, or to the refusal of the decision. */
function walked(walk: Walk = {}, ends: Revocability['by'] = 'denied'): Trail {
  const asked = { ...request, ...walk.request };
  const trail = new Trail(asked, '00000000-0000-7000-8000-000000000001', walk.digest ?? world.ports.digest);
  const inForce = { ...policy, ...walk.policy };
  const at = walk.now ?? now;
  trail.begin(inForce, at);
  trail.attested({ ...caller, ...walk.caller });
  const { task, status, pinned, ...rest } = trail.found({ ...found(), ...walk.found });
  const { tool = '', identifier = '', actions = null } = asked.detail ?? {};
  const wanted = trail.wants({ tool, identifier, actions, ttlSeconds: walk.ttlSeconds ?? null });
  const decision = trail.decided(
    decide({ ...caller, task, status, pinned, ...rest, policy: inForce, wanted, now: at }),
  );
  if (decision.allowed) trail.planned(planOf(trail, ends));
  return trail;
}

function planOf({ issuanceId, task, grant }: Trail, ends: Revocability['by']): MintPlan {
  const provider = policy.providers.get('cloud');
  if (task === undefined || grant === undefined || provider === undefined) throw new Error('nothing to plan');
  const { tool, access, mint, actions } = grant;
  return createFakeMinter({ cloud: world.cloud, ends }).plan({
    ...{ issuanceId, taskId: task.id, grantId: grant.id, generation: 1, workload: caller.name, tool, access },
    ...{ mint, actions, provider, server: null, now, argsDigest: null },
    holder: { actors: [], confirmation: null },
    identifier: reading().identifier,
    notAfter: new Date('2026-07-01T12:01:00Z'),
  });
}

describe('a record', () => {
  test('of what was allowed says what, for whom, until when, and on which grounds', () => {
    const trail = walked();
    expect(issuanceRecord(trail)).toMatchObject({
      purpose: 'agent',
      taskId: trail.task?.id,
      grantId: trail.grant?.id,
      grantName: 'read-invoices',
      template: 'invoice-reconcile',
      templateVersion: 1,
      workload: { issuerName: 'agents', subject: 'reconciler' },
      tool: 's3.read',
      identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
      actions: ['read', 'list'],
      provider: 'cloud',
      access: 's3.object',
      nativePermissions: ['fake:read', 'fake:list'],
      ttlSeconds: 60,
      notAfter: new Date('2026-07-01T12:01:00Z'),
      reason: null,
      policyEpoch: 1,
      assertionDigest: 'digest-of-the-assertion',
      requestId: 'request-1',
      explanation: { decision: 'allow', reason: null, failed: null, limitedBy: 'ttl', owner: 'team-finance' },
    });
  });

  test('of a refusal keeps what was asked and where it failed', () => {
    const trail = walked({ request: { detail: reading({ tool: 's3.write', ttl: 30, purpose: 'to look' }) } });
    expect(issuanceRecord(trail, 'tool_not_granted')).toMatchObject({
      taskId: trail.task?.id,
      grantId: null,
      tool: 's3.write',
      actions: [],
      provider: null,
      purposeText: 'to look',
      ttlSeconds: 30,
      notAfter: null,
      worstCaseSeconds: null,
      reason: 'tool_not_granted',
      explanation: { decision: 'deny', reason: 'tool_not_granted', failed: 'grant-covers', limitedBy: null },
    });
  });

  test('of a refused opening names neither task nor grant: there is none', () => {
    const trail = walked({ found: found(true) });
    expect(issuanceRecord(trail, 'provider_unavailable')).toMatchObject({ taskId: null, grantId: null });
    expect(issuanceRecord(trail)).toMatchObject({ taskId: trail.task?.id, grantId: trail.grant?.id });
  });

  test.each([
    ['denied', 60],
    ['expired', 60],
    ['deleted', 5],
  ] as const)('of a credential that ends by being %s: at worst %d seconds', (by, seconds) => {
    expect(issuanceRecord(walked({}, by)).worstCaseSeconds).toBe(seconds);
  });

  test('before a task was found holds the caller and what was asked', () => {
    const trail = new Trail(request, world.newId(), world.ports.digest);
    trail.begin(policy, now);
    trail.attested(caller);
    expect(issuanceRecord(trail, 'ref_conflict')).toMatchObject({
      taskId: null,
      template: 'invoice-reconcile',
      templateVersion: null,
      tool: 's3.read',
      explanation: { checks: [], failed: null, granted: [] },
    });
  });

  test('of a base session is the broker’s own', () => {
    const plan = planOf(walked(), 'denied');
    const record = baseRecord({ ...plan, purpose: 'base' }, { policyEpoch: 7, inputDigest: 'f'.repeat(64) });
    expect(record).toMatchObject({
      purpose: 'base',
      taskId: plan.taskId,
      workload: { issuerName: '', subject: 'mayfly' },
      tool: null,
      assertionDigest: null,
      policyEpoch: 7,
      explanation: { reach: plan.reach },
    });
  });
});

describe('a trail', () => {
  test('forgets in a new round what the last one found, but not who asked', () => {
    const trail = walked();
    trail.begin({ ...policy, epoch: 2 }, now);
    expect([trail.task, trail.grant, trail.plan, trail.decision]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect([trail.caller?.name, trail.epoch]).toEqual(['agents/reconciler', 2]);
    expect(issuanceRecord(trail, 'overloaded')).toMatchObject({
      taskId: null,
      grantName: null,
      provider: null,
    });
  });

  test('that has not begun has neither policy nor time', () => {
    const trail = new Trail(request, world.newId(), world.ports.digest);
    expect(() => trail.policy).toThrow(TypeError);
    expect(() => trail.now).toThrow(TypeError);
    expect(trail.epoch).toBeUndefined();
  });

  test('holds no token and no key in what it hands out (invariant I12)', () => {
    const digested: unknown[] = [];
    const digest = (value: unknown) => `${digested.push(value)}`;
    const trail = walked({ digest });
    const out = JSON.stringify([trail.summary(), issuanceRecord(trail), digested]);
    expect(digested).toHaveLength(1);
    for (const secret of [token, 'the-key-itself']) expect(out).not.toContain(secret);
  });
});

describe('the digest of the input (invariant I9)', () => {
  const reference = walked().inputDigest();

  test('is the same for the same input, whatever token and key carried it', () => {
    expect(walked().inputDigest()).toBe(reference);
    const other = { subject: { kind: 'assertion', token: 'another' }, idempotencyKey: null } as const;
    expect(walked({ request: other }).inputDigest()).toBe(reference);
  });

  const base = found();
  const task = (change: Partial<Found['task']>) => ({
    found: { ...base, task: { ...base.task, ...change } },
  });
  const claims = { sub: 'reconciler', team: 'x' };
  test.each<readonly [string, Walk]>([
    ['the tool', { request: { detail: reading({ tool: 's3.write' }) } }],
    ['the identifier', { request: { detail: reading({ identifier: 'arn:aws:s3:::invoices/2026q3/b' }) } }],
    ['the actions', { request: { detail: reading({ actions: ['read'] }) } }],
    ['the digest of the arguments', { request: { detail: reading({ args_digest: 'a'.repeat(64) }) } }],
    ['the life asked for', { ttlSeconds: 30 }],
    ['the target', { request: { targets: ['https://reports.example'] } }],
    ['the scope', { request: { scope: ['read'] } }],
    ['the type asked for', { request: { requestedTokenType: 'urn:mayfly:token-type:fake' } }],
    ['the grant named', { request: { grantId: '00000000-0000-7000-8000-000000000009' } }],
    ['the subject', { caller: { identity: { ...identity, subject: 'other' } } }],
    ['a claim', { caller: { identity: { ...identity, claims } } }],
    ['the issuer', { caller: { identity: { ...identity, issuerName: 'other' } } }],
    ['the task', task({ id: '00000000-0000-7000-8000-000000000008' })],
    ['its parameters', task({ params: { quarter: '2026q4' } })],
    ['its expiry', task({ expiresAt: new Date('2026-07-01T12:20:00Z') })],
    ['its version', task({ templateVersion: 2 })],
    ['its state', { found: { ...base, status: { ...base.status, state: 'suspended' } } }],
    ['the policy', { policy: { epoch: 2 } }],
    ['the time', { now: new Date('2026-07-01T12:00:01Z') }],
  ])('changes with %s', (_, walk) => {
    expect(walked(walk).inputDigest()).not.toBe(reference);
  });

  test('changes with the state, when nothing else tells two states apart', () => {
    const ended = (state: 'completed' | 'failed') =>
      walked({ found: { ...base, status: { ...base.status, state } } }).inputDigest();
    expect(ended('completed')).not.toBe(ended('failed'));
  });
});
