import type { Task } from '@mayfly/core';
import type { MemoryRows } from './rows.ts';

export function quarantineKey({ template, workload }: Task): string {
  return JSON.stringify([template, workload.issuerName, workload.subject]);
}

/** `is_quarantined`: it, or a task above. */
export function isQuarantined(rows: MemoryRows, task: Task): boolean {
  const until = rows.quarantines.get(quarantineKey(task));
  if (until !== undefined && until > rows.now()) return true;
  const parent = task.parentId === null ? undefined : rows.tasks.get(task.parentId)?.task;
  return parent !== undefined && isQuarantined(rows, parent);
}
