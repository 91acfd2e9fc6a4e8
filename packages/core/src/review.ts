import { lineageRefusal } from './cover.ts';
import { Fault } from './errors.ts';
import { lineageOf } from './find.ts';
import { endTask } from './lifecycle.ts';
import type { RevocationPorts } from './revocation.ts';
import { isClosed, type Task } from './task.ts';
import type { PolicySet } from './template.ts';

export interface ReviewBatch {
  readonly epoch: number;
  readonly tasks: readonly string[];
  readonly begun: boolean;
}

/** The look at open tasks after a change, as rows that any replica goes on with. */
export interface Reviews {
  /**
   * The next open tasks with `onChange: end` to be looked at, since what decides has changed; null when there are none.
   * `begun`: a pass over them was begun, and the next call goes on with it.
   */
  claimReview(options: { limit: number; leaseSeconds: number }): Promise<ReviewBatch | null>;
  /** Looked at up to this task; null: the pass is through. */
  settleReview(batch: { epoch: number; after: string | null }): Promise<void>;
}

const batchLimit = 100;
/** What another replica repeats after a crash ends nothing twice. */
const leaseSeconds = 10;

/**
 * Looks at the open tasks with `onChange: end` after a change of what decides, batch by batch, until the pass is through
 * or `stopped` says so; answers how many it ended. Its progress lives in a row: killed anywhere, another replica goes on.
 */
export async function reviewTasks(
  ports: RevocationPorts,
  stopped: () => boolean = () => false,
): Promise<number> {
  let ended = 0;
  while (!stopped()) {
    const batch = await ports.revocations.claimReview({ limit: batchLimit, leaseSeconds });
    if (batch === null) break;
    if (batch.begun) continue;
    ended += await reviewBatch(batch.tasks, ports);
    const after = batch.tasks.length < batchLimit ? null : (batch.tasks.at(-1) ?? null);
    await ports.revocations.settleReview({ epoch: batch.epoch, after });
  }
  return ended;
}

async function reviewBatch(tasks: readonly string[], ports: RevocationPorts): Promise<number> {
  // Where nothing is to be looked at, no connection of those for issuing is asked for.
  if (tasks.length === 0) return 0;
  const policy = await ports.policies.refresh();
  let ended = 0;
  for (const id of tasks) if (await reviewTask(id, policy, ports)) ended += 1;
  return ended;
}

/** True when it ended the task. */
async function reviewTask(id: string, policy: PolicySet, ports: RevocationPorts): Promise<boolean> {
  const found = await ports.tasks.find(id, { fresh: true });
  if (found === undefined || isClosed(found.status.state)) return false;
  const changed = await changeOf(found.task, policy, ports);
  if (changed === null) return false;
  await endTask(id, { state: 'cancelled', reason: `changed: ${changed}`, actor: 'mayfly' }, ports);
  return true;
}

/** What has changed for a task since it was opened; null: nothing. A version that cannot be proven is a change too. */
async function changeOf(task: Task, policy: PolicySet, ports: RevocationPorts): Promise<string | null> {
  const active = policy.templates.get(task.template);
  if (active !== undefined && active.version !== task.templateVersion) return 'template_version';
  try {
    const lineage = await lineageOf(task, ports);
    if (lineage.some(({ pinned }) => pinned === undefined)) return 'template_unproven';
    return lineageRefusal(policy, lineage, { identity: task.workload, actors: task.actors });
  } catch (error) {
    // Tampered with: it would hold up the pass for ever, and is given nothing at any exchange.
    if (!(error instanceof Fault) || error.reason !== 'internal') throw error;
    ports.report('a task could not be reviewed, and ends', { task: task.id, detail: String(error) });
    return 'template_unproven';
  }
}
