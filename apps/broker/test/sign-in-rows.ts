import type { SignInRow, SignInRows } from '@mayfly/store';

/** For tests only: rows of sign-in in memory, which keep what the store promises: once is once. */
export interface MemoryRows {
  readonly all: SignInRows;
  readonly rows: ReadonlyMap<string, SignInRow>;
  /** Types of the audit rows. */
  readonly logged: readonly string[];
}

type Kept = SignInRow & { consumedAt: Date | null };

export const consumedAt = new Date(1_000_000);

export function memoryRows(): MemoryRows {
  const rows = new Map<string, Kept>();
  const logged: string[] = [];
  const key = (model: string, id: string) => `${model} ${id}`;
  const shown = (row: Kept | undefined) =>
    row === undefined ? undefined : { payload: { ...row.payload }, consumedAt: row.consumedAt };
  const keep = (row: SignInRow) => void rows.set(key(row.model, row.id), { ...row, consumedAt: null });
  const dropWhere = (test: (row: Kept) => boolean) => {
    for (const [id, row] of rows) if (test(row)) rows.delete(id);
  };
  const all: SignInRows = {
    put: async (row, audit) => {
      keep(row);
      if (audit !== undefined) logged.push(audit.type);
    },
    putOnce: async (row) => {
      if (rows.has(key(row.model, row.id))) return false;
      keep(row);
      return true;
    },
    find: async (model, id) => shown(rows.get(key(model, id))),
    findBy: async (kind, model, value) =>
      shown(
        [...rows.values()].find(
          (row) => row.model === model && (kind === 'uid' ? row.uid : row.userCode) === value,
        ),
      ),
    consume: async (model, id) => {
      const row = rows.get(key(model, id));
      if (row === undefined || row.consumedAt !== null) return false;
      row.consumedAt = consumedAt;
      return true;
    },
    destroy: async (model, id) => void rows.delete(key(model, id)),
    revokeGrant: async (model, grantId) => dropWhere((row) => row.model === model && row.grantId === grantId),
    destroyGrant: async (grantId) => dropWhere((row) => row.grantId === grantId || row.id === grantId),
    poll: async () => true,
    signedIn: async () => undefined,
    end: async () => false,
  };
  return { all, rows, logged };
}
