import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  eventsOf,
  lostAnswer,
  nothingPresented,
  onlyTask,
  reading,
  reasonOf,
} from '@mayfly/testkit';
import { exchange } from './exchange.ts';
import { endTask } from './lifecycle.ts';

const withBase = () => coreWorld({ minter: { base: true } });
const by = (jti: number, change: Parameters<typeof reading>[0] = {}) => ({
  subject: { kind: 'assertion' as const, token: `reconciler:${jti}` },
  detail: reading(change),
});

describe('a base session', () => {
  test('has intent and outcome of its own, between those of the credential cut from it', async () => {
    const world = withBase();
    await world.exchange(by(1));
    const effects = world.trace.only('ledger.intend', 'minter.mint', 'ledger.deliver');
    expect(effects).toEqual([
      ...['ledger.intend', 'ledger.intend', 'minter.mint', 'ledger.deliver'],
      ...['minter.mint', 'ledger.deliver'],
    ]);
    expect(eventsOf(world)).toEqual([
      ...['task.opened', 'exchange.intended', 'base.intended', 'base.delivered', 'exchange.delivered'],
    ]);
    expect(world.cloud.minted.map(({ purpose }) => purpose)).toEqual(['base', 'agent']);
  });

  test('is an issuance of the broker, with the reach of what is cut from it', async () => {
    const world = withBase();
    await world.exchange(by(1));
    const [base, agent] = world.cloud.minted;
    const row = world.store.rows.issuances.get(base?.issuanceId ?? '');
    expect(row?.record).toMatchObject({ purpose: 'base', workload: { issuerName: '', subject: 'mayfly' } });
    expect(base?.reach).toBe(agent?.reach);
    expect(base?.issuanceId).not.toBe(agent?.issuanceId);
  });

  test('is used again while it lives long enough', async () => {
    const world = withBase();
    await world.exchange(by(1));
    await world.exchange(by(2));
    expect(world.cloud.minted.map(({ purpose }) => purpose)).toEqual(['base', 'agent', 'agent']);
  });

  test('is made anew when it would end before what is cut from it', async () => {
    const { template } = coreWorld();
    const task = { ...template.task, maxDurationSeconds: 7200, leaseSeconds: 7200 };
    const world = coreWorld({ minter: { base: true }, template: { task } });
    await world.exchange(by(1));
    world.clock.advance(3600 - 61);
    await world.exchange(by(2));
    expect(world.cloud.minted.filter(({ purpose }) => purpose === 'base')).toHaveLength(1);
    world.clock.advance(2);
    await world.exchange(by(3));
    expect(world.cloud.minted.filter(({ purpose }) => purpose === 'base')).toHaveLength(2);
  });

  test('is made once for many that need it at once', async () => {
    const world = withBase();
    await world.exchange(by(1, { tool: 'report.post', identifier: 'https://reports.example/2026q3' }));
    const answers = await Promise.all([2, 3, 4, 5].map((jti) => world.exchange(by(jti))));
    expect(answers.map(reasonOf)).toEqual(Array.from({ length: 4 }, () => 'delivered'));
    expect(world.cloud.minted.filter(({ purpose }) => purpose === 'base')).toHaveLength(1);
    expect(world.ports.baseFlights.size).toBe(0);
  });

  test('of one reach is not that of another task', async () => {
    const world = withBase();
    const task = { template: 'invoice-reconcile', ref: 'run-2', params: { quarter: '2026q3' } };
    await Promise.all([world.exchange(by(1)), world.exchange(by(2, { task }))]);
    const bases = world.cloud.minted.filter(({ purpose }) => purpose === 'base');
    expect(new Set(bases.map(({ reach }) => reach)).size).toBe(2);
  });

  test('is counted against no budget', async () => {
    const { template } = coreWorld();
    const grants = template.grants.map((grant) => ({ ...grant, budget: { exchanges: 1, perMinute: 1 } }));
    const world = coreWorld({ minter: { base: true }, template: { grants } });
    expect(reasonOf(await world.exchange(by(1)))).toBe('delivered');
  });
});

