import { auditEvent, Refusal } from '@mayfly/core';
import type { Broker } from '../broker.ts';
import type { Principal } from './authenticate.ts';

/**
 * A refusal outside the exchange, recorded once. Before a caller is known it falls under the same rate of rows as
 * those of the token endpoint. A row that cannot be written is reported and never turns the refusal into a success.
 */
export async function recordRefusal(
  broker: Broker,
  error: unknown,
  request: {
    readonly id: string;
    readonly route: string;
    readonly principal: Pick<Principal, 'name' | 'viaTask'> | undefined;
  },
): Promise<void> {
  if (!(error instanceof Refusal)) return; // A failure is no decision: it goes to the log.
  const { newId, clock, unattested, report, ledger } = broker.exchange;
  const { id: requestId, route, principal } = request;
  const event = auditEvent(
    { newId, now: clock.now() },
    {
      type: 'request.refused',
      actor: principal?.name ?? null,
      taskId: principal?.viaTask?.task.id ?? null,
      body: { requestId, route, reason: error.reason, detail: error.detail ?? null },
    },
  );
  try {
    await (principal === undefined ? unattested.append(event) : ledger.append(event));
  } catch (cause) {
    report('a refusal could not be recorded', { reason: error.reason, cause });
  }
}
