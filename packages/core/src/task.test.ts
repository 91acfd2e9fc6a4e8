import { describe, expect, test } from '@jest/globals';
import { coreWorld, onlyTask, reading, type World } from '@mayfly/testkit';
import { Refusal } from './errors.ts';
import { endTask, resumeTask, suspendTask } from './lifecycle.ts';
import { closedStates, isClosed, type TaskState, transitions } from './task.ts';

const states: readonly TaskState[] = ['open', 'suspended', ...closedStates];
const ada = { actor: 'sso/ada', reason: 'look at it' };

/** Tries to bring the task to this state by the one way there is; a Refusal leaves it where it is. */
async function bring(world: World, to: TaskState): Promise<void> {
  const { id } = onlyTask(world).task;
  try {
    if (to === 'suspended') await suspendTask(id, ada, world.ports);
    else if (to === 'open') await resumeTask(id, ada, world.ports);
    else await endTask(id, { ...ada, state: to }, world.ports);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}

/** A task in this state; only a lapsed lease opens the way to `abandoned`. */
async function taskIn(state: TaskState, { lapsed = state === 'abandoned' } = {}): Promise<World> {
  const world = coreWorld();
  await world.exchange({ detail: reading() });
  if (lapsed) world.clock.advance(61);
  if (state !== 'open') await bring(world, state);
  expect(onlyTask(world).state).toBe(state);
  return world;
}

test('every state has its row, and only `open` and `suspended` have a way on', () => {
  expect(Object.keys(transitions).sort()).toEqual([...states].sort());
  expect(states.filter((state) => transitions[state].length > 0)).toEqual(['open', 'suspended']);
});

test('closed is what is neither open nor suspended', () => {
  expect(states.filter((state) => isClosed(state))).toEqual([...closedStates]);
});

// A suspended task keeps no lease, so it cannot lose one: the table allows more there than anybody asks for.
const pairs = states.flatMap((from) =>
  states
    .filter((to) => to !== from && !(from === 'suspended' && to === 'abandoned'))
    .map((to) => ({ from, to, allowed: transitions[from].includes(to) })),
);

describe('the store allows what the table allows', () => {
  test.each(pairs)('$from to $to: $allowed', async ({ from, to, allowed }) => {
    const world = await taskIn(from, { lapsed: [from, to].includes('abandoned') });
    const before = world.store.rows.audit.length;
    await bring(world, to);
    expect(onlyTask(world).state).toBe(allowed ? to : from);
    expect(world.store.rows.audit.length - before).toBe(allowed ? 1 : 0);
  });
});

test('no grant of a closed task is active, and none comes back', async () => {
  for (const state of closedStates) {
    const world = await taskIn(state);
    await bring(world, 'open');
    expect([...world.store.rows.grants.values()].map((grant) => grant.state)).toEqual(['ended', 'ended']);
  }
});
