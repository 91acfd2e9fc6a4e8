import { auditEvent } from './audit-event.ts';
import { Fault } from './errors.ts';
import { endTask, endTasks, type LifecyclePorts, type WhyEnded } from './lifecycle.ts';
import type { AuditEvent } from './ports.ts';
import type { Reviews } from './review.ts';
import type { EventInbox } from './security-event.ts';

/** What a revocation names: one thing, or all that a workload, template, issuer or provider has at the time of asking. */
export interface RevocationScope {
  readonly by: 'task' | 'grant' | 'workload' | 'session' | 'template' | 'issuer' | 'provider';
  /** UUID of a task or grant, `ISSUERNAME/SUBJECT` of a workload or session, else the document's name. */
  readonly name: string;
}

export interface RevocationRequest extends RevocationScope {
  readonly id: string;
  /** Of a session: the tasks that were opened with assertions from before, or that do not say. */
  readonly attestedBefore?: Date;
  readonly reason: string;
  readonly requestedBy: string;
}

export interface RevocationStatus extends RevocationRequest {
  readonly requestedAt: Date;
  readonly doneAt: Date | null;
  /** Tasks, or grants for `grant` and `provider`: at the time of asking, and still to be ended. */
  readonly total: number;
  readonly remaining: number;
  /** Credentials whose end the cloud has not confirmed, and those that only expiry ends. */
  readonly pending: number;
  readonly byExpiry: number;
}

export interface RevocationBatch {
  readonly id: string;
  readonly reason: string;
  readonly requestedBy: string;
  readonly total: number;
  readonly targets: readonly { readonly kind: 'task' | 'grant'; readonly id: string }[];
}

/** Ends of many, as rows that any replica goes on with. What was opened after the request is not part of it. */
export interface Revocations extends Reviews, EventInbox {
  /** How many tasks or grants it would end now. */
  measure(scope: RevocationScope): Promise<number>;
  request(revocation: RevocationRequest, audit: AuditEvent): Promise<void>;
  find(id: string): Promise<RevocationStatus | undefined>;
  /** The next that is due, kept from other replicas for `leaseSeconds`; null when none is. */
  claim(options: { limit: number; leaseSeconds: number }): Promise<RevocationBatch | null>;
  /** After a batch. `audit` is appended when that was all, once. */
  settle(id: string, audit: AuditEvent): Promise<'more' | 'waiting' | 'done'>;
}

export interface RevocationPorts extends LifecyclePorts {
  readonly revocations: Revocations;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}

/** Small enough to be done well within the lease; what another replica repeats after a crash ends nothing twice. */
const batchLimit = 100;
const leaseSeconds = 10;
/** Ends at once: the connections kept for ending serve the reaper too. */
const parallelEnds = 4;

/**
 * Goes on with every revocation that is due, batch by batch, until none is or `stopped` says so; answers how many tasks
 * and grants it ended. State lives in rows only: killed anywhere, another replica claims the job after its lease.
 */
export async function advanceRevocations(
  ports: RevocationPorts,
  stopped: () => boolean = () => false,
): Promise<number> {
  let ended = 0;
  while (!stopped()) {
    const batch = await ports.revocations.claim({ limit: batchLimit, leaseSeconds });
    if (batch === null) break;
    const endedNow = await endBatch(batch, ports);
    ended += endedNow;
    // Nothing of it could be ended: the lease is its backoff.
    if (endedNow === 0 && batch.targets.length > 0) continue;
    const { id, requestedBy, total } = batch;
    const done = { type: 'revocation.done', actor: 'mayfly', body: { revocation: id, requestedBy, total } };
    await ports.revocations.settle(id, auditEvent({ newId: ports.newId, now: ports.now() }, done));
  }
  return ended;
}

async function endBatch(batch: RevocationBatch, ports: RevocationPorts): Promise<number> {
  const { targets, reason, requestedBy } = batch;
  const end = { state: 'cancelled', reason, actor: requestedBy } as const;
  const tasks = targets.flatMap(({ kind, id }) => (kind === 'task' ? [id] : []));
  if (tasks.length === 0 || tasks.length < targets.length) return endEach(batch, end, ports);
  try {
    await endTasks(tasks, end, ports);
    return tasks.length;
  } catch (error) {
    report({ batch, error }, ports);
    const isAway = error instanceof Fault && error.reason === 'database_unavailable';
    // What cannot be ended must not keep the others.
    return isAway ? 0 : endEach(batch, end, ports);
  }
}

async function endEach(batch: RevocationBatch, end: WhyEnded, ports: RevocationPorts): Promise<number> {
  const waiting = [...batch.targets];
  let ended = 0;
  const work = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      try {
        if (target.kind === 'task') await endTask(target.id, end, ports);
        else await endGrant(target.id, end, ports);
        ended += 1;
      } catch (error) {
        report({ batch, target, error }, ports);
      }
    }
  };
  await Promise.all(Array.from({ length: parallelEnds }, work));
  return ended;
}

type Target = RevocationBatch['targets'][number];

function report(
  { batch, target, error }: { batch: RevocationBatch; target?: Target; error: unknown },
  ports: RevocationPorts,
): void {
  ports.report('a revocation could not end this, and tries again', {
    revocation: batch.id,
    ...target,
    detail: String(error),
  });
}

/** Ends one grant of a task that lives on; durable when it answers. False when it had ended. */
export async function endGrant(
  grantId: string,
  { reason, actor }: { readonly reason: string; readonly actor: string },
  ports: LifecyclePorts,
): Promise<boolean> {
  const found = await ports.tasks.findByGrant(grantId);
  const audit = auditEvent(
    { newId: ports.newId, now: ports.now() },
    { type: 'grant.ended', actor, taskId: found?.task.id ?? null, body: { grant: grantId, reason } },
  );
  return ports.tasks.endGrant(grantId, { audit });
}
