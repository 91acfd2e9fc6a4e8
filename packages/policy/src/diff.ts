import type { ParsedDocument } from './parse.ts';

/** A document in force. */
export interface ActiveDocument {
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  readonly set: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Change {
  readonly action: 'create' | 'update' | 'delete' | 'none';
  readonly kind: string;
  readonly name: string;
  /** Versions; null where there is none. */
  readonly from: number | null;
  readonly to: number | null;
  /** Changed places, `spec.grants[0].ttl.max`. */
  readonly paths: readonly string[];
}

/** What applying these documents as this set would do. `prune` deletes what the set no longer holds. Pure. */
export function diffDocuments(
  active: readonly ActiveDocument[],
  next: readonly Pick<ParsedDocument, 'kind' | 'name' | 'document'>[],
  { set, prune }: { set: string; prune: boolean },
): readonly Change[] {
  const changes: Change[] = next.map(({ kind, name, document }) => {
    const before = active.find((one) => one.kind === kind && one.name === name);
    if (before === undefined) return { action: 'create', kind, name, from: null, to: 1, paths: [] };
    const paths = changedPaths(before.body, document);
    const action = paths.length === 0 && before.set === set ? 'none' : 'update';
    return {
      action,
      kind,
      name,
      from: before.version,
      to: before.version + (paths.length > 0 ? 1 : 0),
      paths,
    };
  });
  if (!prune) return changes;
  const kept = new Set(next.map(({ kind, name }) => `${kind}\n${name}`));
  const gone = active.filter((one) => one.set === set && !kept.has(`${one.kind}\n${one.name}`));
  return [
    ...changes,
    ...gone.map(({ kind, name, version }) => ({
      action: 'delete' as const,
      kind,
      name,
      from: version,
      to: null,
      paths: [],
    })),
  ];
}

export interface SetConflict {
  readonly reason: 'set_conflict' | 'bundle_read_only';
  readonly kind: string;
  readonly name: string;
  /** The set that holds the document now. */
  readonly set: string;
}

/** The set that only files change. */
const bundleSet = 'bundle';

/** Documents of other sets that these changes touch: refused unless taken over, those of the bundle always. */
export function setConflicts(
  changes: readonly Change[],
  active: readonly ActiveDocument[],
  { set, takeOver }: { set: string; takeOver: boolean },
): readonly SetConflict[] {
  return changes.flatMap(({ kind, name, action }): SetConflict[] => {
    const before = active.find((one) => one.kind === kind && one.name === name);
    if (before === undefined || before.set === set || action === 'none') return [];
    if (before.set === bundleSet) return [{ reason: 'bundle_read_only', kind, name, set: before.set }];
    return takeOver ? [] : [{ reason: 'set_conflict', kind, name, set: before.set }];
  });
}

/** Places where two JSON values differ, in reading order. */
export function changedPaths(before: unknown, after: unknown, base = ''): readonly string[] {
  if (before === after || (before === undefined && after === undefined)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    const length = Math.max(before.length, after.length);
    return Array.from({ length }, (_, index) =>
      changedPaths(before[index], after[index], `${base}[${index}]`),
    ).flat();
  }
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => changedPaths(before[key], after[key], base === '' ? key : `${base}.${key}`));
  }
  return [base];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
