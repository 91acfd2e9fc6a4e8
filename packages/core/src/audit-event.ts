import type { AuditEvent, NewId } from './ports.ts';

type Draft = Pick<AuditEvent, 'type'> & Partial<Pick<AuditEvent, 'actor' | 'taskId' | 'issuanceId' | 'body'>>;

/** An event of now; what is left out is null. */
export function auditEvent(context: { newId: NewId; now: Date }, draft: Draft): AuditEvent {
  const { type, actor = null, taskId = null, issuanceId = null, body = {} } = draft;
  return { id: context.newId(), type, at: context.now, actor, taskId, issuanceId, body };
}
