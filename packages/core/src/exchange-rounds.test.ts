import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  lostAnswer,
  nothingPresented,
  onlyTask,
  pattern,
  reading,
  reasonOf,
  type World,
} from '@mayfly/testkit';
import { type ExchangeRequest, exchange } from './exchange.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import { endTask, resumeTask, suspendTask } from './lifecycle.ts';
import type { Intent } from './ports.ts';

const operator = { reason: 'look', actor: 'people/olga' };
const again: ExchangeRequest = {
  subject: { kind: 'assertion', token: 'reconciler:2' },
  ...{ actor: null, presented: nothingPresented, detail: reading() },
  ...{ grantId: null, requestedTokenType: null, targets: [], idempotencyKey: null, requestId: 'r' },
};

/** Ports under which the policy has moved whenever it is looked at again. */
function restless({ ports, documents }: World): ExchangePorts {
  const refresh = () => {
    documents.publish({});
    return ports.policies.refresh();
  };
  return { ...ports, policies: { ...ports.policies, refresh } };
}

async function opened(options: Parameters<typeof coreWorld>[0] = {}): Promise<World> {
  const world = coreWorld(options);
  expect(reasonOf(await world.exchange({ detail: reading(), idempotencyKey: 'k1' }))).toBe('delivered');
  world.trace.calls.length = 0;
  return world;
}

describe('while the policy moves at each look', () => {
  test('a refusal of the last round stands with its own reason', async () => {
    const world = await opened();
    const detail = reading({ tool: 'unknown.tool' });
    expect(reasonOf(await exchange({ ...again, detail }, restless(world)))).toBe('tool_not_granted');
    expect(world.trace.count('tasks.findByRef')).toBe(4);
    expect(world.trace.count('ledger.refuse')).toBe(1);
  });

  test('a repeated Idempotency-Key is answered at once', async () => {
    const world = await opened();
    const answer = await exchange({ ...again, idempotencyKey: 'k1' }, restless(world));
    expect(reasonOf(answer)).toBe('already_issued');
    expect(world.trace.count('ledger.intend')).toBe(1);
  });

  test('a Fault is not tried again', async () => {
    const world = await opened();
    world.trace.failNext('tasks.findByRef', lostAnswer(false));
    expect(reasonOf(await exchange(again, restless(world)))).toBe('database_unavailable');
    expect(world.trace.count('tasks.findByRef')).toBe(1);
  });
});

test('a task that this process has seen suspended is looked at once more before it is refused', async () => {
  const world = await opened();
  const { id } = onlyTask(world).task;
  const other = world.anotherBroker();
  await suspendTask(id, operator, other.ports);
  await world.ports.tasks.find(id, { fresh: true });
  const request = { ...again, detail: reading({ task: id }) };
  expect(reasonOf(await world.exchange(request))).toBe('task_suspended');
  await resumeTask(id, operator, other.ports);
  expect((await world.ports.tasks.find(id))?.status.state).toBe('suspended');
  expect(reasonOf(await world.exchange(request))).toBe('delivered');
});

test('a task token whose task was just read needs no second look', async () => {
  const world = await opened();
  const subject = { kind: 'access-token', token: `task-token:${onlyTask(world).task.id}` } as const;
  const { task: _, ...detail } = reading();
  expect(reasonOf(await world.exchange({ subject, detail }))).toBe('delivered');
  expect(world.trace.only('tasks.find', 'tasks.findByRef')).toEqual(['tasks.find']);
});

describe('what is handed on', () => {
  test('the digest of the arguments reaches the minter and the independent check', async () => {
    const world = coreWorld();
    const seen: unknown[] = [];
    const fake = world.ports.minters.get('fake');
    if (fake === undefined) throw new Error('no minter');
    const plan: typeof fake.plan = (request) => {
      seen.push(request.argsDigest);
      return fake.plan(request);
    };
    const check: ExchangePorts['check'] = (made, allowed) => {
      seen.push(allowed.argsDigest);
      return world.ports.check(made, allowed);
    };
    const ports = { ...world.ports, check, minters: new Map([['fake', { ...fake, plan }]]) };
    const args_digest = 'a'.repeat(64);
    expect(reasonOf(await exchange({ ...again, detail: reading({ args_digest }) }, ports))).toBe('delivered');
    expect(seen).toEqual([args_digest, args_digest]);
  });

  test('the limit per minute of the grant reaches the statement, with the epoch and generation', async () => {
    const { template } = coreWorld();
    const grants = template.grants.map((grant) => ({ ...grant, budget: { exchanges: 9, perMinute: 7 } }));
    const world = coreWorld({ template: { grants } });
    const intents: Intent[] = [];
    const { ledger } = world.ports;
    const intend: typeof ledger.intend = (intent) => {
      intents.push(intent);
      return ledger.intend(intent);
    };
    const recorded = { ...world.ports, ledger: { ...ledger, intend } };
    await exchange(again, recorded);
    expect(intents).toMatchObject([{ budget: { exchanges: 9, perMinute: 7 }, epoch: 1, generation: 1 }]);
  });
});

describe('the event', () => {
  test('of a refusal names the task and the issuance that the caller was told', async () => {
    const world = await opened();
    const answer = await world.exchange({ ...again, detail: reading({ tool: 'unknown.tool' }) });
    expect(world.store.rows.audit.at(-1)).toMatchObject({
      type: 'exchange.refused',
      actor: 'agents/reconciler',
      taskId: onlyTask(world).task.id,
      issuanceId: answer.kind === 'refused' ? answer.issuanceId : '',
    });
  });

  test('of a refusal before a workload is known names nobody', async () => {
    const world = coreWorld();
    const subject = { kind: 'assertion', token: 'other/x:1' } as const;
    expect(await world.exchange({ subject, detail: reading() })).toMatchObject({ issuanceId: null });
    const nobody = { actor: null, taskId: null, issuanceId: null };
    expect(world.store.rows.audit).toMatchObject([{ type: 'exchange.refused', ...nobody }]);
    expect(world.store.rows.issuances.size).toBe(0);
  });

  test('of a refused opening names no task: there is none', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading({ tool: 'unknown.tool' }) });
    expect(world.store.rows.audit).toMatchObject([{ type: 'exchange.refused', taskId: null }]);
  });

  test('of an intent says what was planned', async () => {
    const world = await opened();
    const intended = world.store.rows.audit.find(({ type }) => type === 'exchange.intended');
    expect(intended?.body).toMatchObject({
      grant: 'read-invoices',
      provider: 'cloud',
      notAfter: '2026-07-01T12:01:00.000Z',
      nativePermissions: ['fake:read', 'fake:list'],
    });
  });
});

test('an issuer may speak for several kinds of subjects', async () => {
  const subjects = [pattern('someone'), pattern('reconciler')];
  const world = coreWorld({ issuer: { subjects } });
  expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
});

test('what must end is still called for at the very end of the skew', async () => {
  const world = await opened();
  const cause = { state: 'completed', reason: 'done', actor: 'agents/reconciler' } as const;
  await endTask(onlyTask(world).task.id, cause, world.ports);
  world.clock.advanceTo(new Date('2026-07-01T12:01:30Z'));
  await world.reap();
  expect(world.trace.count('minter.revoke')).toBe(1);
});
