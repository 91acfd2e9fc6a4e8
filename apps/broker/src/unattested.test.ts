import { expect, test } from '@jest/globals';
import type { AuditEvent } from '@mayfly/core';
import { createUnattested } from './unattested.ts';

function setUp() {
  const appended: AuditEvent[] = [];
  const time = { ms: 5_000 };
  const unattested = createUnattested({
    ledger: { append: async (event) => void appended.push(event) },
    newId: () => crypto.randomUUID(),
    now: () => new Date(time.ms),
    rowsPerSecond: 3,
  });
  const refuse = (reason: string) =>
    unattested.append({
      id: reason,
      type: 'exchange.refused',
      at: new Date(time.ms),
      actor: null,
      taskId: null,
      issuanceId: null,
      body: { reason },
    });
  return { appended, time, unattested, refuse };
}

test('up to the rate each refusal is a row of its own, beyond it they are counted by reason into one', async () => {
  const { appended, time, refuse } = setUp();
  for (const reason of ['a', 'a', 'b', 'a', 'a', 'b']) await refuse(reason);
  expect(appended.map(({ type }) => type)).toEqual(Array(3).fill('exchange.refused'));
  time.ms += 1_000;
  await refuse('c');
  expect(appended.slice(3)).toMatchObject([
    { type: 'exchange.refused_aggregate', body: { reasons: { a: 2, b: 1 } } },
    { type: 'exchange.refused', body: { reason: 'c' } },
  ]);
});

test('what was counted is not lost when nothing more comes, and is written once', async () => {
  const { appended, unattested, refuse } = setUp();
  for (let one = 0; one < 5; one += 1) await refuse('a');
  await unattested.flush();
  await unattested.flush();
  expect(appended.slice(3)).toMatchObject([{ body: { reasons: { a: 2 } } }]);
});

test('counts that could not be written are kept for the next time', async () => {
  const counts: unknown[] = [];
  let fails = true;
  const unattested = createUnattested({
    ledger: {
      append: async ({ body }) => {
        if (fails) throw new Error('away');
        counts.push(body);
      },
    },
    newId: () => 'id',
    now: () => new Date(5_000),
    rowsPerSecond: 0,
  });
  const event = {
    id: 'x',
    type: 'exchange.refused',
    at: new Date(),
    actor: null,
    taskId: null,
    issuanceId: null,
  };
  await unattested.append({ ...event, body: { reason: 'a' } }).catch(() => undefined);
  await unattested.append({ ...event, body: { reason: 'a' } });
  await expect(unattested.flush()).rejects.toThrow('away');
  fails = false;
  await unattested.flush();
  expect(counts).toEqual([{ reasons: { a: 2 } }]);
});
