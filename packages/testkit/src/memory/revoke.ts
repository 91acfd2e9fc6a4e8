import type { AuditEvent } from '@mayfly/core';
import type { IssuanceRow, MemoryRows } from './rows.ts';

/** One issuance and whatever shares its reach, as `revoke_issuance`. */
export function revokeIssuance(rows: MemoryRows, issuanceId: string, audit: AuditEvent): boolean {
  const issuance = rows.issuances.get(issuanceId);
  if (issuance?.decision !== 'allow' || issuance.record.purpose !== 'agent') return false;
  const taken = issuance.local ? endLocal(rows, issuance) : takeBackReach(rows, issuance);
  if (taken) rows.append(audit);
  return taken;
}

function endLocal(rows: MemoryRows, { record, plan }: IssuanceRow): boolean {
  const grant = rows.grants.get(record.grantId ?? '');
  const task = rows.tasks.get(record.taskId ?? '');
  if (plan === null || record.notAfter === null || record.notAfter <= rows.now()) return false;
  if (task?.state !== 'open' || grant?.generation !== plan.generation) return false;
  if (rows.endsOf(record.id).length > 0) return false;
  const method = plan.ends.by;
  const at = method === 'expired' ? record.notAfter : rows.now();
  rows.ends.set(record.id, [{ issuanceId: record.id, at, method, requestedAt: rows.now(), evidence: {} }]);
  return true;
}

function takeBackReach(rows: MemoryRows, { record, plan }: IssuanceRow): boolean {
  const own = rows.work.get(record.id);
  const grant = rows.grants.get(record.grantId ?? '');
  if (grant === undefined || (own?.state !== 'intended' && own?.state !== 'delivered')) return false;
  for (const [id, work] of rows.work) {
    if (work.taskId !== record.taskId || work.reach !== plan?.reach || work.kind !== 'issuance') continue;
    if (work.state !== 'intended' && work.state !== 'delivered') continue;
    const state = work.state === 'intended' ? 'reaped' : 'revoking';
    const now = rows.now();
    rows.work.set(id, { ...work, state, requestedAt: now, dueAt: now, attempts: 0 });
  }
  rows.grants.set(grant.grant.id, { ...grant, generation: grant.generation + 1 });
  return true;
}
