import { describe, expect, test } from '@jest/globals';
import { byItself, coreWorld, issuerUrl, pattern, seededIds, TestClock } from '@mayfly/testkit';
import { type Allowed, type DecideInput, type Denied, decide, type Wanted } from './decide.ts';
import { considerOpening, planOpening } from './open.ts';
import type { Task } from './task.ts';
import type { FreezeScope, GrantSpec, PolicySet, Template } from './template.ts';

const { template, documents, issuer } = coreWorld();
const policy = documents.set;
const now = new Date('2026-07-01T12:00:00.250Z');
const reconciler = {
  issuer: issuerUrl,
  issuerName: 'agents',
  subject: 'reconciler',
  claims: { sub: 'reconciler' },
};
const invoice = 'arn:aws:s3:::invoices/2026q3/a.pdf';
const wanted: Wanted = { tool: 's3.read', identifier: invoice, actions: null, ttlSeconds: null };

const order = [
  'task-owner',
  'issuer-trusted',
  'actors-trusted',
  'not-frozen',
  'task-open',
  'task-unexpired',
  'template-active',
  'workload-matched',
  'actor-allowed',
  'identifier-plain',
  'grant-covers:read-invoices',
  'provider-not-frozen',
  'grant-authentic',
  'active-version-covers',
  'ancestors-cover',
  'key-proven',
  'ttl-within-grant',
];

/** A task of this template as it would have been opened just now. */
function taskOf(from: Template): Task {
  const ref = 'run-1';
  const asked = { template: from.name, ref, params: { quarter: '2026q3' }, objective: null, opener: null };
  const request = { ...asked, ...byItself, workload: reconciler };
  const candidate = considerOpening(request, withTemplate(from));
  return planOpening(request, candidate, { newId: seededIds(new TestClock()), now }).task;
}

function withTemplate(active: Template): PolicySet {
  return { ...policy, templates: new Map([[active.name, active]]) };
}

/** The same template with its first grant changed. */
function granting(change: Partial<GrantSpec>, version = 2): Template {
  const [first, ...rest] = template.grants;
  return { ...template, version, grants: first === undefined ? rest : [{ ...first, ...change }, ...rest] };
}

const frozenBy = (scope: FreezeScope['scope'], name: string) => ({
  policy: { ...policy, freezes: [{ scope, name, reason: 'incident' }] },
});
const sound: DecideInput = {
  policy,
  identity: reconciler,
  ...{ actors: [], confirmation: {}, ancestors: [] },
  task: taskOf(template),
  status: { state: 'open' },
  pinned: template,
  wanted,
  now,
};

function asking(change: Partial<Wanted>, input: Partial<DecideInput> = {}): Allowed | Denied {
  return decide({ ...sound, ...input, wanted: { ...wanted, ...change } });
}

/** What was decided of one that must be allowed. */
function allowedOf(decision: Allowed | Denied): Allowed {
  if (decision.allowed) return decision;
  throw new Error(`denied: ${decision.reason} at ${decision.failed}`);
}

test('what satisfies every rule is allowed, and says which rules held, in order', () => {
  const [grant] = sound.task.grants;
  expect(decide(sound)).toEqual({
    allowed: true,
    confirmation: null,
    grant,
    actions: ['read', 'list'],
    ttlSeconds: 60,
    notAfter: new Date('2026-07-01T12:01:00Z'),
    limitedBy: 'ttl',
    budget: grant?.budget,
    checks: order,
  });
});

