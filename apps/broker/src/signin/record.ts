import { type AuditEvent, auditEvent, type NewId, type Refusal } from '@mayfly/core';

export interface RecorderOptions {
  readonly newId: NewId;
  now(): Date;
  /** At a bounded rate: anyone can cause these. */
  readonly unattested: { append(event: AuditEvent): Promise<void> };
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}

/** Steps of a flow that is going well: a poll every five seconds is no news. */
const noNews: ReadonlySet<string> = new Set(['sign_in_pending', 'sign_in_slow_down', 'sign_in_rate']);

/** Records a refused sign-in, once, where it is refused. A row that cannot be written never makes it a success. */
export function createRecorder({ newId, now, unattested, report }: RecorderOptions) {
  return async (
    { reason, detail }: Refusal,
    { requestId, client }: { readonly requestId: string; readonly client: string | null },
  ): Promise<void> => {
    if (noNews.has(reason)) return;
    const body = { requestId, client, reason, detail: detail ?? null };
    try {
      await unattested.append(auditEvent({ newId, now: now() }, { type: 'signin.refused', body }));
    } catch (cause) {
      report('a refused sign-in could not be recorded', { reason, cause });
    }
  };
}