describe('a base session that fails', () => {
  const base = (world: ReturnType<typeof withBase>) =>
    [...world.store.rows.issuances.values()].find(({ record }) => record.purpose === 'base');

  test.each(['not-applied', 'applied', 'refused'] as const)(
    'in the cloud (%s) leaves both intents to the reaper, and the next tries anew',
    async (fault) => {
      const world = withBase();
      world.cloud.failNext(fault);
      expect(reasonOf(await world.exchange(by(1)))).toMatch(/^provider_/);
      const states = [...world.store.rows.work.values()].filter(({ kind }) => kind === 'issuance');
      expect(states.map(({ state }) => state)).toEqual(['intended', 'intended']);
      expect(reasonOf(await world.exchange(by(2)))).toBe('delivered');
      expect(world.ports.baseFlights.size).toBe(0);
    },
  );

  test('for one fails for those who waited for it, and all intents go to the reaper', async () => {
    const world = withBase();
    await world.exchange(by(1, { tool: 'report.post', identifier: 'https://reports.example/2026q3' }));
    world.cloud.failNext('hangs');
    const hanging = world.cloud.hanging;
    const answers = [world.exchange(by(2)), world.exchange(by(3))];
    await hanging;
    world.passMintDeadline();
    expect((await Promise.all(answers)).map(reasonOf)).toEqual([
      'provider_unavailable',
      'provider_unavailable',
    ]);
  });

  test('to be intended, because the task ended meanwhile, is not minted', async () => {
    const world = withBase();
    world.trace.beforeNext('ledger.intend', () => {
      world.trace.beforeNext('ledger.intend', () => {
        const cause = { state: 'cancelled', reason: 'enough', actor: 'sso/ada' } as const;
        return endTask(onlyTask(world).task.id, cause, world.ports);
      });
    });
    const answer = await world.exchange(by(1));
    expect(answer).toMatchObject({ error: { reason: 'not_delivered', detail: 'base session: refused' } });
    expect(world.cloud.minted).toEqual([]);
    expect(base(world)).toBeUndefined();
  });

  test('to be intended, because the policy moved meanwhile, is not minted', async () => {
    const world = withBase();
    world.trace.beforeNext('ledger.intend', () => {
      world.trace.beforeNext('ledger.intend', () => world.documents.publish({}));
    });
    expect(reasonOf(await world.exchange(by(1)))).toBe('not_delivered');
    expect(world.cloud.minted).toEqual([]);
    expect(base(world)).toBeUndefined();
  });

  test('to be delivered is not cut from', async () => {
    const world = withBase();
    world.trace.beforeNext('ledger.deliver', () => world.clock.advance(60));
    expect(reasonOf(await world.exchange(by(1)))).toBe('not_delivered');
    expect(world.cloud.minted.map(({ purpose }) => purpose)).toEqual(['base']);
  });

  test('to have its delivery confirmed leaves it to its expiry', async () => {
    const world = withBase();
    world.trace.failNext('ledger.deliver', lostAnswer(true));
    expect(reasonOf(await world.exchange(by(1)))).toBe('database_unavailable');
    const work = world.store.rows.work.get(base(world)?.record.id ?? '');
    expect(work?.state).toBe('delivered');
  });

  test('its own check is not intended', async () => {
    const world = withBase();
    const ports = { ...world.ports, checkBase: () => 'would escape' };
    const rest = {
      grantId: null,
      requestedTokenType: null,
      targets: [],
      idempotencyKey: null,
      requestId: 'r',
      actor: null,
      presented: nothingPresented,
    };
    const answer = await exchange({ ...by(1), ...rest }, ports);
    expect(answer).toMatchObject({ error: { reason: 'plan_check_failed' } });
    expect(world.cloud.minted).toEqual([]);
    expect(base(world)).toBeUndefined();
  });
});

test('the end of the task takes the base session back with the credentials cut from it', async () => {
  const world = withBase();
  await world.exchange(by(1));
  const { task } = onlyTask(world);
  const event = { id: world.newId(), type: 'task.ended', at: world.clock.now(), actor: 'x', body: {} };
  const audit = { ...event, taskId: task.id, issuanceId: null };
  await world.ports.tasks.end(task.id, { state: 'completed', reason: 'done', audit });
  expect(await world.reap()).toMatchObject({ claimed: 2, ended: 2 });
  for (const credential of world.cloud.minted)
    expect(world.cloud.accepts(credential, world.clock.now())).toBe(false);
});
