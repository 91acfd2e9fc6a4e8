import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  deliveredOf,
  eventsOf,
  nothingPresented,
  onlyTask,
  posting,
  reading,
  reasonOf,
  type World,
} from '@mayfly/testkit';
import { auditEvent } from './audit-event.ts';
import { exchange } from './exchange.ts';
import { endTask, resumeTask, suspendTask } from './lifecycle.ts';

const again = { subject: { kind: 'assertion' as const, token: 'reconciler:2' }, detail: reading() };
const operator = { reason: 'look', actor: 'people/olga' };

/** A world with an open task, and another process over the same database. */
async function opened(): Promise<{ world: World; taskId: string; token: string }> {
  const world = coreWorld();
  const { taskToken } = deliveredOf(await world.exchange({ detail: reading() }));
  world.trace.calls.length = 0;
  return { world, taskId: onlyTask(world).task.id, token: taskToken?.reveal() ?? '' };
}

describe('a policy that moves between decision and commit', () => {
  test('is loaded, and the exchange is decided again', async () => {
    const { world } = await opened();
    world.trace.beforeNext('ledger.intend', () => world.documents.publish({}));
    expect(reasonOf(await world.exchange(again))).toBe('delivered');
    expect(world.trace.count('ledger.intend')).toBe(2);
    const record = [...world.store.rows.issuances.values()].at(-1)?.record;
    expect(record?.policyEpoch).toBe(world.store.rows.epoch);
  });

  test('narrows at once: what the new version does not give is refused', async () => {
    const { world } = await opened();
    const [grant] = world.template.grants;
    if (grant === undefined) throw new Error('no grant');
    world.trace.beforeNext('ledger.intend', () => {
      world.documents.apply({ ...world.template, grants: [{ ...grant, tool: 's3.list' }] });
    });
    expect(reasonOf(await world.exchange(again))).toBe('tool_not_granted');
    expect(world.cloud.minted).toHaveLength(1);
  });

  test('four times in a row: overloaded, refused once', async () => {
    const { world } = await opened();
    const move = () => {
      world.documents.publish({});
      world.trace.beforeNext('ledger.intend', move);
    };
    world.trace.beforeNext('ledger.intend', move);
    const answer = await world.exchange(again);
    expect(answer).toMatchObject({ error: { name: 'Fault', reason: 'overloaded', effect: 'none' } });
    expect(world.trace.count('ledger.intend')).toBe(4);
    expect(eventsOf(world).filter((type) => type === 'exchange.refused')).toHaveLength(1);
  });

  test('three times in a row is still decided', async () => {
    const { world } = await opened();
    let moves = 0;
    const move = () => {
      world.documents.publish({});
      moves += 1;
      if (moves < 3) world.trace.beforeNext('ledger.intend', move);
    };
    world.trace.beforeNext('ledger.intend', move);
    expect(reasonOf(await world.exchange(again))).toBe('delivered');
  });
});

describe('a refusal', () => {
  test('under an older policy is decided again under the one in force', async () => {
    const { world } = await opened();
    const other = world.anotherBroker();
    await other.ports.policies.current();
    world.documents.publish({ issuers: new Map() });
    await world.ports.policies.refresh();
    const issuers = new Map([[world.issuer.issuer, world.issuer]]);
    world.documents.publish({ issuers });
    expect(reasonOf(await world.exchange(again))).toBe('delivered');
    expect(
      reasonOf(await other.exchange({ ...again, subject: { kind: 'assertion', token: 'reconciler:3' } })),
    ).toBe('delivered');
  });

  test('stands when the policy cannot be read again: errors deny', async () => {
    const { world } = await opened();
    const { policies } = world.ports;
    const failing = { ...policies, refresh: () => Promise.reject(new Error('away')) };
    const request = { detail: reading({ tool: 'unknown.tool' }), grantId: null, requestedTokenType: null };
    const rest = {
      ...again,
      targets: [],
      idempotencyKey: null,
      requestId: 'r',
      presented: nothingPresented,
    };
    const answer = await exchange(
      { actor: null, ...rest, ...request },
      { ...world.ports, policies: failing },
    );
    expect(reasonOf(answer)).toBe('tool_not_granted');
  });

  test('that is refused again and again is recorded once', async () => {
    const { world } = await opened();
    const detail = reading({ tool: 'unknown.tool' });
    world.trace.beforeNext('tasks.findByRef', () => world.documents.publish({}));
    expect(reasonOf(await world.exchange({ ...again, detail }))).toBe('tool_not_granted');
    expect(world.trace.count('tasks.findByRef')).toBe(2);
    expect(world.trace.count('ledger.refuse')).toBe(1);
  });
});

