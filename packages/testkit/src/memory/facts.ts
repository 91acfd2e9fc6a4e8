import type { Task, TaskFound, TaskStatus } from '@mayfly/core';
import type { MemoryRows } from './rows.ts';

/** What one replica remembers of tasks: the fixed facts and the last status that it saw, as the store does. */
export class MemoryFacts {
  readonly #found = new Map<string, TaskFound>();

  get(id: string): TaskFound | undefined {
    return this.#found.get(id);
  }

  byGrant(grantId: string): TaskFound | undefined {
    return [...this.#found.values()].find(({ task }) => task.grants.some(({ id }) => id === grantId));
  }

  put(found: TaskFound): TaskFound {
    this.#found.set(found.task.id, found);
    return found;
  }

  opened(task: Task): TaskFound {
    const leaseExpiresAt = new Date(task.openedAt.getTime() + task.leaseSeconds * 1000);
    const nothing = { stateReason: null, outcome: null, endedAt: null };
    return this.put({ task, status: { state: 'open', ...nothing, leaseExpiresAt, generations: {} } });
  }

  forget(id: string): void {
    this.#found.delete(id);
  }
}

/** The task and its status as the rows have them now. */
export function readTask(rows: MemoryRows, id: string): TaskFound | undefined {
  const row = rows.tasks.get(id);
  if (row === undefined) return undefined;
  const { task, state, stateReason, outcome, leaseUntil, endedAt } = row;
  const generations = Object.fromEntries(
    rows.grantsOf(id).map(({ grant, generation }) => [grant.id, generation]),
  );
  const status: TaskStatus = {
    state,
    stateReason,
    outcome,
    leaseExpiresAt: leaseUntil,
    endedAt,
    generations,
  };
  const grants = rows.grantsOf(id).map(({ grant }) => grant);
  return { task: { ...task, grants: grants.sort((left, right) => (left.id < right.id ? -1 : 1)) }, status };
}
