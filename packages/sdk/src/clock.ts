/** Time, injected so that tests need no sleep. */
export interface Clock {
  now(): Date;
  /** Runs once after `ms`; answers how to call it off. Only a timer that `holds` keeps the process alive. */
  after(ms: number, run: () => void, options?: { readonly holds: boolean }): () => void;
}

/** Longest delay of a Node timer; a longer one would fire at once. */
const timerMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => new Date(),
  after: (ms, run, options) => {
    const timer = setTimeout(run, Math.min(Math.max(ms, 0), timerMsMax));
    if (options?.holds !== true) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Waits, unless `signal` aborts first; then rejects with its reason. */
export function wait(ms: number, { clock, signal }: { clock: Clock; signal?: AbortSignal }): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(
      ms,
      () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      },
      { holds: true },
    );
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
