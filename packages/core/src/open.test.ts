import { describe, expect, test } from '@jest/globals';
import { byItself, coreWorld, issuerUrl, pattern, seededIds, TestClock } from '@mayfly/testkit';
import { Refusal } from './errors.ts';
import { considerOpening, type OpenRequest, planOpening, sameParams } from './open.ts';
import type { Opener, ParamSpec, PolicySet, RoleBinding, Template, TrustedIssuer } from './template.ts';
import { ownerOf } from './workload.ts';

const world = coreWorld();
const reconciler = {
  issuer: issuerUrl,
  issuerName: 'agents',
  subject: 'reconciler',
  claims: { sub: 'reconciler', team: 'finance' },
};
const planner = { issuer: issuerUrl, issuerName: 'agents', subject: 'planner', claims: { sub: 'planner' } };
const request: OpenRequest = {
  template: 'invoice-reconcile',
  ref: 'run-1',
  params: { quarter: '2026q3' },
  objective: null,
  workload: reconciler,
  opener: null,
  ...byItself,
};

function policyWith(template: Partial<Template>, bindings: readonly RoleBinding[] = []): PolicySet {
  const changed = { ...world.template, ...template };
  return { ...world.documents.set, templates: new Map([[changed.name, changed]]), bindings };
}

function consider(change: Partial<OpenRequest>, policy = world.documents.set) {
  return considerOpening({ ...request, ...change }, policy);
}

/** The reason why it is refused, or `allowed`; anything but a Refusal is a failure. */
function verdict(change: Partial<OpenRequest>, policy = world.documents.set): string {
  return refusalOf(change, policy)?.reason ?? 'allowed';
}