describe('each rule denies alone, with its reason, and names what held before it', () => {
  const others = { sub: [pattern('somebody-else')] };
  const unmatched = { ...template, workloads: [{ issuerName: 'agents', match: others, bind: [] }] };
  const stranger = { ...issuer, subjects: [pattern('somebody-else')] };
  const renamed = { ...issuer, name: 'agents-2' };
  const cases: readonly (readonly [
    name: string,
    change: Partial<DecideInput>,
    reason: string,
    failed: string,
  ])[] = [
    [
      'another subject',
      { identity: { ...reconciler, subject: 'reconciler-2' } },
      'task_unknown',
      'task-owner',
    ],
    ['another issuer', { identity: { ...reconciler, issuerName: 'sso' } }, 'task_unknown', 'task-owner'],
    ['a version that cannot be proven', { pinned: undefined }, 'task_unknown', 'task-owner'],
    [
      'an issuer that is gone',
      { policy: { ...policy, issuers: new Map() } },
      'workload_not_matched',
      'issuer-trusted',
    ],
    [
      'an issuer that may not speak for the subject any more',
      { policy: { ...policy, issuers: new Map([['i', stranger]]) } },
      'workload_not_matched',
      'issuer-trusted',
    ],
    [
      'an issuer of another name',
      { policy: { ...policy, issuers: new Map([['i', renamed]]) } },
      'workload_not_matched',
      'issuer-trusted',
    ],
    ['a freeze', frozenBy('all', ''), 'frozen', 'not-frozen'],
    ['a freeze of its template', frozenBy('template', 'invoice-reconcile'), 'frozen', 'not-frozen'],
    ['a freeze of its issuer', frozenBy('issuer', 'agents'), 'frozen', 'not-frozen'],
    ['a freeze of its provider', frozenBy('provider', 'cloud'), 'frozen', 'provider-not-frozen'],
    ['a suspended task', { status: { state: 'suspended' } }, 'task_suspended', 'task-open'],
    ['a completed task', { status: { state: 'completed' } }, 'task_ended', 'task-open'],
    ['an abandoned task', { status: { state: 'abandoned' } }, 'task_ended', 'task-open'],
    ['a deviated task', { status: { state: 'deviated' } }, 'task_ended', 'task-open'],
    ['the moment of its expiry', { now: sound.task.expiresAt }, 'task_ended', 'task-unexpired'],
    [
      'a template that was deleted',
      { policy: { ...policy, templates: new Map() } },
      'template_disabled',
      'template-active',
    ],
    [
      'a template that was disabled',
      { policy: withTemplate({ ...template, mode: 'disabled' }) },
      'template_disabled',
      'template-active',
    ],
    [
      'a workload that the active version names no more',
      { policy: withTemplate(unmatched) },
      'workload_not_matched',
      'workload-matched',
    ],
  ];
  test.each(cases)('%s', (_, change, reason, failed) => {
    const checks = order.slice(0, order.indexOf(failed));
    expect(decide({ ...sound, ...change })).toEqual({ allowed: false, reason, checks, failed });
  });
});

test('one matching entry of the active version is enough', () => {
  const others = { issuerName: 'agents', match: { sub: [pattern('somebody-else')] }, bind: [] };
  const active = { ...template, workloads: [others, ...template.workloads] };
  expect(decide({ ...sound, policy: withTemplate(active) }).allowed).toBe(true);
});

describe('an identifier names one thing, byte for byte', () => {
  const tricks = [
    'arn:aws:s3:::invoices/2026q3/../../payroll',
    'arn:aws:s3:::invoices/2026q3/..',
    'arn:aws:s3:::invoices/2026q3/./a',
    'arn:aws:s3:::invoices/2026q3/.',
    '..',
    './a',
    'arn:aws:s3:::invoices/2026q3/*',
    'arn:aws:s3:::invoices/2026q3/a?',
    'arn:aws:s3:::invoices/2026q3/a\\b',
    'arn:aws:s3:::invoices/2026q3/${aws:username}',
    'arn:aws:s3:::invoices/2026q3/a\0',
    'arn:aws:s3:::invoices/2026q3/a\nb',
    'arn:aws:s3:::invoices/2026q3/a\u007f',
    'arn:aws:s3:::invoices/2026q3/a\u0085',
    'arn:aws:s3:::invoices/2026q3/\ud800',
    'arn:aws:s3:::invoices/2026q3/\udc00a',
  ];
  test.each(tricks)('not %j', (identifier) => {
    expect(asking({ identifier })).toEqual({
      allowed: false,
      reason: 'identifier_malformed',
      checks: order.slice(0, 9),
      failed: 'identifier-plain',
    });
  });

  const honest = [
    '..a',
    'a..',
    '...',
    '.hidden',
    'a/.hidden',
    'a$b',
    '{a}',
    'a b',
    'a%2Fb',
    '\u{1f600}',
    'é',
  ];
  test.each(honest)('but %j', (name) => {
    expect(asking({ identifier: `arn:aws:s3:::invoices/2026q3/${name}` }).allowed).toBe(true);
  });
});

