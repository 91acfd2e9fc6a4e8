import { type AuditEvent, auditEvent, type Ledger, type NewId } from '@mayfly/core';

/** Anyone can cause these, so beyond a rate they are counted by reason into one row a second. */
export function createUnattested(options: {
  readonly ledger: Pick<Ledger, 'append'>;
  readonly newId: NewId;
  /** Rows of their own up to here, per second and replica. */
  readonly rowsPerSecond: number;
  now(): Date;
}): { append(event: AuditEvent): Promise<void>; flush(): Promise<void> } {
  let second = 0;
  let rows = 0;
  let counted = new Map<string, number>();
  const count = (reason: string, times: number) => {
    counted.set(reason, (counted.get(reason) ?? 0) + times);
  };
  const flush = async () => {
    if (counted.size === 0) return;
    const taken = counted;
    counted = new Map();
    const { newId } = options;
    const event = { type: 'exchange.refused_aggregate', body: { reasons: Object.fromEntries(taken) } };
    try {
      await options.ledger.append(auditEvent({ newId, now: options.now() }, event));
    } catch (error) {
      for (const [reason, times] of taken) count(reason, times);
      throw error;
    }
  };
  return {
    flush,
    append: async (event) => {
      const now = Math.floor(options.now().getTime() / 1000);
      if (now !== second) {
        second = now;
        rows = 0;
        await flush();
      }
      rows += 1;
      if (rows <= options.rowsPerSecond) return options.ledger.append(event);
      count(String(event.body['reason']), 1);
    },
  };
}