describe('a freeze', () => {
  test('refuses at once everywhere, and the thaw is seen at once', async () => {
    const { world } = await opened();
    world.documents.freeze('incident');
    const answer = await world.exchange(again);
    expect(reasonOf(answer)).toBe('frozen');
    world.documents.freeze(null);
    expect(reasonOf(await world.exchange(again))).toBe('delivered');
  });

  test.each([
    ['template', 'invoice-reconcile', 'other'],
    ['issuer', 'agents', 'agent'],
    ['provider', 'cloud', 'clouds'],
  ] as const)(
    'of the %s refuses what it names, between decision and commit too, and nothing else',
    async (scope, name, other) => {
      const { world } = await opened();
      world.documents.freeze('incident', { scope, name: other });
      world.trace.beforeNext('ledger.intend', () => world.documents.freeze('incident', { scope, name }));
      expect(reasonOf(await world.exchange(again))).toBe('frozen');
      expect(reasonOf(await world.exchange(again))).toBe('frozen');
      world.documents.freeze(null, { scope, name });
      expect(reasonOf(await world.exchange(again))).toBe('delivered');
    },
  );

  test('between decision and commit refuses the commit', async () => {
    const { world } = await opened();
    world.trace.beforeNext('ledger.intend', () => world.documents.freeze('incident'));
    expect(reasonOf(await world.exchange(again))).toBe('frozen');
    expect(world.cloud.minted).toHaveLength(1);
  });
});

describe('a task that another process suspended and resumed', () => {
  test('is refused while it is suspended, though this process remembers it open', async () => {
    const { world, taskId, token } = await opened();
    const other = world.anotherBroker();
    await suspendTask(taskId, operator, other.ports);
    const { task: _, ...unnamed } = reading();
    const request = { subject: { kind: 'access-token' as const, token }, detail: unnamed };
    expect(reasonOf(await world.exchange(request))).toBe('task_suspended');
  });

  test('is served again, with a new reach, though this process remembers it suspended', async () => {
    const { world, taskId, token } = await opened();
    const other = world.anotherBroker();
    const { task: _, ...unnamed } = reading();
    const request = { subject: { kind: 'access-token' as const, token }, detail: unnamed };
    await suspendTask(taskId, operator, other.ports);
    expect(reasonOf(await world.exchange(request))).toBe('task_suspended');
    await resumeTask(taskId, operator, other.ports);
    expect(reasonOf(await world.exchange(request))).toBe('delivered');
    const [before, after] = world.cloud.minted.map(({ reach }) => reach);
    expect(before?.endsWith('-1')).toBe(true);
    expect(after?.endsWith('-2')).toBe(true);
  });

  test('is looked at again when this process has seen it suspended, and no policy has moved since', async () => {
    const { world, taskId, token } = await opened();
    const other = world.anotherBroker();
    await suspendTask(taskId, operator, other.ports);
    await world.ports.tasks.find(taskId, { fresh: true });
    await resumeTask(taskId, operator, other.ports);
    const { task: _, ...unnamed } = reading();
    const request = { subject: { kind: 'access-token' as const, token }, detail: unnamed };
    expect(reasonOf(await world.exchange(request))).toBe('delivered');
  });

  test('is served with the new generation when only that was missed', async () => {
    const { world, taskId, token } = await opened();
    const other = world.anotherBroker();
    await suspendTask(taskId, operator, other.ports);
    await resumeTask(taskId, operator, other.ports);
    const { task: _, ...unnamed } = posting();
    const request = { subject: { kind: 'access-token' as const, token }, detail: unnamed };
    expect(reasonOf(await world.exchange(request))).toBe('delivered');
    expect(world.trace.count('ledger.issueLocal')).toBe(2);
  });

  test('is served so when a grant is named by audience, too', async () => {
    const one = 'arn:aws:s3:::invoices/2026q3/a.pdf';
    const { grants, ...rest } = coreWorld().template;
    const template = { ...rest, grants: grants.map((grant) => ({ ...grant, resource: one })) };
    const world = coreWorld({ template });
    await world.exchange({ detail: reading() });
    const { task } = onlyTask(world);
    const [grantId = ''] = task.grants.filter(({ name }) => name === 'read-invoices').map(({ id }) => id);
    const other = world.anotherBroker();
    await suspendTask(task.id, operator, other.ports);
    const request = { subject: again.subject, grantId };
    expect(reasonOf(await world.exchange(request))).toBe('task_suspended');
    await resumeTask(task.id, operator, other.ports);
    expect(reasonOf(await world.exchange(request))).toBe('delivered');
  });
});

test('a task that ends between decision and commit is refused, and nothing is minted', async () => {
  const { world, taskId } = await opened();
  const end = { state: 'completed' as const, reason: 'done', actor: 'agents/reconciler' };
  world.trace.beforeNext('ledger.intend', () => endTask(taskId, end, world.anotherBroker().ports));
  expect(reasonOf(await world.exchange(again))).toBe('task_ended');
  expect(world.cloud.minted).toHaveLength(1);
});

test('a process whose clock is off issues nothing, and says so in the log', async () => {
  const { world } = await opened();
  world.clock.trusted = false;
  const answer = await world.exchange(again);
  expect(answer).toMatchObject({
    issuanceId: null,
    error: { name: 'Fault', reason: 'clock_off', effect: 'none' },
  });
  expect(world.trace.calls).toEqual(['unattested.append']);
  world.clock.trusted = true;
  expect(reasonOf(await world.exchange(again))).toBe('delivered');
});

test('an event of now has an id of its own, and null where nothing was said', () => {
  const world = coreWorld();
  const event = auditEvent({ newId: world.newId, now: world.clock.now() }, { type: 'x.y' });
  expect(event).toMatchObject({ type: 'x.y', actor: null, taskId: null, issuanceId: null, body: {} });
});
