import type { Wired } from '../wire.ts';

/** How often a replica that nobody asks looks for keys of others, and whether its own turn to make one has come. */
const watchMs = 10_000;

/**
 * Keys follow the epoch, which a request looks up; a replica without requests (a worker, a quiet one) would sign with
 * keys that are long retired. What decides are rows and the database's clock; the timer only looks.
 */
export function startKeyWatch({ policies, rotateKeys, log }: Wired): { stop(): Promise<void> } {
  let looking: Promise<void> = Promise.resolve();
  let busy = false;
  const look = async () => {
    try {
      for (const { id, purpose, alg, activeFrom } of await rotateKeys())
        log.info({ key: id, purpose, alg, activeFrom }, 'the next key is published');
      await policies.refresh();
    } catch (error) {
      log.warn({ err: error }, 'keys could not be looked at; the known ones stay in use');
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    looking = look();
  }, watchMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}
