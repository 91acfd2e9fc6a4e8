import { describe, expect, test } from '@jest/globals';
import { coreWorld, deliveredOf, eventsOf, onlyTask, reading, reasonOf, type World } from '@mayfly/testkit';

const descriptor = { template: 'invoice-reconcile', ref: 'run-1', params: { quarter: '2026q3' } };
const asking = (jti: number, task: object = {}) => ({
  subject: { kind: 'assertion' as const, token: `reconciler:${jti}` },
  detail: reading({ task: { ...descriptor, ...task } }),
});

function nothingOpened({ store }: World) {
  return [store.rows.tasks.size, store.rows.grants.size, store.rows.work.size];
}

describe('a refused opening leaves no task, no grant and no work', () => {
  test.each([
    ['an unknown template', { template: 'nothing-like-it' }, 'workload_not_matched'],
    ['a parameter that does not fit', { params: { quarter: '2026q9' } }, 'params_invalid'],
    ['a parameter too many', { params: { quarter: '2026q3', extra: 'x' } }, 'params_invalid'],
    ['a missing parameter', { params: {} }, 'params_invalid'],
  ])('%s', async (_, task, reason) => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange(asking(1, task)))).toBe(reason);
    expect(nothingOpened(world)).toEqual([0, 0, 0]);
    expect(eventsOf(world)).toEqual(['exchange.refused']);
  });

  test('a tool that it does not grant: the refusal names neither task nor grant', async () => {
    const world = coreWorld();
    const answer = await world.exchange({ detail: reading({ tool: 'unknown.tool' }) });
    expect(reasonOf(answer)).toBe('tool_not_granted');
    expect(nothingOpened(world)).toEqual([0, 0, 0]);
    const [issuance] = world.store.rows.issuances.values();
    expect(issuance?.record).toMatchObject({ taskId: null, grantId: null, template: 'invoice-reconcile' });
    expect(world.store.rows.audit[0]).toMatchObject({ taskId: null, type: 'exchange.refused' });
  });

  test('a limit that only the statement sees', async () => {
    const { template } = coreWorld();
    const world = coreWorld({ template: { task: { ...template.task, maxOpen: 1 } } });
    await world.exchange(asking(1));
    expect(reasonOf(await world.exchange(asking(2, { ref: 'run-2' })))).toBe('too_many_open_tasks');
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('a limit per hour, with the seconds after which to come back', async () => {
    const { template } = coreWorld();
    const world = coreWorld({ template: { task: { ...template.task, opensPerHour: 1 } } });
    await world.exchange(asking(1));
    const answer = await world.exchange(asking(2, { ref: 'run-2' }));
    expect(answer).toMatchObject({ error: { reason: 'rate_limited', retryAfterSeconds: 3600 } });
  });
});

describe('a ref', () => {
  test('with other parameters is a conflict', async () => {
    const world = coreWorld();
    await world.exchange(asking(1));
    expect(reasonOf(await world.exchange(asking(2, { params: { quarter: '2026q4' } })))).toBe('ref_conflict');
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('of an ended task stays closed', async () => {
    const world = coreWorld();
    await world.exchange(asking(1));
    const { task } = onlyTask(world);
    const event = { id: world.newId(), type: 'task.ended', at: world.clock.now(), actor: 'x', body: {} };
    const audit = { ...event, taskId: task.id, issuanceId: null };
    await world.ports.tasks.end(task.id, { state: 'failed', reason: 'done', audit });
    expect(reasonOf(await world.exchange(asking(2)))).toBe('task_ended');
    expect(world.store.rows.tasks.size).toBe(1);
  });

  test('that another took between look and commit finds that task', async () => {
    const world = coreWorld();
    const other = world.anotherBroker();
    world.trace.beforeNext('ledger.intend', () => other.exchange(asking(2)));
    const answer = deliveredOf(await world.exchange(asking(1)));
    expect(world.store.rows.tasks.size).toBe(1);
    expect(answer.taskToken).toBeNull();
    expect(world.cloud.minted).toHaveLength(2);
  });

  test('of another workload is another task', async () => {
    const world = coreWorld();
    await world.exchange(asking(1));
    const subject = { kind: 'assertion' as const, token: 'reconciler-two:2' };
    const answer = deliveredOf(await world.exchange({ subject, detail: reading() }));
    expect(answer.taskToken).not.toBeNull();
    expect(world.store.rows.tasks.size).toBe(2);
  });
});

describe('a template', () => {
  test('closed to the workload and one that is not there give the same refusal', async () => {
    const world = coreWorld();
    const subject = { kind: 'assertion' as const, token: 'stranger:1' };
    const closed = await world.exchange({ subject, detail: reading() });
    const missing = await world.exchange({ subject, ...{ detail: asking(1, { template: 'none' }).detail } });
    expect(reasonOf(closed)).toBe('workload_not_matched');
    expect(reasonOf(missing)).toBe('workload_not_matched');
  });

  test('that is disabled opens nothing', async () => {
    const world = coreWorld({ template: { mode: 'disabled' } });
    expect(reasonOf(await world.exchange(asking(1)))).toBe('template_disabled');
  });

  test('that only others open is not opened by the workload itself', async () => {
    const world = coreWorld({ template: { openers: [{ kind: 'role', role: 'orchestrator' }] } });
    expect(reasonOf(await world.exchange(asking(1)))).toBe('opener_not_allowed');
  });
});
