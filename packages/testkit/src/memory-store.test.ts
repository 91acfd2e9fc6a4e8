import { seededIds, TestClock } from './clock.ts';
import type { StoreUnderTest } from './contracts.ts';
import { describeStore } from './contracts.ts';
import type { MemoryRows, WorkRow } from './memory/rows.ts';
import { createMemoryStore } from './memory-store.ts';

describeStore('the store in memory', async () => {
  const clock = new TestClock();
  const store = createMemoryStore({ now: () => clock.now() });
  const hooks = { ...moveTime(store.rows), ...look(store.rows) };
  return { store: { ...store, ...hooks, newId: seededIds(clock) }, close: async () => undefined };
});

type Hooks = Omit<
  StoreUnderTest,
  'newId' | 'replica' | 'ledger' | 'tasks' | 'queue' | 'revocations' | 'deny'
>;

function moveTime(rows: MemoryRows) {
  const change = (id: string, part: Partial<WorkRow>) => {
    const work = rows.work.get(id);
    if (work !== undefined) rows.work.set(id, { ...work, ...part });
  };
  return {
    now: async () => rows.now(),
    epoch: async () => rows.epoch,
    raiseEpoch: async () => {
      rows.epoch += 1;
    },
    freeze: async (reason, on = { scope: 'all', name: '' }) => {
      rows.freezes = reason === null ? [] : [{ ...on, reason }];
      rows.epoch += 1;
    },
    revocationDue: async (id) => {
      const row = rows.revocations.get(id);
      if (row !== undefined) rows.revocations.set(id, { ...row, dueAt: rows.now() });
    },
    makeDue: async (id) => change(id, { dueAt: rows.now() }),
    nothingDue: async () => {
      for (const id of rows.work.keys()) change(id, { dueAt: rows.inSeconds(3600) });
    },
    passNotAfter: async (id, seconds) => change(id, { notAfter: rows.inSeconds(-seconds) }),
    leaveLease: async (id, seconds) => {
      const row = rows.tasks.get(id);
      const at = rows.inSeconds(seconds);
      if (row === undefined) return;
      rows.tasks.set(id, { ...row, ...(row.onLapse === 'note' ? { silentAt: at } : { leaseUntil: at }) });
    },
    passExpiry: async (id) => {
      const row = rows.tasks.get(id);
      if (row !== undefined)
        rows.tasks.set(id, { ...row, task: { ...row.task, expiresAt: rows.inSeconds(-1) } });
    },
    nextWindow: async () => rows.counters.clear(),
    sightingsAgo: async (id, seconds) => {
      for (const [key, row] of rows.sightings)
        if (row.taskId === id) rows.sightings.set(key, { ...row, at: rows.inSeconds(-seconds) });
    },
    reviewDue: async () => {
      rows.review = { ...rows.review, dueAt: null };
    },
    passQuarantine: async (template) => {
      for (const key of rows.quarantines.keys())
        if (JSON.parse(key)[0] === template) rows.quarantines.set(key, rows.inSeconds(-1));
    },
    passWriterLease: async (role) => {
      for (const [key, row] of rows.denyDocuments)
        if (row.role === role) rows.denyDocuments.set(key, { ...row, writerUntil: rows.inSeconds(-1) });
    },
    neededUntil: async (role, seconds) => {
      for (const [key, entry] of rows.denyEntries)
        if (entry.role === role)
          rows.denyEntries.set(key, { ...entry, neededUntil: rows.inSeconds(seconds) });
    },
    readAgo: async (role, seconds) => {
      for (const [key, row] of rows.denyDocuments)
        if (row.role === role) rows.denyDocuments.set(key, { ...row, readAt: rows.inSeconds(-seconds) });
    },
  } satisfies Partial<Hooks>;
}

function look(rows: MemoryRows) {
  return {
    events: async (taskId) => rows.audit.filter((row) => row.taskId === taskId).map(({ type }) => type),
    bodies: async (type, taskId) =>
      rows.audit.filter((row) => row.taskId === taskId && row.type === type).map(({ body }) => body),
    work: async (id) => {
      const row = rows.work.get(id);
      if (row === undefined) return undefined;
      const dueInSeconds = (row.dueAt.getTime() - rows.now().getTime()) / 1000;
      return { state: row.state, dueInSeconds, attempts: row.attempts };
    },
    endsOf: async (id) => rows.endsOf(id).map(({ method }) => method),
    hasIssuance: async (id) => rows.issuances.has(id),
  } satisfies Partial<Hooks>;
}