function refusalOf(change: Partial<OpenRequest>, policy = world.documents.set): Refusal | undefined {
  try {
    consider(change, policy);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

describe('a template is open to the workloads that it names', () => {
  test('and to no other; one that is not there looks the same', () => {
    expect(verdict({})).toBe('allowed');
    const closed = refusalOf({ workload: planner });
    const missing = refusalOf({ template: 'no-such-template' });
    expect(closed).toMatchObject({ reason: 'workload_not_matched' });
    expect({ ...closed, message: closed?.message }).toEqual({ ...missing, message: missing?.message });
  });

  test('an empty list names nobody', () => {
    expect(verdict({}, policyWith({ workloads: [] }))).toBe('workload_not_matched');
  });

  test('a disabled one says so to those it names, and only to them', () => {
    const disabled = policyWith({ mode: 'disabled' });
    expect(verdict({}, disabled)).toBe('template_disabled');
    expect(verdict({ workload: planner }, disabled)).toBe('workload_not_matched');
  });

  test('the owner is bound to the claims of the entry that matched', () => {
    const match = { sub: [pattern('reconciler')] };
    const bound = policyWith({ workloads: [{ issuerName: 'agents', match, bind: ['team'] }] });
    expect(consider({}, bound).owner).toBe(ownerOf(reconciler, ['team']));
    const other = { ...reconciler, claims: { ...reconciler.claims, team: 'sales' } };
    expect(consider({ workload: other }, bound).owner).not.toBe(consider({}, bound).owner);
    expect(consider({ workload: other }).owner).toBe(consider({}).owner);
  });
});

describe('openers', () => {
  const bySelf: Opener = { kind: 'self' };
  const byRole: Opener = { kind: 'role', role: 'orchestrator' };
  const subject = { issuerName: 'agents', match: { sub: [pattern('planner')] }, bind: [] };
  const bySubject: Opener = { kind: 'subject', subject };
  const binding = (change: Partial<RoleBinding> = {}): RoleBinding => ({
    name: 'planners',
    roles: ['orchestrator'],
    subjects: [subject],
    scope: { templates: null, providers: null },
    ...change,
  });
  const others = { ...planner, subject: 'x', claims: { sub: 'x' } };

  test.each([
    ['self: the workload itself', [bySelf], null, 'allowed'],
    ['self: not another for it', [bySelf], planner, 'opener_not_allowed'],
    ['a subject: that one', [bySubject], planner, 'allowed'],
    ['a subject: no other', [bySubject], others, 'opener_not_allowed'],
    ['a subject: not the workload itself', [bySubject], null, 'opener_not_allowed'],
    ['a role: not without it', [byRole], planner, 'opener_not_allowed'],
    ['a role: not the workload itself', [byRole], null, 'opener_not_allowed'],
    ['nobody', [], null, 'opener_not_allowed'],
    ['any of several', [bySelf, bySubject], planner, 'allowed'],
  ] as const)('%s', (_, openers, opener, expected) => {
    expect(verdict({ opener }, policyWith({ openers }))).toBe(expected);
  });

  const scoped = (text: string) => ({ templates: [pattern(text)], providers: null });
  test.each([
    ['a role that is held', binding(), 'allowed'],
    ['a role held for this template', binding({ scope: scoped('invoice-*') }), 'allowed'],
    [
      'a role held for one of several',
      binding({ scope: { templates: [pattern('payroll-*'), pattern('invoice-*')], providers: null } }),
      'allowed',
    ],
    ['not a role held for another template', binding({ scope: scoped('payroll-*') }), 'opener_not_allowed'],
    ['not another role', binding({ roles: ['operator'] }), 'opener_not_allowed'],
    ['not a role that others hold', binding({ subjects: [] }), 'opener_not_allowed'],
  ])('%s', (_, one, expected) => {
    expect(verdict({ opener: planner }, policyWith({ openers: [byRole] }, [one]))).toBe(expected);
  });

  test("a people's role opens nothing for a workload", () => {
    const admin: Opener = { kind: 'role', role: 'admin' };
    const policy = policyWith({ openers: [admin] }, [binding({ roles: ['admin'] })]);
    expect(verdict({ opener: planner }, policy)).toBe('opener_not_allowed');
    const people: TrustedIssuer = { ...world.issuer, people: true };
    const trusted = { ...policy, issuers: new Map([[people.issuer, people]]) };
    expect(verdict({ opener: planner }, trusted)).toBe('allowed');
  });

  test('an opener cannot open for a workload that the template does not name', () => {
    expect(verdict({ workload: others, opener: planner }, policyWith({ openers: [bySubject] }))).toBe(
      'workload_not_matched',
    );
  });
});

describe('parameters', () => {
  const spec = (fits: RegExp, fromClaim: string | null = null): ParamSpec => ({
    fromClaim,
    accepts: (value) => fits.test(value),
  });
  const claimed = policyWith({ params: { quarter: spec(/^q[1-4]$/), team: spec(/^[a-z]+$/, 'team') } });
  const numbered = policyWith({ params: { count: spec(/^[0-9]{1,2}$/) } });

  test('that fit are kept as text, numbers too', () => {
    expect(consider({}).params).toEqual({ quarter: '2026q3' });
    expect(consider({ params: { count: 12 } }, numbered).params).toEqual({ count: '12' });
  });

  test.each<readonly [string, OpenRequest['params'], PolicySet]>([
    ['a value that does not fit', { quarter: '2026q5' }, world.documents.set],
    ['a missing one', {}, world.documents.set],
    ['one that the template does not know', { quarter: '2026q3', other: 'x' }, world.documents.set],
    ['one named as a member of every object', { quarter: '2026q3', constructor: 'x' }, world.documents.set],
    ['a number that does not fit', { count: 123 }, numbered],
    ['a number with an exponent', { count: 1e21 }, numbered],
    ['one that comes from a claim, even with its right value', { quarter: 'q1', team: 'finance' }, claimed],
  ])('%s is refused', (_, params, policy) => {
    expect(verdict({ params }, policy)).toBe('params_invalid');
  });

  test('from a claim are taken from the assertion', () => {
    expect(consider({ params: { quarter: 'q1' } }, claimed).params).toEqual({
      quarter: 'q1',
      team: 'finance',
    });
  });

  test.each<readonly [string, Readonly<Record<string, string | readonly string[]>>]>([
    ['missing', { sub: 'reconciler' }],
    ['a list', { sub: 'reconciler', team: ['finance'] }],
    ['not what the template accepts', { sub: 'reconciler', team: 'FINANCE' }],
  ])('from a claim that is %s are refused', (_, claims) => {
    const change = { params: { quarter: 'q1' }, workload: { ...reconciler, claims } };
    expect(verdict(change, claimed)).toBe('params_invalid');
  });

  test('are never repeated in a refusal', () => {
    const refusal = refusalOf({ params: { quarter: 'my-secret-value', 'my-secret-name': 'x' } });
    expect(refusal?.detail).toBe('a parameter that the caller cannot choose');
    expect(refusalOf({ params: { quarter: 'my-secret-value' } })?.detail).toBe(
      'parameter quarter is missing or does not fit',
    );
  });

  test('are the same whatever their order', () => {
    expect(sameParams({ a: '1', b: '2' }, { b: '2', a: '1' })).toBe(true);
    expect(sameParams({}, {})).toBe(true);
    for (const other of [{ a: '1' }, { a: '1', b: '3' }, { a: '1', c: '2' }, { a: '1', b: '2', c: '3' }])
      expect(sameParams({ a: '1', b: '2' }, other)).toBe(false);
  });
});

describe('a planned opening', () => {
  const plan = (change: Partial<OpenRequest> = {}, policy = world.documents.set) => {
    const asked = { ...request, ...change };
    const context = { newId: seededIds(new TestClock()), now: world.clock.now() };
    return planOpening(asked, considerOpening(asked, policy), context);
  };

  test('pins the version, resolves the resources, and ends at the maximum duration', () => {
    const { task } = plan({ objective: 'Post it.' });
    expect(task).toMatchObject({
      template: 'invoice-reconcile',
      templateVersion: 1,
      objective: 'Post it.',
      opener: null,
    });
    expect(task.grants.map(({ name, resource, taskId }) => [name, resource, taskId])).toEqual([
      ['read-invoices', 'arn:aws:s3:::invoices/2026q3/**', task.id],
      ['post-report', 'https://reports.example/2026q3', task.id],
    ]);
    expect(task.expiresAt.getTime() - task.openedAt.getTime()).toBe(1_800_000);
    expect(new Set([task.id, ...task.grants.map(({ id }) => id)]).size).toBe(3);
  });

  test('carries the limits that the store counts', () => {
    const limits = { maxDurationSeconds: 60, leaseSeconds: 10, maxOpen: 3, opensPerHour: 100 };
    const task = { ...world.template.task, ...limits };
    expect(plan({}, policyWith({ task }))).toMatchObject({
      maxOpen: 3,
      opensPerHour: 100,
      task: { leaseSeconds: 10 },
    });
  });

  test('names who opened it, in task and event', () => {
    const openers: readonly Opener[] = [
      { kind: 'subject', subject: { issuerName: 'agents', match: { sub: [pattern('planner')] }, bind: [] } },
    ];
    const { task, audit } = plan({ opener: planner }, policyWith({ openers }));
    expect(task.opener).toEqual({ issuer: planner.issuer, issuerName: 'agents', subject: 'planner' });
    expect(audit).toMatchObject({ actor: 'agents/planner', body: { workload: 'agents/reconciler' } });
    expect(plan().audit.actor).toBe('agents/reconciler');
  });

  test('keeps of the workload what an identity is, nothing of its assertion', () => {
    const proven = { ...reconciler, assertionId: 'digest', issuer: 'https://issuer.example' };
    expect(plan({ workload: proven }).task.workload).toEqual(reconciler);
  });

  test('is refused when a resource has no safe value for this task', () => {
    const [first] = world.template.grants;
    if (first === undefined) throw new Error('no grant');
    const grants = [{ ...first, resource: 'arn:aws:s3:::${workload.claims.bucket}/**' }];
    expect(() => plan({}, policyWith({ grants }))).toThrow(
      expect.objectContaining({ reason: 'params_invalid', detail: 'grant read-invoices: unresolved' }),
    );
    const any = { quarter: spec() };
    expect(() => plan({ params: { quarter: '*' } }, policyWith({ params: any }))).toThrow(
      expect.objectContaining({ reason: 'params_invalid' }),
    );
  });

  const spec = (): ParamSpec => ({ fromClaim: null, accepts: () => true });
});
