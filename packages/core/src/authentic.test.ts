import { describe, expect, test } from '@jest/globals';
import {
  byItself,
  coreWorld,
  issuerUrl,
  onlyTask,
  reading,
  reasonOf,
  seededIds,
  TestClock,
} from '@mayfly/testkit';
import { grantFrom, isAuthentic } from './authentic.ts';
import { considerOpening, planOpening } from './open.ts';
import type { Grant, Task } from './task.ts';
import type { Template } from './template.ts';

const world = coreWorld();
const base = world.template.grants[0];
const template: Template = {
  ...world.template,
  params: {
    ...world.template.params,
    team: { fromClaim: 'team', accepts: (value) => /^[a-z]+$/.test(value) },
  },
  grants:
    base === undefined
      ? []
      : [{ ...base, mint: { role: 'finance', whole: true, none: null, deep: { keys: ['a', 'b'] } } }],
};
const workload = {
  issuer: issuerUrl,
  issuerName: 'agents',
  subject: 'reconciler',
  claims: { sub: 'reconciler', team: 'finance' },
};

function opened(): { task: Task; grant: Grant } {
  const params = { quarter: '2026q3' };
  const request = {
    template: template.name,
    ref: null,
    params,
    objective: null,
    workload,
    opener: null,
    ...byItself,
  };
  const policy = { ...world.documents.set, templates: new Map([[template.name, template]]) };
  const context = { newId: seededIds(new TestClock()), now: world.clock.now() };
  const { task } = planOpening(request, considerOpening(request, policy), context);
  const [grant] = task.grants;
  if (grant === undefined) throw new Error('no grant');
  return { task, grant };
}

const { task, grant } = opened();

describe('a stored grant is authentic', () => {
  test('as it was opened', () => {
    expect(isAuthentic(grant, task, template)).toBe(true);
  });

  test('whatever the order of keys that the database gives back', () => {
    const turned = Object.fromEntries(Object.entries(grant.mint).reverse());
    expect(isAuthentic({ ...grant, mint: turned }, task, template)).toBe(true);
  });
});

describe('a stored grant is not authentic', () => {
  const ttl = { defaultSeconds: 60, maxSeconds: 121 };
  test.each<readonly [string, Partial<Grant>]>([
    ['with a wider resource', { resource: 'arn:aws:s3:::invoices/**' }],
    ['with the resource of other parameters', { resource: 'arn:aws:s3:::invoices/2026q4/**' }],
    ['with another tool', { tool: 's3.write' }],
    ['with another provider', { provider: 'local' }],
    ['with another access', { access: 's3.prefix' }],
    ['with one action more', { actions: ['read', 'list', 'delete'] }],
    ['with its actions in another order', { actions: ['list', 'read'] }],
    ['with another mint block', { mint: { ...grant.mint, role: 'admin' } }],
    ['with one key more in its mint block', { mint: { ...grant.mint, session: 'long' } }],
    ['with one key less in its mint block', { mint: { role: 'finance', whole: true, none: null } }],
    ['with another value deep in its mint block', { mint: { ...grant.mint, deep: { keys: ['a', 'c'] } } }],
    ['with nothing where a value was', { mint: { ...grant.mint, role: null } }],
    ['with nothing where a list was', { mint: { ...grant.mint, deep: null } }],
    ['with a text where a structure was', { mint: { ...grant.mint, deep: 'keys' } }],
    ['with an empty structure where a value was', { mint: { ...grant.mint, whole: {} } }],
    ['with an empty structure where nothing was', { mint: { ...grant.mint, none: {} } }],
    ['with an object where a list was', { mint: { ...grant.mint, deep: { keys: { 0: 'a', 1: 'b' } } } }],
    ['with a longer life', { ttl }],
    ['with a promise to end that was taken away', { endsWithinSeconds: 5 }],
    ['with a budget of another size', { budget: { exchanges: 1, perMinute: null } }],
    ['of another task', { taskId: '00000000-0000-7000-8000-000000000000' }],
    ['of a name that the template does not know', { name: 'read-everything' }],
  ])('%s', (_, change) => {
    expect(isAuthentic({ ...grant, ...change }, task, template)).toBe(false);
  });

  const resource = 'arn:aws:s3:::invoices/2026q4/**';
  test('when parameters and resource were altered to something that the template refuses', () => {
    const params = { ...task.params, quarter: '1999q9' };
    const altered = { ...grant, resource: 'arn:aws:s3:::invoices/1999q9/**' };
    expect(isAuthentic(altered, { ...task, params }, template)).toBe(false);
  });

  test('when a parameter from a claim was altered', () => {
    const params = { ...task.params, team: 'sales' };
    expect(isAuthentic(grant, { ...task, params }, template)).toBe(false);
  });

  test('when a parameter was added or taken away', () => {
    expect(isAuthentic(grant, { ...task, params: { ...task.params, other: 'x' } }, template)).toBe(false);
    expect(isAuthentic(grant, { ...task, params: { quarter: '2026q3' } }, template)).toBe(false);
  });

  test('with the parameters and grant of what the workload could have opened itself: that one is', () => {
    const params = { ...task.params, quarter: '2026q4' };
    expect(isAuthentic({ ...grant, resource }, { ...task, params }, template)).toBe(true);
  });
});

test('a grant is not made when a variable of its resource has no safe value', () => {
  const [spec] = template.grants;
  if (spec === undefined) throw new Error('no grant');
  const made = (resource: string) => grantFrom({ ...spec, resource }, task, grant.id)?.resource;
  expect(made('arn:aws:s3:::${workload.claims.other}/**')).toBeUndefined();
  expect(made('arn:aws:s3:::${workload.claims.team}/**')).toBe('arn:aws:s3:::finance/**');
  expect(made('${task.id}/x')).toMatch(/^[0-9A-Z]{26}\/x$/);
});

describe('an exchange for a grant that somebody wrote to beside the broker', () => {
  const again = { subject: { kind: 'assertion', token: 'reconciler:2' }, detail: reading() } as const;

  test.each<readonly [string, Partial<Grant>]>([
    ['a wider resource', { resource: 'arn:aws:s3:::invoices/**' }],
    ['another mint block', { mint: { role: 'admin' } }],
    ['a longer life', { ttl: { defaultSeconds: 60, maxSeconds: 86_400 } }],
    ['more actions', { actions: ['read', 'list', 'delete'] }],
  ])('%s: grant_not_authentic, and nothing is minted', async (_, change) => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    for (const row of world.store.rows.grants.values())
      if (row.grant.tool === 's3.read')
        world.store.rows.grants.set(row.grant.id, { ...row, grant: { ...row.grant, ...change } });
    expect(reasonOf(await world.anotherBroker().exchange(again))).toBe('grant_not_authentic');
    expect(world.cloud.minted).toHaveLength(1);
  });

  test('a task given to a workload that its template does not name opens nothing', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const row = onlyTask(world);
    const owner = row.task.owner.replace('reconciler', 'mallory');
    world.store.rows.tasks.set(row.task.id, { ...row, task: { ...row.task, owner } });
    const detail = reading({ task: row.task.id });
    const subject = { kind: 'assertion', token: 'mallory:2' } as const;
    expect(reasonOf(await world.anotherBroker().exchange({ subject, detail }))).toBe('workload_not_matched');
  });
});
