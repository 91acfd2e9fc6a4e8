/** How often the two clocks are compared. */
const watchMs = 5_000;

/**
 * Compares this machine's clock with the database's, which rules leases and expiries. A replica that is off by more
 * than half of the allowed skew issues nothing until it agrees again (docs/architecture.md, clocks).
 */
export interface ClockWatch {
  isTrusted(): boolean;
  /** Seconds that this machine is ahead, as far as the round trip lets us know; 0 before the first look. */
  offsetSeconds(): number;
  look(): Promise<void>;
  start(): { stop(): void };
}

export interface ClockWatchOptions {
  /** Database time; Faults leave the last verdict standing. */
  databaseNow(): Promise<Date>;
  now(): Date;
  readonly skewMs: number;
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}

export function createClockWatch(options: ClockWatchOptions): ClockWatch {
  let offsetMs = 0;
  const isTrusted = () => Math.abs(offsetMs) <= options.skewMs / 2;
  const look = async () => {
    const trustedBefore = isTrusted();
    const before = options.now().getTime();
    const there = (await options.databaseNow()).getTime();
    const after = options.now().getTime();
    // Anything inside the round trip agrees; beyond it, the least that is certain counts.
    offsetMs = there < before ? before - there : there > after ? after - there : 0;
    if (trustedBefore && !isTrusted())
      options.report('the clock is off; nothing is issued', { offsetMs, alarm: 'clock_off' });
    else if (!trustedBefore && isTrusted()) options.report('the clock agrees again', { offsetMs });
  };
  return {
    isTrusted,
    offsetSeconds: () => offsetMs / 1000,
    look,
    start: () => {
      const timer = setInterval(() => void look().catch(() => undefined), watchMs);
      return { stop: () => clearInterval(timer) };
    },
  };
}
