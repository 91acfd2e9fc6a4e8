import type {
  DenyAt,
  DenyDue,
  DenyEntry,
  DenyStore,
  DenyUnproven,
  DenyUntold,
  DenyWidened,
  DenyWrite,
} from '@mayfly/core';
import { uuidTime } from '@mayfly/protocol';
import type { DenyDocumentRow, DenyEntryRow, MemoryRows } from './rows.ts';

/** Kept longer than any session can live, for the clocks and caches of the cloud. */
const keptSeconds = 300;
/** A document that nobody can shrink (its provider is gone) is looked at no longer than this. */
const watchedSeconds = 86_400;

/** Deny documents, as `deny_request`, `deny_acknowledge` and `deny_reopen`. */
export function createMemoryDenyStore(rows: MemoryRows): DenyStore {
  return {
    request: async (at, add, leaseSeconds) =>
      rows.atomically(() => requestWrite(rows, at, { add, leaseSeconds })),
    acknowledge: async (at, version, widened = null) => {
      const row = rows.denyDocuments.get(documentKey(at));
      if (row?.version !== version) return false;
      const same = JSON.stringify(widened) === JSON.stringify(row.widened);
      const told = widened === null || (same && row.told);
      const acked = { ackedVersion: version, readAt: rows.now(), writerUntil: null, widened, told };
      rows.denyDocuments.set(documentKey(at), { ...row, ...acked });
      for (const entry of entriesOf(rows, at))
        setEntry(rows, { ...entry, acknowledgedAt: entry.acknowledgedAt ?? rows.now() });
      return true;
    },
    release: async (at, version) => {
      const row = rows.denyDocuments.get(documentKey(at));
      if (row?.version === version) rows.denyDocuments.set(documentKey(at), { ...row, writerUntil: null });
    },
    due: async (olderThanSeconds) =>
      [...rows.denyDocuments.values()].flatMap((row) => dueOf(rows, row, olderThanSeconds)),
    observed: async (at, { intact, audit }) =>
      rows.atomically(() => {
        const row = rows.denyDocuments.get(documentKey(at));
        if (row === undefined) return;
        rows.denyDocuments.set(documentKey(at), {
          ...row,
          readAt: rows.now(),
          ...(intact ? {} : { ackedVersion: 0 }),
        });
        if (intact) return;
        reopen(rows, at);
        if (audit !== null) rows.append(audit);
      }),
    untold: async () => [...rows.denyDocuments.values()].flatMap((row) => untoldOf(rows, row)),
    told: async (at, version, audit) =>
      rows.atomically(() => {
        const row = rows.denyDocuments.get(documentKey(at));
        if (row === undefined || row.version !== version || row.told) return;
        rows.denyDocuments.set(documentKey(at), { ...row, told: true });
        rows.append(audit);
      }),
    unproven: async (sourceIdentities, limit) => unprovenOf(rows, sourceIdentities).slice(0, limit),
    proven: async (entry, audit) =>
      rows.atomically(() => {
        const row = rows.denyEntries.get(entryKey(entry));
        const { acknowledgedAt } = entry;
        if (row?.acknowledgedAt?.getTime() !== acknowledgedAt.getTime() || row.effectiveAt !== null)
          return false;
        setEntry(rows, { ...row, effectiveAt: rows.now() });
        rows.append(audit);
        return true;
      }),
  };
}

function unprovenOf(rows: MemoryRows, sourceIdentities: readonly string[]): DenyUnproven[] {
  return [...rows.denyEntries.values()]
    .flatMap(({ neededUntil, acknowledgedAt, effectiveAt, ...entry }) =>
      acknowledgedAt === null ||
      effectiveAt !== null ||
      neededUntil <= rows.now() ||
      !sourceIdentities.includes(entry.sourceIdentity)
        ? []
        : [{ ...entry, acknowledgedAt }],
    )
    .sort((left, right) => left.acknowledgedAt.getTime() - right.acknowledgedAt.getTime());
}

function documentKey({ provider, role }: DenyAt): string {
  return `${provider}\n${role}`;
}

function entryKey({ sourceIdentity, ...at }: DenyAt & { readonly sourceIdentity: string }): string {
  return `${documentKey(at)}\n${sourceIdentity}`;
}

function setEntry(rows: MemoryRows, entry: DenyEntryRow): void {
  rows.denyEntries.set(entryKey(entry), entry);
}

