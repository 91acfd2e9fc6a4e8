import { describe, expect, test } from '@jest/globals';
import { coreWorld, deliveredOf, onlyTask, posting, reading, reasonOf, type World } from '@mayfly/testkit';
import { endTask, resumeTask, suspendTask } from './lifecycle.ts';
import type { Template } from './template.ts';

const person = { actor: 'people/olga' };

/** A world whose task may have two levels of children of its own template, and of a second one. */
async function parented(child: Partial<Template> = {}) {
  const world = coreWorld();
  const { documents, template } = world;
  const children = { max: 3, depth: 2, templates: [template.name, 'child'] };
  documents.apply({ ...template, task: { ...template.task, children } });
  documents.apply({ ...template, name: 'child', ...child });
  const opened = deliveredOf(await world.exchange({ detail: reading() }));
  const parent = onlyTask(world).task;
  return { world, parent, subject: tokenOf(opened.taskToken?.reveal()) };
}

const tokenOf = (token = '') => ({ kind: 'access-token', token }) as const;
const childOf = (template = 'child', ref = 'c-1') =>
  reading({ task: { template, ref, params: { quarter: '2026q3' } } });

function taskNamed(world: World, ref: string) {
  const row = [...world.store.rows.tasks.values()].find(({ task }) => task.ref === ref);
  if (row === undefined) throw new Error(`no task ${ref}`);
  return row;
}

