import { describe, expect, test } from '@jest/globals';
import {
  byItself,
  coreWorld,
  issuerUrl,
  lostAnswer,
  onlyTask,
  posting,
  reading,
  reasonOf,
  type World,
} from '@mayfly/testkit';
import { endTask, openTask, resumeTask, suspendTask } from './lifecycle.ts';
import type { OpenRequest } from './open.ts';
import type { SingleUse } from './ports.ts';
import { type ClosedState, closedStates } from './task.ts';

const reconciler = {
  issuer: issuerUrl,
  issuerName: 'agents',
  subject: 'reconciler',
  claims: { sub: 'reconciler' },
};
const request: OpenRequest = {
  template: 'invoice-reconcile',
  ref: 'run-1',
  params: { quarter: '2026q3' },
  objective: 'Post the report.',
  workload: reconciler,
  opener: null,
  ...byItself,
};
const noUse: SingleUse = { uses: [], attested: [], idempotencyKey: null };
const once = (digest: string): SingleUse => ({
  ...noUse,
  uses: [{ digest, expiresAt: new Date('2026-07-02T00:00:00Z'), replayed: 'assertion_replayed' }],
});
const ada = { actor: 'sso/ada', reason: 'look at it' };

function open(world: World, change: Partial<OpenRequest> = {}, use = noUse) {
  return openTask({ ...request, ...change }, use, world.ports);
}

function end(world: World, taskId: string, state: ClosedState = 'completed') {
  return endTask(taskId, { state, reason: `because ${state}`, actor: 'agents/reconciler' }, world.ports);
}

function again(world: World, jti: string) {
  return world.exchange({ subject: { kind: 'assertion', token: `reconciler:${jti}` }, detail: reading() });
}

const eventTypes = ({ store }: World) => store.rows.audit.map(({ type }) => type);

describe('opening', () => {
  test('stores task, grants and event, and answers what was stored', async () => {
    const world = coreWorld();
    const { task, status, opened } = await open(world);
    expect([opened, status.state, status.generations]).toEqual([true, 'open', {}]);
    expect(onlyTask(world).task).toEqual(task);
    expect(task).toMatchObject({ objective: 'Post the report.', opener: null, templateVersion: 1 });
    expect([...world.store.rows.grants.values()].map(({ grant }) => grant.resource)).toEqual([
      'arn:aws:s3:::invoices/2026q3/**',
      'https://reports.example/2026q3',
    ]);
    expect(world.store.rows.audit).toMatchObject([
      { type: 'task.opened', actor: 'agents/reconciler', taskId: task.id, body: { ref: 'run-1' } },
    ]);
  });

  test('the same ref with the same parameters finds the open task', async () => {
    const world = coreWorld();
    const first = await open(world);
    const second = await open(world);
    expect([second.task.id, second.opened]).toEqual([first.task.id, false]);
    expect(eventTypes(world)).toEqual(['task.opened']);
  });

  test('without a ref each opening is a new task', async () => {
    const world = coreWorld();
    const [first, second] = [await open(world, { ref: null }), await open(world, { ref: null })];
    expect(second.task.id).not.toBe(first.task.id);
    expect(second.opened).toBe(true);
  });

  test('the same ref with other parameters is refused, whatever the state', async () => {
    const world = coreWorld();
    await open(world);
    await expect(open(world, { params: { quarter: '2026q4' } })).rejects.toMatchObject({
      reason: 'ref_conflict',
    });
  });

  test('the same ref of another workload is another task', async () => {
    const world = coreWorld();
    const first = await open(world);
    const other = { ...reconciler, subject: 'reconciler-2', claims: { sub: 'reconciler-2' } };
    expect((await open(world, { workload: other })).task.id).not.toBe(first.task.id);
  });

  test('a ref of a suspended task says so, one of a closed task stays closed', async () => {
    const world = coreWorld();
    const { task } = await open(world);
    await suspendTask(task.id, ada, world.ports);
    await expect(open(world)).rejects.toMatchObject({ reason: 'task_suspended' });
    await end(world, task.id);
    await expect(open(world)).rejects.toMatchObject({ reason: 'task_ended' });
  });

  test('nothing is opened or found while issuing is frozen', async () => {
    const world = coreWorld();
    await open(world);
    world.documents.freeze('incident');
    await expect(open(world)).rejects.toMatchObject({ reason: 'frozen' });
    await expect(open(world, { ref: 'run-2' })).rejects.toMatchObject({ reason: 'frozen' });
  });

  test('limits refuse with the seconds to wait', async () => {
    const limits = { maxOpen: 2, opensPerHour: 3 };
    const world = coreWorld({ template: { task: { ...coreWorld().template.task, ...limits } } });
    const first = await open(world, { ref: null });
    await open(world, { ref: null });
    await expect(open(world, { ref: null })).rejects.toMatchObject({ reason: 'too_many_open_tasks' });
    await end(world, first.task.id);
    await open(world, { ref: null });
    await expect(open(world, { ref: null })).rejects.toMatchObject({
      reason: 'rate_limited',
      retryAfterSeconds: 3600,
    });
  });
});

