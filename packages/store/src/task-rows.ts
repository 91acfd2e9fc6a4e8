import type { Confirmation, Grant, Identity, Task, TaskFound, TaskState, TaskStatus } from '@mayfly/core';
import { type Action, actions } from '@mayfly/protocol';
import { z } from 'zod';
import type { TaskGrant as GrantRow, Task as TaskRow } from './generated/client.ts';

const claims = z.record(z.string(), z.union([z.string(), z.array(z.string())]));
const actors = z.array(
  z.strictObject({
    issuer: z.string(),
    issuerName: z.string(),
    subject: z.string(),
    claims,
    named: z.boolean(),
  }),
);
const opener = z.strictObject({ issuer: z.string(), issuerName: z.string(), subject: z.string() });
const confirmation = z.strictObject({ jkt: z.string().optional(), x5tS256: z.string().optional() }).transform(
  ({ jkt, x5tS256 }): Confirmation => ({
    ...(jkt === undefined ? {} : { jkt }),
    ...(x5tS256 === undefined ? {} : { x5tS256 }),
  }),
);
const params = z.record(z.string(), z.string());
const mint = z.record(z.string(), z.unknown());
const action = z.enum(actions);

/** A row with its grants as the core's words. What does not parse was not written by us, and throws. */
export function taskFromRow(row: TaskRow & { grants: GrantRow[] }): TaskFound {
  const workload: Identity = {
    issuer: row.workloadIss,
    issuerName: row.workloadIssuer,
    subject: row.workloadSubject,
    claims: claims.parse(row.claims),
  };
  const task: Task = {
    id: row.id,
    template: row.template,
    templateVersion: row.templateVersion,
    ref: row.ref,
    params: params.parse(row.params),
    objective: row.objective,
    workload,
    owner: row.owner,
    opener: row.opener === null ? null : opener.parse(row.opener),
    actors: actors.parse(row.actors),
    confirmation: row.confirmation === null ? null : confirmation.parse(row.confirmation),
    parentId: row.parentId,
    depthLeft: row.depthLeft,
    openedAt: row.openedAt,
    expiresAt: row.expiresAt,
    leaseSeconds: row.leaseSeconds,
    grants: row.grants.map(grantFromRow).sort((left, right) => (left.id < right.id ? -1 : 1)),
  };
  return { task, status: statusFromRow(row) };
}

function statusFromRow(row: TaskRow & { grants: GrantRow[] }): TaskStatus {
  return {
    state: row.state as TaskState, // The column's check constraint is the list.
    stateReason: row.stateReason,
    outcome: row.outcome,
    leaseExpiresAt: row.leaseUntil,
    endedAt: row.endedAt,
    generations: Object.fromEntries(row.grants.map(({ id, generation }) => [id, generation])),
  };
}

function grantFromRow(row: GrantRow): Grant {
  return {
    id: row.id,
    taskId: row.taskId,
    name: row.name,
    tool: row.tool,
    provider: row.provider,
    access: row.access,
    resource: row.resource,
    actions: row.actions.map((one): Action => action.parse(one)),
    mint: mint.parse(row.mint),
    ttl: { defaultSeconds: row.ttlDefault, maxSeconds: row.ttlMax },
    endsWithinSeconds: row.endsWithin,
    budget: { exchanges: row.exchangesMax, perMinute: row.perMinute },
    above: row.above,
  };
}
