import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass } from '@mayfly/broker';
import { endTask } from '@mayfly/core';
import { parseId } from '@mayfly/protocol';
import { form, opening, startWorld, until, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h', databaseConnections: 3 } });
}, 60_000);

afterAll(() => world.stop());

async function opened(ref: string): Promise<{ token: string; task: string; issuance: string }> {
  const { body } = await world.exchange(form(await world.workload(), opening(ref)));
  return { token: body.task_token, task: body.issuance.task, issuance: body.issuance.id };
}

const figures = async (): Promise<Readonly<Record<string, number>>> => {
  const text = await (await fetch(`${world.running.opsUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => /^mayfly_(ends|reaper)/.test(line));
  return Object.fromEntries(
    lines.map((line) => line.split(' ')).map(([name, value]) => [name, Number(value)]),
  );
};

test('when issuing has taken every connection, ending goes on (invariant I14)', async () => {
  const { task, issuance } = await opened('saturated');
  const { pool } = world.running.broker.store.database;
  const taken = await Promise.all([1, 2, 3].map(() => pool.connect()));
  try {
    expect([pool.totalCount, pool.idleCount]).toEqual([3, 0]);
    const { lifecycle } = world.running.broker;
    await endTask(
      parseId('tsk', task) ?? '',
      { state: 'cancelled', reason: 'test', actor: 'test' },
      lifecycle,
    );
    await reaperPass(world.running.broker);
  } finally {
    for (const client of taken) client.release();
  }
  const row = await world.api('GET', `/v1/issuances/${issuance}`, { bearer: await world.person() });
  expect(row.body).toMatchObject({ state: 'ended', endedBy: 'denied' });
});

test('what the reaper has before it is told by lane, with the age of the oldest end', async () => {
  const { token, task } = await opened('figures');
  const refused = { mode: 'refuse', times: Infinity, status: 403, code: 'AccessDenied' } as const;
  world.clouds.aws.faults.arm({ action: 'PutRolePolicy', ...refused });
  await world.api('POST', `/v1/tasks/${task}/end`, { bearer: token });
  const stuck = await until(figures, ({ mayfly_ends_unconfirmed: count }) => count === 2);
  expect(stuck).toMatchObject({ mayfly_ends_unconfirmed: 2, 'mayfly_reaper_due{lane="tasks"}': 0 });
  expect(stuck['mayfly_ends_oldest_unconfirmed_seconds']).toBeGreaterThan(0);
  const due = await until(
    async () => {
      await world.sql('update work set due_at = now() where requested_at is not null');
      return figures();
    },
    ({ 'mayfly_reaper_due{lane="local-aws"}': count }) => count === 2,
  );
  expect(due).toMatchObject({ 'mayfly_reaper_due{lane="local-aws"}': 2 });
  const asEndingBy = (method: string) =>
    world.sql(`update work set ends_by = $1 where requested_at is not null`, [method]);
  await asEndingBy('expired');
  expect(await figures()).toMatchObject({
    mayfly_ends_unconfirmed: 0,
    mayfly_ends_oldest_unconfirmed_seconds: 0,
    mayfly_ends_irrevocable: 2,
  });
  await asEndingBy('denied');
  world.clouds.aws.faults.clear();
  // The try that the end itself woke may still be in flight, and holds what it has claimed.
  const done = await until(
    async () => {
      await reaperPass(world.running.broker);
      return figures();
    },
    ({ mayfly_ends_unconfirmed: count }) => count === 0,
  );
  expect(done).toMatchObject({
    mayfly_ends_unconfirmed: 0,
    mayfly_ends_oldest_unconfirmed_seconds: 0,
    mayfly_reaper_providers_away: 0,
  });
});
