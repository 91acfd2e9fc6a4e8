import { isClosed } from '@mayfly/core';
import type { TaskRow } from '@mayfly/testkit';
import type { Evidence } from './evidence.ts';

/** Of I4 what holds for tasks, and their limits (I8): looked at after each step that changed something. */
export class TaskOracle {
  readonly #evidence: Evidence;
  /** As they were at the step before. */
  readonly #before = new Map<string, TaskRow>();
  readonly #opens = new Map<string, number>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /** No task goes on beneath one that does not; nobody has more tasks than allowed. */
  onStep(): void {
    const { rows, violated } = this.#evidence;
    const open = new Map<string, number>();
    const children = new Map<string, number>();
    for (const row of rows.tasks.values()) {
      this.#checkChange(row);
      const { task, state, countedAs, leaseUntil } = row;
      const above = task.parentId === null ? undefined : rows.tasks.get(task.parentId);
      if (above !== undefined && isClosed(above.state) && !isClosed(state))
        violated(`I4: task ${task.id} is ${state} beneath one that has ended`);
      // One whose lease is lost already gives nothing, and stays as it is until the reaper comes.
      if (above?.state === 'suspended' && state === 'open' && leaseUntil > rows.now())
        violated(`I4: task ${task.id} is open beneath a suspended one`);
      if (task.parentId !== null) children.set(task.parentId, (children.get(task.parentId) ?? 0) + 1);
      if (task.parentId === null && !isClosed(state)) open.set(countedAs, (open.get(countedAs) ?? 0) + 1);
    }
    const { task: limits } = this.#evidence.policy().templates.get('work') ?? {};
    for (const [owner, count] of open)
      if (count > (limits?.maxOpen ?? Infinity)) violated(`I8: ${count} open tasks of ${owner}`);
    for (const [id, count] of children)
      if (count > (limits?.children?.max ?? Infinity)) violated(`I8: ${count} children of ${id}`);
  }

  /** A lost lease stays lost, what has ended stays ended, and nobody opens more in an hour than allowed. */
  #checkChange(row: TaskRow): void {
    const before = this.#before.get(row.task.id);
    if (before === row) return;
    this.#before.set(row.task.id, row);
    if (before === undefined) this.#countOpening(row);
    else this.#compare(before, row);
  }

  #countOpening({ countedAs, task: { template } }: TaskRow): void {
    const { rows, violated } = this.#evidence;
    const key = `${countedAs} ${template} ${Math.floor(rows.now().getTime() / 3_600_000)}`;
    const opens = (this.#opens.get(key) ?? 0) + 1;
    this.#opens.set(key, opens);
    const most = this.#evidence.policy().templates.get(template)?.task.opensPerHour ?? Infinity;
    if (opens > most) violated(`I8: ${opens} of ${most} tasks opened in one hour`);
  }

  #compare(before: TaskRow, { task: { id }, state, leaseUntil }: TaskRow): void {
    const { rows, violated } = this.#evidence;
    const lapsed = before.state === 'open' && before.leaseUntil <= rows.now();
    if (lapsed && leaseUntil > before.leaseUntil) violated(`I4: the lost lease of task ${id} came back`);
    if (isClosed(before.state) && state !== before.state) violated(`I4: task ${id} has reopened`);
    if (state === 'abandoned' && !lapsed) violated(`I4: task ${id} was abandoned within its lease`);
  }

  /** I5: everything has been up for longer than any backoff: what was over before that has ended. */
  onCalm(since: Date): void {
    const { rows, violated } = this.#evidence;
    for (const { task, state, leaseUntil } of rows.tasks.values())
      if (!isClosed(state) && (task.expiresAt < since || (state === 'open' && leaseUntil < since)))
        violated(`I5: task ${task.id} is ${state} though its time is over`);
  }
}
