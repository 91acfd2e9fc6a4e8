import {
  type Attested,
  isClosed,
  type SubjectCut,
  type SubjectId,
  type Task,
  workloadName,
} from '@mayfly/core';
import type { CutRow, MemoryRows, TaskRow } from './rows.ts';

type Named = Pick<SubjectId, 'issuerName' | 'subject'>;

const isSame = (one: Named, other: Named) =>
  one.issuerName === other.issuerName && one.subject === other.subject;

/** Its workload and whoever acts for it. */
const partiesOf = ({ workload, actors }: Task): readonly Named[] => [workload, ...actors];

/** `is_cut`. */
export function isCut(rows: MemoryRows, attested: readonly Attested[]): boolean {
  return attested.some((one) => {
    const cut = inForce(rows, one);
    return cut !== undefined && (one.issuedAt === undefined || one.issuedAt <= cut.before);
  });
}

/** `is_task_cut`: it, or one above it. */
export function isTaskCut(rows: MemoryRows, id: string | null): boolean {
  const row = id === null ? undefined : rows.tasks.get(id);
  if (row === undefined) return false;
  const { attestedAt: at } = row;
  const own = partiesOf(row.task).some((party) => {
    const before = inForce(rows, party)?.tasksBefore ?? null;
    return before !== null && (at === null || at <= before);
  });
  return row.isCut === true || own || isTaskCut(rows, row.task.parentId);
}

function inForce(rows: MemoryRows, party: Named): CutRow | undefined {
  const cut = rows.cuts.get(workloadName(party));
  return cut !== undefined && cut.until > rows.now() ? cut : undefined;
}

/** A later event moves it further, never back. */
export function cutOff(rows: MemoryRows, { withTasks, ...cut }: SubjectCut): void {
  const name = workloadName(cut);
  const known = rows.cuts.get(name);
  const [before, until] = [latest(cut.before, known?.before), latest(cut.until, known?.until)];
  const earlier = known?.tasksBefore ?? null;
  const tasksBefore = withTasks ? latest(cut.before, earlier ?? undefined) : earlier;
  rows.cuts.set(name, { ...cut, before, until, tasksBefore });
}

function latest(one: Date, other: Date | undefined): Date {
  return other !== undefined && other > one ? other : one;
}

/** `attested_at`. */
export function attestedAt(rows: MemoryRows, task: Task, attested: readonly Attested[]): Date | null {
  const own = attested.filter((one) => partiesOf(task).some((party) => isSame(party, one)));
  if (own.length > 0) {
    const times = own.flatMap(({ issuedAt }) => (issuedAt === undefined ? [] : [issuedAt.getTime()]));
    return times.length < own.length ? null : new Date(Math.min(...times));
  }
  if (task.parentId === null) return task.openedAt;
  return rows.tasks.get(task.parentId)?.attestedAt ?? null;
}

/** `tasks_of`. */
export function tasksOf(rows: MemoryRows, subject: Named): readonly TaskRow[] {
  const live = [...rows.tasks.values()].filter(({ state }) => !isClosed(state));
  const found = live.filter(({ task }) => partiesOf(task).some((party) => isSame(party, subject)));
  return found.sort((one, other) => (one.task.id < other.task.id ? -1 : 1));
}
