import { describe, expect, test } from '@jest/globals';
import { coreWorld, lostAnswer, onlyTask, reading, reasonOf, type World } from '@mayfly/testkit';
import { type DeviationRules, noDeviationRules } from './deviation.ts';

const suspendAtThree: DeviationRules = {
  ...noDeviationRules,
  refused: { after: 3, withinSeconds: 600, act: 'suspend' },
};

let subjects = 0;
const by = () => {
  subjects += 1;
  return { subject: { kind: 'assertion' as const, token: `reconciler:${subjects}` } };
};

async function opened(deviation: DeviationRules, more: Parameters<typeof coreWorld>[0] = {}): Promise<World> {
  const world = coreWorld({ ...more, template: { deviation, ...more.template } });
  expect(reasonOf(await world.exchange({ ...by(), detail: reading() }))).toBe('delivered');
  return world;
}

const ask = async (world: World, change: Parameters<typeof reading>[0] = {}) =>
  world.exchange({ ...by(), detail: reading(change) });
const state = (world: World) => onlyTask(world).state;
const deviations = (world: World) => world.store.rows.audit.filter(({ type }) => type === 'task.deviated');

describe('refused requests', () => {
  test('of three kinds reach the limit of three; each answer is its own, and the next one is of the suspended task', async () => {
    const world = await opened(suspendAtThree);
    const answers = [
      await ask(world, { tool: 'mail.send' }),
      await ask(world, { identifier: 'arn:aws:s3:::payroll/a' }),
      await ask(world, { actions: ['delete'] }),
    ];
    expect(answers.map(reasonOf)).toEqual([
      'tool_not_granted',
      'resource_outside_grant',
      'action_outside_grant',
    ]);
    expect(answers.map((answer) => answer.kind === 'refused' && answer.deviated)).toEqual([
      null,
      null,
      'suspend',
    ]);
    expect(reasonOf(await ask(world))).toBe('task_suspended');
    const [event, ...others] = deviations(world);
    expect(others).toEqual([]);
    expect(event).toMatchObject({ actor: 'agents/reconciler', taskId: onlyTask(world).task.id });
    const refusals = [...world.store.rows.issuances.values()].filter(({ decision }) => decision === 'deny');
    expect(event?.body['evidence']).toEqual(refusals.slice(0, 3).map(({ record }) => record.id));
  });

  test('that come again at once count once', async () => {
    const world = await opened(suspendAtThree);
    for (let count = 0; count < 5; count += 1) await ask(world, { tool: 'mail.send' });
    expect(state(world)).toBe('open');
  });

  test('of a template without a rule change nothing', async () => {
    const world = await opened(noDeviationRules);
    for (const tool of ['a.b', 'c.d', 'e.f', 'g.h']) await ask(world, { tool });
    expect([state(world), deviations(world)]).toEqual(['open', []]);
    expect(world.store.rows.sightings.size).toBe(0);
  });

  test('with other parameters under the ref of a live task count against that task', async () => {
    const world = await opened({ ...suspendAtThree, refused: { after: 1, withinSeconds: 60, act: 'end' } });
    const [named] = [reading().task];
    const task = typeof named === 'object' ? { ...named, params: { quarter: '2026q4' } } : named;
    expect(reasonOf(await ask(world, { task }))).toBe('ref_conflict');
    expect(state(world)).toBe('deviated');
  });

  test('count for no task that is not there yet', async () => {
    const world = coreWorld({ template: { deviation: suspendAtThree } });
    for (const tool of ['a.b', 'c.d', 'e.f'])
      expect(reasonOf(await ask(world, { tool }))).toBe('tool_not_granted');
    expect([world.store.rows.tasks.size, world.store.rows.sightings.size]).toEqual([0, 0]);
  });

  test('that a malformed identifier or a too long ttl brings about do not count', async () => {
    const world = await opened({ ...suspendAtThree, refused: { after: 1, withinSeconds: 60, act: 'end' } });
    const answers = [
      await ask(world, { identifier: 'arn:aws:s3:::invoices/*' }),
      await ask(world, { ttl: 9_999 }),
    ];
    expect(answers.map(reasonOf)).toEqual(['identifier_malformed', 'ttl_too_long']);
    expect(state(world)).toBe('open');
  });

  test('for what a newer version took away do not count: the task asks for what it was opened with', async () => {
    const world = await opened({ ...suspendAtThree, refused: { after: 1, withinSeconds: 60, act: 'end' } });
    const grants = world.template.grants.filter(({ tool }) => tool !== 's3.read');
    world.documents.apply({ ...world.template, grants });
    expect(reasonOf(await ask(world))).toBe('tool_not_granted');
    expect(state(world)).toBe('open');
  });

  test('of a stranger do not count against the task that he names', async () => {
    const world = await opened({ ...suspendAtThree, refused: { after: 1, withinSeconds: 60, act: 'end' } });
    const { id } = onlyTask(world).task;
    const stranger = { subject: { kind: 'assertion' as const, token: 'reconciler-2:1' } };
    const answer = await world.exchange({ ...stranger, detail: reading({ task: id, tool: 'mail.send' }) });
    expect([reasonOf(answer), state(world)]).toEqual(['task_unknown', 'open']);
  });

  test.each([
    ['the version in force is sharper', 'note', 'end'],
    ['the version it was opened with is sharper', 'end', 'note'],
  ] as const)('%s: the sharper rule acts', async (_, first, second) => {
    const rule = (act: 'note' | 'end') => ({
      ...noDeviationRules,
      refused: { after: 1, withinSeconds: 60, act },
    });
    const world = await opened(rule(first));
    world.documents.apply({ ...world.template, deviation: rule(second) });
    await ask(world, { tool: 'mail.send' });
    expect(state(world)).toBe('deviated');
  });
});