describe('an assertion that may be used once', () => {
  test('opens once (invariant I7)', async () => {
    const world = coreWorld();
    await open(world, { ref: null }, once('a'));
    await expect(open(world, { ref: null }, once('a'))).rejects.toMatchObject({
      reason: 'assertion_replayed',
    });
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('is used by finding a task as by opening one', async () => {
    const world = coreWorld();
    await open(world, {}, once('a'));
    await expect(open(world, {}, once('a'))).rejects.toMatchObject({ reason: 'assertion_replayed' });
    expect((await open(world, {}, once('b'))).opened).toBe(false);
    await expect(open(world, { ref: null }, once('b'))).rejects.toMatchObject({
      reason: 'assertion_replayed',
    });
  });

  test('is not used by a refusal', async () => {
    const world = coreWorld();
    await open(world);
    const other = { params: { quarter: '2026q4' } };
    await expect(open(world, other, once('a'))).rejects.toMatchObject({ reason: 'ref_conflict' });
    expect((await open(world, {}, once('a'))).opened).toBe(false);
  });
});

describe('what moves under an opening', () => {
  test('a policy: it is looked at again, under the one in force', async () => {
    const world = coreWorld();
    world.trace.beforeNext('tasks.open', () => world.documents.apply(world.template));
    expect((await open(world)).task.templateVersion).toBe(2);
    expect(world.trace.count('tasks.open')).toBe(2);
  });

  test('a policy that now refuses: refused', async () => {
    const world = coreWorld();
    world.trace.beforeNext('tasks.open', () => world.documents.remove('invoice-reconcile'));
    await expect(open(world)).rejects.toMatchObject({ reason: 'workload_not_matched' });
    expect(world.store.rows.tasks.size).toBe(0);
  });

  test('a ref that another takes: its task is found', async () => {
    const world = coreWorld();
    const rival = world.anotherBroker();
    world.trace.beforeNext('tasks.open', () => openTask(request, noUse, rival.ports));
    const found = await open(world);
    expect([found.opened, found.task.id]).toEqual([false, onlyTask(world).task.id]);
  });

  test('a policy that never stands still: overloaded after four rounds, without a task', async () => {
    const world = coreWorld();
    const move = () => {
      world.documents.apply(world.template);
      world.trace.beforeNext('tasks.open', move);
    };
    world.trace.beforeNext('tasks.open', move);
    await expect(open(world)).rejects.toMatchObject({ reason: 'overloaded', effect: 'none' });
    expect(world.trace.count('tasks.open')).toBe(4);
    expect(world.store.rows.tasks.size).toBe(0);
  });

  test.each([false, true])(
    'a lost answer (applied: %s): asking again gives the one task',
    async (applied) => {
      const world = coreWorld();
      world.trace.failNext('tasks.open', lostAnswer(applied));
      await expect(open(world)).rejects.toMatchObject({ reason: 'database_unavailable', effect: 'unknown' });
      expect((await open(world)).opened).toBe(!applied);
      expect(eventTypes(world)).toEqual(['task.opened']);
    },
  );
});

describe('ending', () => {
  test.each(closedStates.filter((state) => state !== 'abandoned'))(
    '%s: once, with one event',
    async (state) => {
      const world = coreWorld();
      const { task } = await open(world);
      expect(await end(world, task.id, state)).toMatchObject({ state, total: 0, pending: 0 });
      expect(onlyTask(world)).toMatchObject({ state, stateReason: `because ${state}` });
      expect(eventTypes(world)).toEqual(['task.opened', 'task.ended']);
    },
  );

  test('again keeps the first state, and answers it', async () => {
    const world = coreWorld();
    const { task } = await open(world);
    await end(world, task.id, 'failed');
    expect(await end(world, task.id, 'completed')).toMatchObject({ state: 'failed' });
    expect(onlyTask(world)).toMatchObject({
      state: 'failed',
      outcome: 'failed',
      stateReason: 'because failed',
    });
    expect(eventTypes(world)).toEqual(['task.opened', 'task.ended']);
  });

  test('says what is out, what is confirmed, and until when the rest can live', async () => {
    const world = coreWorld({ localEnds: 'expired' });
    await world.exchange({ detail: reading() });
    await world.exchange({ subject: { kind: 'assertion', token: 'reconciler:2' }, detail: posting() });
    const ending = { total: 2, confirmed: 0, pending: 1, byExpiry: 1 };
    const { id } = onlyTask(world).task;
    expect(await end(world, id)).toMatchObject({ ...ending, worstCaseAt: new Date('2026-07-01T12:01:00Z') });
    await world.reap();
    expect(await world.ports.tasks.ending(id)).toMatchObject({
      ...{ total: 2, confirmed: 1, pending: 0, byExpiry: 1 },
      worstCaseAt: new Date('2026-07-01T12:00:30Z'),
    });
  });

  test('of an unknown task', async () => {
    const world = coreWorld();
    await expect(end(world, world.newId())).rejects.toMatchObject({ reason: 'task_unknown' });
    expect(eventTypes(world)).toEqual([]);
  });

  test.each([false, true])('whose answer is lost (applied: %s) may be repeated', async (applied) => {
    const world = coreWorld();
    const { task } = await open(world);
    world.trace.failNext('tasks.end', lostAnswer(applied));
    await expect(end(world, task.id)).rejects.toMatchObject({ reason: 'database_unavailable' });
    expect(await end(world, task.id)).toMatchObject({ state: 'completed' });
    expect(eventTypes(world)).toEqual(['task.opened', 'task.ended']);
  });
});

describe('suspending', () => {
  test('stops the task, takes back what is out, and is written down once', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const { id } = onlyTask(world).task;
    expect(await suspendTask(id, ada, world.ports)).toMatchObject({ state: 'suspended', pending: 1 });
    expect(await suspendTask(id, ada, world.ports)).toMatchObject({ state: 'suspended' });
    expect(eventTypes(world).filter((type) => type === 'task.suspended')).toHaveLength(1);
    expect(reasonOf(await again(world, '2'))).toBe('task_suspended');
  });

  test('of an ended and of an unknown task is refused', async () => {
    const world = coreWorld();
    const { task } = await open(world);
    await end(world, task.id);
    await expect(suspendTask(task.id, ada, world.ports)).rejects.toMatchObject({ reason: 'task_ended' });
    const unknown = suspendTask(world.newId(), ada, world.ports);
    await expect(unknown).rejects.toMatchObject({ reason: 'task_unknown' });
  });
});

describe('resuming', () => {
  test('gives a new generation, so that what was denied stays denied', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const { id } = onlyTask(world).task;
    await suspendTask(id, ada, world.ports);
    await world.reap();
    const { state, generations } = await resumeTask(id, ada, world.ports);
    expect([state, new Set(Object.values(generations))]).toEqual(['open', new Set([2])]);
    expect(reasonOf(await again(world, '2'))).toBe('delivered');
    const [first, second] = world.cloud.minted;
    const now = world.clock.now();
    expect([first, second].map((one) => one && world.cloud.accepts(one, now))).toEqual([false, true]);
    expect(eventTypes(world)).toContain('task.resumed');
  });

  test('of an open task is refused, and changes no generation', async () => {
    const world = coreWorld();
    const { task } = await open(world);
    await expect(resumeTask(task.id, ada, world.ports)).rejects.toMatchObject({
      reason: 'task_not_suspended',
    });
    expect(
      (await world.ports.tasks.find(task.id, { fresh: true }))?.status.generations[task.grants[0]?.id ?? ''],
    ).toBe(1);
  });

  test('of an ended, of an expired and of an unknown task is refused', async () => {
    const world = coreWorld();
    const [ended, expired] = [await open(world, { ref: null }), await open(world, { ref: null })];
    await end(world, ended.task.id);
    await suspendTask(expired.task.id, ada, world.ports);
    world.clock.advance(1800);
    for (const { task } of [ended, expired])
      await expect(resumeTask(task.id, ada, world.ports)).rejects.toMatchObject({ reason: 'task_ended' });
    const unknown = resumeTask(world.newId(), ada, world.ports);
    await expect(unknown).rejects.toMatchObject({ reason: 'task_unknown' });
  });
});
