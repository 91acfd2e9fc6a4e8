import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  deliveredOf,
  onlyTask,
  pattern,
  posting,
  reading,
  reasonOf,
  type World,
  type WorldOptions,
} from '@mayfly/testkit';
import type { Template } from './template.ts';
import type { SubjectMatch } from './workload.ts';

const helper: SubjectMatch = { issuerName: 'agents', match: { sub: [pattern('helper*')] }, bind: [] };
const optional: Template['delegation'] = { actor: 'optional', actors: [helper] };
const asking = (subject: string, actor: string | null) => ({
  subject: { kind: 'assertion', token: subject } as const,
  actor: actor === null ? null : { token: actor },
});

function worldWith(delegation: Template['delegation'], options: WorldOptions = {}): World {
  return coreWorld({ ...options, template: { delegation } });
}

describe('an actor', () => {
  test('that the template names acts for the subject, and the log says so', async () => {
    const world = worldWith(optional);
    const answer = await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    expect(reasonOf(answer)).toBe('delivered');
    const { task } = onlyTask(world);
    expect(task.workload.subject).toBe('reconciler');
    expect(task.actors.map(({ subject, issuer }) => [subject, issuer])).toEqual([
      ['helper', world.issuer.issuer],
    ]);
    const [issuance] = world.store.rows.issuances.values();
    expect(issuance?.record.workload.subject).toBe('reconciler');
    expect(issuance?.record.actor).toEqual({ issuerName: 'agents', subject: 'helper' });
    expect(world.store.rows.audit.map(({ actor }) => actor)).toEqual(Array(3).fill('agents/helper'));
  });

  test('without a rule is refused, never dropped in silence', async () => {
    const world = coreWorld();
    const answer = await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    expect(reasonOf(answer)).toBe('delegation_not_granted');
    expect(world.store.rows.tasks.size).toBe(0);
  });

  test('that the template does not name is refused', async () => {
    const world = worldWith(optional);
    const answer = await world.exchange({ ...asking('reconciler:1', 'stranger:s1'), detail: reading() });
    expect(reasonOf(answer)).toBe('delegation_not_granted');
  });

  test('that proves nothing is no actor', async () => {
    const answer = await worldWith(optional).exchange({
      ...asking('reconciler:1', 'other/helper:o1'),
      detail: reading(),
    });
    expect(reasonOf(answer)).toBe('assertion_invalid');
  });

  test('is needed where the template demands one', async () => {
    const world = worldWith({ actor: 'required', actors: [helper] });
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('actor_required');
    const acted = await world.exchange({ ...asking('reconciler:2', 'helper:h1'), detail: reading() });
    expect(reasonOf(acted)).toBe('delivered');
  });

  test('uses up its own assertion as well', async () => {
    const world = worldWith(optional);
    await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    const again = await world.exchange({ ...asking('reconciler:2', 'helper:h1'), detail: reading() });
    expect(reasonOf(again)).toBe('assertion_replayed');
    // All or nothing: the subject's assertion is still good.
    const fresh = await world.exchange({ ...asking('reconciler:2', 'helper:h2'), detail: reading() });
    expect(reasonOf(fresh)).toBe('delivered');
  });

  test('has tasks of its own: the subject alone, and another actor, do not find them', async () => {
    const world = worldWith(optional);
    await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    const task = [...world.store.rows.tasks.keys()][0] ?? '';
    for (const asked of [asking('reconciler:2', null), asking('reconciler:3', 'helper-2:h9')]) {
      const answer = await world.exchange({ ...asked, detail: reading({ task }) });
      expect(reasonOf(answer)).toBe('task_unknown');
    }
    const own = await world.exchange({ ...asking('reconciler:4', 'helper:h2'), detail: reading({ task }) });
    expect(reasonOf(own)).toBe('delivered');
  });

  test('whose rule is withdrawn is refused at its next exchange, by task token too', async () => {
    const world = worldWith(optional);
    const opened = await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    const token = deliveredOf(opened).taskToken?.reveal() ?? '';
    const byToken = { subject: { kind: 'access-token', token } as const };
    const task = onlyTask(world).task.id;
    expect(reasonOf(await world.exchange({ ...byToken, detail: reading({ task }) }))).toBe('delivered');
    world.documents.apply({ ...world.template, delegation: { actor: 'none', actors: [] } });
    const refused = await world.exchange({ ...byToken, detail: reading({ task }) });
    expect(reasonOf(refused)).toBe('delegation_not_granted');
  });
});