describe('a budget that is spent', () => {
  const budget = { exchanges: 1, perMinute: null };
  const grantsOf = ({ template }: World) => template.grants.map((grant) => ({ ...grant, budget }));
  const grants = grantsOf(coreWorld());

  test.each([
    ['suspend', 'suspended'],
    ['end', 'deviated'],
    ['note', 'open'],
  ] as const)('%s: the task is %s', async (act, after) => {
    const world = await opened({ ...noDeviationRules, budgetSpent: act }, { template: { grants } });
    expect(reasonOf(await ask(world))).toBe('budget_spent');
    expect([state(world), deviations(world).length]).toEqual([after, 1]);
  });

  test('is noted once, however often it is asked for', async () => {
    const world = await opened({ ...noDeviationRules, budgetSpent: 'note' }, { template: { grants } });
    for (let count = 0; count < 3; count += 1) expect(reasonOf(await ask(world))).toBe('budget_spent');
    expect(deviations(world)).toHaveLength(1);
  });

  test('does nothing without a rule, and a limit per minute never does', async () => {
    const world = await opened(noDeviationRules, { template: { grants } });
    await ask(world);
    expect(state(world)).toBe('open');
    const throttled = grants.map((grant) => ({ ...grant, budget: { exchanges: null, perMinute: 1 } }));
    const other = await opened(
      { ...suspendAtThree, budgetSpent: 'end' },
      { template: { grants: throttled } },
    );
    expect([reasonOf(await ask(other)), state(other)]).toEqual(['rate_limited', 'open']);
  });
});