describe('a child task', () => {
  test('is opened with the task token of its parent, and is found again by its ref', async () => {
    const { world, parent, subject } = await parented();
    const opened = deliveredOf(await world.exchange({ subject, detail: childOf() }));
    expect(taskNamed(world, 'c-1').task).toMatchObject({ parentId: parent.id, depthLeft: 0 });
    expect(opened.taskToken).not.toBeNull();
    expect(deliveredOf(await world.exchange({ subject, detail: childOf() })).taskToken).toBeNull();
    expect(world.store.rows.tasks.size).toBe(2);
  });

  test('never outlives its parent', async () => {
    const { world, parent, subject } = await parented({
      task: { ...coreWorld().template.task, maxDurationSeconds: 86_400 },
    });
    await world.exchange({ subject, detail: childOf() });
    expect(taskNamed(world, 'c-1').task.expiresAt).toEqual(parent.expiresAt);
  });

  test('has only those grants that lie within one of its parent', async () => {
    const [read, post] = coreWorld().template.grants;
    if (read === undefined || post === undefined) throw new Error('no grants');
    const wider = { ...read, name: 'wider', resource: 'arn:aws:s3:::invoices/**' };
    const longer = { ...read, name: 'longer', ttl: { defaultSeconds: 60, maxSeconds: 121 } };
    const more = { ...read, name: 'more', actions: ['read', 'list', 'delete'] as const };
    const narrower = { ...read, name: 'narrower', resource: 'arn:aws:s3:::invoices/${params.quarter}/a.pdf' };
    const { world, parent, subject } = await parented({ grants: [wider, longer, more, narrower] });
    await world.exchange({ subject, detail: childOf() });
    const { task } = taskNamed(world, 'c-1');
    expect(task.grants.map(({ name }) => name)).toEqual(['narrower']);
    const outer = parent.grants.find(({ tool }) => tool === read.tool);
    expect(task.grants[0]?.above).toEqual([outer?.id]);
  });

  test('of which nothing lies within its parent is not opened', async () => {
    const [read] = coreWorld().template.grants;
    if (read === undefined) throw new Error('no grants');
    const { world, subject } = await parented({ grants: [{ ...read, tool: 's3.other' }] });
    const answer = await world.exchange({ subject, detail: childOf() });
    expect(reasonOf(answer)).toBe('child_exceeds_parent');
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('needs a template that the parent names, a level, and room', async () => {
    const { world, subject } = await parented();
    const unnamed = await world.exchange({ subject, detail: childOf('nothing') });
    expect(reasonOf(unnamed)).toBe('workload_not_matched');
    world.documents.apply({ ...world.template, name: 'unnamed' });
    expect(reasonOf(await world.exchange({ subject, detail: childOf('unnamed') }))).toBe('child_not_allowed');
    const reasons = [];
    for (const ref of ['c-1', 'c-2', 'c-3', 'c-4'])
      reasons.push(reasonOf(await world.exchange({ subject, detail: childOf('child', ref) })));
    expect(reasons).toEqual(['delivered', 'delivered', 'delivered', 'child_not_allowed']);
    const child = tokenOf(`task-token:${taskNamed(world, 'c-1').task.id}`);
    // Its own template says nothing of children.
    const grandchild = await world.exchange({ subject: child, detail: childOf('child', 'g-1') });
    expect(reasonOf(grandchild)).toBe('child_not_allowed');
  });

  test('may no more than its parent as of now: narrowed above, refused beneath', async () => {
    const { world, subject } = await parented();
    const opened = deliveredOf(await world.exchange({ subject, detail: childOf() }));
    const child = tokenOf(opened.taskToken?.reveal());
    const detail = reading({ task: taskNamed(world, 'c-1').task.id });
    expect(reasonOf(await world.exchange({ subject: child, detail }))).toBe('delivered');
    const grants = world.template.grants.map((grant) => ({ ...grant, tool: `${grant.tool}.gone` }));
    world.documents.apply({ ...world.template, grants });
    expect(reasonOf(await world.exchange({ subject: child, detail }))).toBe('tool_not_granted');
    world.documents.apply({ ...world.template, mode: 'disabled' });
    expect(reasonOf(await world.exchange({ subject: child, detail }))).toBe('template_disabled');
  });

  test('is nothing that a token of another task can name', async () => {
    const { world, subject } = await parented();
    await world.exchange({ subject, detail: childOf() });
    await world.exchange({
      subject: { kind: 'assertion', token: 'reconciler:9' },
      detail: reading({
        task: { template: 'invoice-reconcile', ref: 'beside', params: { quarter: '2026q3' } },
      }),
    });
    const beside = tokenOf(`task-token:${taskNamed(world, 'beside').task.id}`);
    const task = taskNamed(world, 'c-1').task.id;
    expect(reasonOf(await world.exchange({ subject: beside, detail: posting({ task }) }))).toBe(
      'task_unknown',
    );
  });
});

describe('what happens to a task happens to those beneath', () => {
  test('its end ends them, and takes back what is out', async () => {
    const { world, parent, subject } = await parented();
    const opened = deliveredOf(await world.exchange({ subject, detail: childOf() }));
    const ending = await endTask(parent.id, { state: 'failed', reason: 'x', ...person }, world.ports);
    expect(ending.total).toBe(2);
    expect(taskNamed(world, 'c-1')).toMatchObject({ state: 'cancelled', stateReason: 'parent task ended' });
    const child = tokenOf(opened.taskToken?.reveal());
    const refused = await world.exchange({ subject: child, detail: reading() });
    expect(reasonOf(refused)).not.toBe('delivered');
    expect([...world.store.rows.work.values()].map(({ state }) => state)).toEqual(['revoking', 'revoking']);
    const ended = world.store.rows.audit.filter(({ type }) => type === 'task.ended');
    expect(ended.map(({ taskId }) => taskId)).toEqual([parent.id, taskNamed(world, 'c-1').task.id]);
  });

  test('its suspension suspends them, and its resumption gives back only those', async () => {
    const { world, parent, subject } = await parented();
    await world.exchange({ subject, detail: childOf() });
    await world.exchange({ subject, detail: childOf('child', 'c-2') });
    const [first, second] = [taskNamed(world, 'c-1').task, taskNamed(world, 'c-2').task];
    await suspendTask(second.id, { reason: 'its own', ...person }, world.ports);
    await suspendTask(parent.id, { reason: 'look', ...person }, world.ports);
    const early = resumeTask(first.id, { reason: null, ...person }, world.ports);
    await expect(early).rejects.toMatchObject({ reason: 'task_suspended' });
    await resumeTask(parent.id, { reason: null, ...person }, world.ports);
    expect(taskNamed(world, 'c-1').state).toBe('open');
    expect(taskNamed(world, 'c-2').state).toBe('suspended');
  });

  test('no child is opened beneath a task that has ended or is suspended', async () => {
    const { world, parent, subject } = await parented();
    await suspendTask(parent.id, { reason: 'look', ...person }, world.ports);
    expect(reasonOf(await world.exchange({ subject, detail: childOf() }))).toBe('task_suspended');
    await endTask(parent.id, { state: 'completed', reason: 'x', ...person }, world.ports);
    expect(reasonOf(await world.exchange({ subject, detail: childOf() }))).toBe('task_ended');
  });
});

describe('the ref of a template that makes it of claims', () => {
  const task = { ...coreWorld().template.task, refClaims: ['run_id', 'run_attempt'] };
  const asked = (ref?: string) =>
    reading({
      task: {
        template: 'invoice-reconcile',
        params: { quarter: '2026q3' },
        ...(ref === undefined ? {} : { ref }),
      },
    });

  test('needs none of the caller, and the same run finds its task again', async () => {
    const world = coreWorld({ template: { task } });
    world.claims.set('reconciler', { run_id: '77', run_attempt: '1' });
    await world.exchange({ detail: asked() });
    expect(onlyTask(world).task.ref).toBe('77.1');
    const again = { kind: 'assertion', token: 'reconciler:2' } as const;
    expect(reasonOf(await world.exchange({ subject: again, detail: asked() }))).toBe('delivered');
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('takes no other, and none without its claims', async () => {
    const world = coreWorld({ template: { task } });
    expect(reasonOf(await world.exchange({ detail: asked() }))).toBe('params_invalid');
    world.claims.set('reconciler', { run_id: '77', run_attempt: '1' });
    expect(reasonOf(await world.exchange({ detail: asked('mine') }))).toBe('ref_conflict');
  });

  test('is required of the caller by every other template', async () => {
    expect(reasonOf(await coreWorld().exchange({ detail: asked() }))).toBe('details_malformed');
  });
});