function requestWrite(
  rows: MemoryRows,
  at: DenyAt,
  { add, leaseSeconds }: { add: readonly DenyEntry[]; leaseSeconds: number },
): DenyWrite | null {
  const nothing = {
    ...{ version: 0, ackedVersion: 0, writerUntil: null, readAt: null },
    ...{ widened: null, told: true },
  };
  const row = rows.denyDocuments.get(documentKey(at)) ?? { ...at, ...nothing };
  if (row.writerUntil !== null && row.writerUntil > rows.now()) return null;
  for (const { sourceIdentity, taskId, neededUntil } of add) {
    const known = rows.denyEntries.get(entryKey({ ...at, sourceIdentity }));
    const fresh = {
      ...{ ...at, sourceIdentity, taskId, neededUntil },
      ...{ acknowledgedAt: null, effectiveAt: null },
    };
    const until = known !== undefined && known.neededUntil > neededUntil ? known.neededUntil : neededUntil;
    setEntry(rows, { ...(known ?? fresh), neededUntil: until });
  }
  for (const entry of entriesOf(rows, at))
    if (entry.neededUntil < rows.inSeconds(-keptSeconds)) rows.denyEntries.delete(entryKey(entry));
  const version = row.version + 1;
  rows.denyDocuments.set(documentKey(at), { ...row, version, writerUntil: rows.inSeconds(leaseSeconds) });
  return { version, entries: entriesOf(rows, at).map(({ sourceIdentity }) => sourceIdentity) };
}

function entriesOf(rows: MemoryRows, at: DenyAt) {
  return [...rows.denyEntries.values()]
    .filter((entry) => documentKey(entry) === documentKey(at))
    .sort((left, right) => (left.sourceIdentity < right.sourceIdentity ? -1 : 1));
}

function dueOf(rows: MemoryRows, row: DenyDocumentRow, olderThanSeconds: number): DenyDue[] {
  const { role, provider, version, ackedVersion, readAt, writerUntil, widened } = row;
  const entries = entriesOf(rows, row);
  if (entries.length === 0) return [];
  if (readAt !== null && readAt >= rows.inSeconds(-olderThanSeconds)) return [];
  if (writerUntil !== null && writerUntil >= rows.now()) return [];
  const shrinks = entries.some(({ neededUntil }) => neededUntil < rows.inSeconds(-keptSeconds));
  if (entries.every(({ neededUntil }) => neededUntil <= rows.inSeconds(-watchedSeconds))) return [];
  const names = entries.map((entry) => entry.sourceIdentity);
  const acknowledged = ackedVersion === version;
  return [{ role, provider, version, entries: names, shrinks, acknowledged, widened }];
}

function untoldOf(rows: MemoryRows, row: DenyDocumentRow): DenyUntold[] {
  const { role, provider, version, ackedVersion, widened, told } = row;
  if (widened === null || told || ackedVersion !== version) return [];
  const denied = new Set(entriesOf(rows, row).map(({ sourceIdentity }) => sourceIdentity));
  const hit = new Set<string>();
  for (const [id, { state }] of rows.work) {
    const issuance = rows.issuances.get(id);
    if (issuance?.plan === undefined || issuance.plan === null) continue;
    const { plan, record } = issuance;
    const live =
      (state === 'delivered' || state === 'intended') && (record.notAfter ?? rows.now()) > rows.now();
    if (
      live &&
      plan.provider === provider &&
      plan.body['role'] === role &&
      !denied.has(plan.reach) &&
      hits(widened, plan.reach, uuidTime(id))
    )
      hit.add(plan.reach);
  }
  return [{ provider, role, version, entries: denied.size, widened, innocents: hit.size }];
}

function hits(widened: DenyWidened, reach: string, issuedAt: Date): boolean {
  switch (widened.step) {
    case 'cohort':
      return widened.prefixes.some((prefix) => reach.startsWith(prefix));
    case 'issued-before':
      return issuedAt < new Date(widened.issuedBefore);
    case 'everything':
      return true;
    default:
      return widened satisfies never;
  }
}

/** Everything that the document should have denied and that can still live goes back to revoking. */
function reopen(rows: MemoryRows, at: DenyAt): void {
  const now = rows.now();
  for (const entry of entriesOf(rows, at))
    setEntry(rows, { ...entry, acknowledgedAt: null, effectiveAt: null });
  const denied = new Set(entriesOf(rows, at).map(({ sourceIdentity }) => sourceIdentity));
  for (const [id, { record, decision, plan }] of rows.issuances) {
    const { taskId, notAfter } = record;
    if (plan === null || decision !== 'allow') continue;
    if (plan.provider !== at.provider || !denied.has(plan.reach)) continue;
    if (notAfter === null || notAfter <= now || rows.work.has(id) || rows.endsOf(id).length === 0) continue;
    const facts = { id, kind: 'issuance', taskId, notAfter, reach: plan.reach } as const;
    rows.work.set(id, { ...facts, state: 'revoking', dueAt: now, requestedAt: now, attempts: 0 });
  }
}