describe('the grant', () => {
  const upTo = (failed: string) => ({ checks: order.slice(0, 10), failed });

  test.each([
    ['another tool', { tool: 's3.write' }, 'tool_not_granted'],
    ['a tool in another case', { tool: 'S3.read' }, 'tool_not_granted'],
    [
      'a neighbour of the resource',
      { identifier: 'arn:aws:s3:::invoices/2026q2/a.pdf' },
      'resource_outside_grant',
    ],
    [
      'a longer name of the folder',
      { identifier: 'arn:aws:s3:::invoices/2026q30/a' },
      'resource_outside_grant',
    ],
    ['the folder itself', { identifier: 'arn:aws:s3:::invoices/2026q3/' }, 'resource_outside_grant'],
    ["another tool's resource", { identifier: 'https://reports.example/2026q3' }, 'resource_outside_grant'],
    ['an action it does not give', { actions: ['delete'] }, 'action_outside_grant'],
    ['one of two actions that it does not give', { actions: ['read', 'write'] }, 'action_outside_grant'],
  ] as const)('does not cover %s', (_, change, reason) => {
    expect(asking(change)).toMatchObject({ allowed: false, reason, ...upTo('grant-covers') });
  });

  test('gives the actions asked for, each once, or all', () => {
    expect(allowedOf(asking({ actions: ['list', 'list'] })).actions).toEqual(['list']);
    expect(allowedOf(asking({ actions: ['list', 'read'] })).actions).toEqual(['list', 'read']);
    expect(allowedOf(asking({ actions: null })).actions).toEqual(['read', 'list']);
  });

  test('is the first of its tool that covers resource and actions together', () => {
    const [first] = template.grants;
    if (first === undefined) throw new Error('no grant');
    const writing: GrantSpec = { ...first, name: 'write-invoices', actions: ['write'] };
    const both = { ...template, version: 2, grants: [first, writing] };
    const input = { task: taskOf(both), pinned: both, policy: withTemplate(both) };
    expect(allowedOf(asking({ actions: ['write'] }, input)).grant.name).toBe('write-invoices');
    expect(allowedOf(asking({ actions: ['read'] }, input)).grant.name).toBe('read-invoices');
    expect(asking({ actions: ['read', 'write'] }, input)).toMatchObject({ reason: 'action_outside_grant' });
  });

  test('that is named is the only one looked at', () => {
    const [reading, posting] = sound.task.grants;
    expect(asking({}, { grant: reading ?? null }).allowed).toBe(true);
    expect(asking({}, { grant: posting ?? null })).toMatchObject({ reason: 'tool_not_granted' });
  });

  test('of a task without grants gives nothing', () => {
    expect(asking({}, { task: { ...sound.task, grants: [] } })).toMatchObject({ reason: 'tool_not_granted' });
  });
});

describe('the version active now', () => {
  const failing = { allowed: false, checks: order.slice(0, 13), failed: 'active-version-covers' };

  test('narrows at once', () => {
    const narrower = granting({ resource: 'arn:aws:s3:::invoices/${params.quarter}/public/**' });
    expect(asking({}, { policy: withTemplate(narrower) })).toEqual({
      ...failing,
      reason: 'resource_outside_grant',
    });
    const identifier = 'arn:aws:s3:::invoices/2026q3/public/a.pdf';
    expect(asking({ identifier }, { policy: withTemplate(narrower) }).allowed).toBe(true);
  });

  test.each([
    ['a tool that it dropped', granting({ tool: 's3.peek' }), 'tool_not_granted'],
    ['an action that it dropped', granting({ actions: ['list'] }), 'action_outside_grant'],
    [
      'a parameter that the task does not have',
      granting({ resource: 'x/${params.year}/**' }),
      'resource_outside_grant',
    ],
    ['all grants dropped', { ...template, grants: [] }, 'tool_not_granted'],
  ])('denies %s', (_, active, reason) => {
    expect(asking({}, { policy: withTemplate(active) })).toEqual({ ...failing, reason });
  });

  test('gives what it still gives', () => {
    const active = withTemplate(granting({ actions: ['list'] }));
    expect(allowedOf(asking({ actions: ['list'] }, { policy: active })).actions).toEqual(['list']);
  });

  test('widens only for tasks opened from it', () => {
    const wider = granting({
      resource: 'arn:aws:s3:::*/**',
      actions: ['read', 'delete'],
    });
    const now = { policy: withTemplate(wider) };
    const payroll = { identifier: 'arn:aws:s3:::payroll/a.pdf' };
    expect(asking(payroll, now)).toMatchObject({ reason: 'resource_outside_grant', failed: 'grant-covers' });
    expect(asking({ actions: ['delete'] }, now)).toMatchObject({ reason: 'action_outside_grant' });
    const opened = { ...now, task: taskOf(wider), pinned: wider };
    expect(asking(payroll, opened).allowed).toBe(true);
    expect(asking({ actions: ['delete'] }, opened).allowed).toBe(true);
  });

  test('may name its grants anew', () => {
    expect(asking({}, { policy: withTemplate(granting({ name: 'renamed' })) }).allowed).toBe(true);
  });
});