describe('may_act', () => {
  const may = (world: World, subject: string) =>
    world.bound.set('reconciler', { mayAct: { issuer: world.issuer.issuer, subject } });

  test('names an actor that the template leaves to the token', async () => {
    const world = worldWith({ actor: 'optional', actors: [] });
    may(world, 'proxy');
    const answer = await world.exchange({ ...asking('reconciler:1', 'proxy:p1'), detail: reading() });
    expect(reasonOf(answer)).toBe('delivered');
    expect(onlyTask(world).task.actors[0]?.named).toBe(true);
  });

  test('is no rule of the template', async () => {
    const world = coreWorld();
    may(world, 'proxy');
    const answer = await world.exchange({ ...asking('reconciler:1', 'proxy:p1'), detail: reading() });
    expect(reasonOf(answer)).toBe('delegation_not_granted');
  });

  test('refuses every other actor, also one that the template names', async () => {
    const world = worldWith(optional);
    may(world, 'proxy');
    const answer = await world.exchange({ ...asking('reconciler:1', 'helper:h1'), detail: reading() });
    expect(reasonOf(answer)).toBe('may_act_mismatch');
  });
});

describe('a tool token', () => {
  const server = {
    ...{ name: 'reports', cacheSeconds: 5 },
    ...({ verification: 'introspect', signingAlgorithm: 'ES256' } as const),
  };
  const subjects = [{ issuerName: 'agents', match: { sub: [pattern('tool')] }, bind: [] }];

  async function shown() {
    const world = worldWith({
      actor: 'optional',
      actors: [{ issuerName: 'agents', match: { sub: [pattern('tool'), pattern('other')] }, bind: [] }],
    });
    const { documents, template } = world;
    const children = { max: 2, depth: 2, templates: [template.name] };
    documents.apply({ ...template, task: { ...template.task, children } });
    documents.publish({
      servers: new Map([['reports', { ...server, audience: 'https://reports.example', subjects }]]),
    });
    await world.exchange({ detail: posting() });
    const task = onlyTask(world).task.id;
    const subject = { kind: 'access-token', token: `tool-token:${task}:https://reports.example` } as const;
    return { world, task, subject };
  }

  test('is no subject token by itself', async () => {
    const { world, subject } = await shown();
    expect(reasonOf(await world.exchange({ subject, detail: posting() }))).toBe('assertion_invalid');
  });

  test('is one with its own server as actor, for a child task only', async () => {
    const { world, subject, task } = await shown();
    const actor = { token: 'tool:t1' };
    const child = await world.exchange({ subject, actor, detail: reading() });
    expect(reasonOf(child)).toBe('delivered');
    const opened = [...world.store.rows.tasks.values()].find((row) => row.task.parentId === task);
    expect(opened?.task.actors.map(({ subject: name }) => name)).toEqual(['tool']);
    const own = await world.exchange({ subject, actor: { token: 'tool:t2' }, detail: reading({ task }) });
    expect(reasonOf(own)).toBe('task_unknown');
  });

  test('is none with an actor that is no subject of its audience', async () => {
    const { world, subject } = await shown();
    const answer = await world.exchange({ subject, actor: { token: 'other:o1' }, detail: reading() });
    expect(reasonOf(answer)).toBe('delegation_not_granted');
  });
});

test('a chain of more than four actors is refused', async () => {
  const world = worldWith({ actor: 'optional', actors: [helper] });
  const { documents, template } = world;
  const task = { ...template.task, children: { max: 9, depth: 9, templates: [template.name] } };
  documents.apply({ ...template, task });
  let token = '';
  const reasons: string[] = [];
  for (let depth = 0; depth < 6; depth += 1) {
    const subject =
      depth === 0
        ? ({ kind: 'assertion', token: 'reconciler:1' } as const)
        : ({ kind: 'access-token', token } as const);
    const actor = { token: `helper-${depth}:h${depth}` };
    const answer = await world.exchange({ subject, actor, detail: reading() });
    reasons.push(reasonOf(answer));
    if (answer.kind === 'delivered') token = answer.taskToken?.reveal() ?? '';
  }
  expect(reasons).toEqual([...Array(4).fill('delivered'), ...Array(2).fill('delegation_too_deep')]);
  const chain = [...world.store.rows.tasks.values()].at(-1)?.task.actors.map(({ subject }) => subject);
  expect(chain).toEqual(['helper-3', 'helper-2', 'helper-1', 'helper-0']);
});
