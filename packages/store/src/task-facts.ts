import type { Task, TaskFound, TaskStatus } from '@mayfly/core';

/** Tasks remembered: 2 kB each, so about 20 MB; the oldest use goes first. */
const tasksMax = 10_000;

/** What never changes of a task, and the last status seen. State, budget and generation are always checked again in SQL. */
export class TaskFacts {
  readonly #found = new Map<string, TaskFound>();
  readonly #byGrant = new Map<string, string>();

  get(id: string): TaskFound | undefined {
    const found = this.#found.get(id);
    if (found !== undefined) {
      this.#found.delete(id);
      this.#found.set(id, found);
    }
    return found;
  }

  byGrant(grantId: string): TaskFound | undefined {
    const id = this.#byGrant.get(grantId);
    return id === undefined ? undefined : this.get(id);
  }

  put(found: TaskFound): TaskFound {
    this.#found.delete(found.task.id);
    this.#found.set(found.task.id, found);
    for (const { id } of found.task.grants) this.#byGrant.set(id, found.task.id);
    if (this.#found.size > tasksMax) this.#forgetOldest();
    return found;
  }

  /** A task that this process has just opened, as the database now holds it. */
  opened(task: Task): TaskFound {
    const leaseExpiresAt = new Date(task.openedAt.getTime() + task.leaseSeconds * 1000);
    const status: TaskStatus = {
      state: 'open',
      stateReason: null,
      outcome: null,
      leaseExpiresAt,
      endedAt: null,
      generations: {},
    };
    return this.put({ task, status });
  }

  /** After a change of state: the next use reads again. */
  forget(id: string): void {
    const found = this.#found.get(id);
    this.#found.delete(id);
    for (const grant of found?.task.grants ?? []) this.#byGrant.delete(grant.id);
  }

  #forgetOldest(): void {
    const [oldest] = this.#found.keys();
    if (oldest !== undefined) this.forget(oldest);
  }
}