describe('the life of a credential', () => {
  const life = (decision: Allowed | Denied) => {
    const { ttlSeconds, notAfter, limitedBy } = allowedOf(decision);
    return [ttlSeconds, notAfter.toISOString(), limitedBy];
  };
  const shorter = withTemplate(granting({ ttl: { defaultSeconds: 20, maxSeconds: 45 } }));

  test('is the default of the grant, or what is asked for up to its maximum', () => {
    expect(life(asking({}))).toEqual([60, '2026-07-01T12:01:00.000Z', 'ttl']);
    expect(life(asking({ ttlSeconds: 1 }))).toEqual([1, '2026-07-01T12:00:01.000Z', 'ttl']);
    expect(life(asking({ ttlSeconds: 120 }))).toEqual([120, '2026-07-01T12:02:00.000Z', 'ttl']);
  });

  test('above the maximum is refused, not shortened', () => {
    expect(asking({ ttlSeconds: 121 })).toEqual({
      allowed: false,
      reason: 'ttl_too_long',
      checks: order.slice(0, 16),
      failed: 'ttl-within-grant',
    });
  });

  test('is bounded by the version active now: the default silently, a wish by refusal', () => {
    expect(life(asking({}, { policy: shorter }))).toEqual([45, '2026-07-01T12:00:45.000Z', 'template']);
    expect(life(asking({ ttlSeconds: 45 }, { policy: shorter }))).toEqual([
      45,
      '2026-07-01T12:00:45.000Z',
      'ttl',
    ]);
    expect(asking({ ttlSeconds: 46 }, { policy: shorter })).toMatchObject({ reason: 'ttl_too_long' });
  });

  test('is not prolonged by the version active now', () => {
    const longer = withTemplate(granting({ ttl: { defaultSeconds: 600, maxSeconds: 600 } }));
    expect(life(asking({}, { policy: longer }))).toEqual([60, '2026-07-01T12:01:00.000Z', 'ttl']);
    expect(asking({ ttlSeconds: 121 }, { policy: longer })).toMatchObject({ reason: 'ttl_too_long' });
  });

  test('ends with the task, silently', () => {
    const at = (seconds: number) => ({ now: new Date(sound.task.expiresAt.getTime() - seconds * 1000) });
    expect(life(asking({}, at(60)))).toEqual([60, '2026-07-01T12:30:00.000Z', 'ttl']);
    expect(life(asking({}, at(59)))).toEqual([59, '2026-07-01T12:30:00.000Z', 'task']);
    expect(life(asking({ ttlSeconds: 120 }, at(1)))).toEqual([1, '2026-07-01T12:30:00.000Z', 'task']);
  });

  test('of less than a second is none', () => {
    const now = new Date('2026-07-01T12:30:00.100Z');
    expect(asking({}, { now })).toEqual({
      allowed: false,
      reason: 'task_ended',
      checks: order.slice(0, 16),
      failed: 'time-left',
    });
  });

  test('ends on a whole second, never after what was asked for', () => {
    const { notAfter, ttlSeconds } = allowedOf(asking({ ttlSeconds: 60 }));
    expect(notAfter.getTime() % 1000).toBe(0);
    expect(notAfter.getTime()).toBeLessThanOrEqual(now.getTime() + ttlSeconds * 1000);
  });
});

test('deciding changes nothing of what it was given, and twice gives the same', () => {
  const before = JSON.stringify(sound);
  expect(decide(sound)).toEqual(decide(sound));
  expect(JSON.stringify(sound)).toBe(before);
});