describe('a refused request for an effect', () => {
  const rules: DeviationRules = { ...noDeviationRules, refusedEffects: { egress: 'end', write: 'note' } };

  test('of which the template says it ends the task, ends it at once', async () => {
    const world = await opened(rules);
    const [read] = world.template.grants;
    if (read === undefined) throw new Error('a template without grants');
    // Only another template grants the tool: what it does is known all the same.
    const send = { ...read, name: 'send', tool: 'mail.send', effects: ['egress'] as const };
    world.documents.apply({ ...world.template, name: 'mailer', grants: [send] });
    expect(reasonOf(await ask(world, { tool: 'mail.send' }))).toBe('tool_not_granted');
    expect(state(world)).toBe('deviated');
    expect(deviations(world)).toMatchObject([{ body: { act: 'end', rule: 'refused' } }]);
  });

  test('counts by what the tool does, and a tool that nobody grants does nothing', async () => {
    const world = await opened(rules);
    await ask(world, { tool: 'mail.send' });
    await ask(world, { identifier: 'arn:aws:s3:::payroll/a' });
    expect([state(world), deviations(world)]).toEqual(['open', []]);
  });

  test('beside a limit of refusals, which counts on', async () => {
    const world = await opened({
      ...rules,
      refused: { after: 2, withinSeconds: 600, act: 'suspend' },
      refusedEffects: { read: 'note' },
    });
    await ask(world, { identifier: 'arn:aws:s3:::payroll/a' });
    expect([state(world), deviations(world).length]).toEqual(['open', 1]);
    for (const tool of ['a.b', 'c.d']) await ask(world, { tool });
    expect(state(world)).toBe('suspended');
  });
});

test('a lost lease that is only noted changes nothing else, and is told once', async () => {
  const world = await opened({ ...noDeviationRules, heartbeatLost: 'note' });
  world.clock.advance(61);
  for (const _ of [1, 2]) await world.reap();
  expect(deviations(world)).toMatchObject([
    { actor: 'mayfly', body: { act: 'note', rule: 'heartbeatLost', evidence: [], quarantineSeconds: null } },
  ]);
  expect(reasonOf(await ask(world, { ttl: 60 }))).toBe('delivered');
  expect(state(world)).toBe('open');
});

test('a lost lease suspends where the template says so, told once, and the next exchange is refused before the reaper comes', async () => {
  const world = await opened({ ...noDeviationRules, heartbeatLost: 'suspend' });
  world.clock.advance(61);
  expect(reasonOf(await ask(world))).toBe('task_suspended');
  await world.reap();
  expect(onlyTask(world)).toMatchObject({ state: 'suspended', stateReason: 'lease lost' });
  const told = world.store.rows.audit.filter(({ type }) => type === 'task.suspended');
  expect(told).toMatchObject([{ actor: 'mayfly', body: { reason: 'lease lost' } }]);
  await world.reap();
  expect(onlyTask(world).state).toBe('suspended');
});

test('quarantine: another ref of the workload is refused with its own reason, shown by the explanation, and passes', async () => {
  const rules = {
    ...noDeviationRules,
    refused: { after: 1, withinSeconds: 60, act: 'end' as const },
    quarantineSeconds: 900,
  };
  const world = await opened(rules);
  await ask(world, { tool: 'mail.send' });
  const named = reading().task;
  const task = typeof named === 'object' ? { ...named, ref: 'run-2' } : named;
  expect(reasonOf(await ask(world, { task }))).toBe('quarantined');
  const last = [...world.store.rows.issuances.values()].at(-1);
  expect(last?.record).toMatchObject({
    reason: 'quarantined',
    explanation: { decision: 'deny', reason: 'quarantined' },
  });
  world.clock.advance(901);
  expect(reasonOf(await ask(world, { task }))).toBe('delivered');
});

test('a rule whose record cannot be written does nothing, and the refusal stands', async () => {
  const world = await opened({ ...noDeviationRules, refused: { after: 1, withinSeconds: 60, act: 'end' } });
  world.trace.failNext('ledger.refuse', lostAnswer(false));
  const answer = await ask(world, { tool: 'mail.send' });
  expect(answer).toMatchObject({ kind: 'refused', deviated: null, error: { reason: 'tool_not_granted' } });
  expect(state(world)).toBe('open');
});
