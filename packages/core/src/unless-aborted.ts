/**
 * What is under way for many, as one of them waits for it: until his own signal aborts. What is under way goes on, for
 * the others and to its own end.
 */
export function unlessAborted<T>(signal: AbortSignal, running: Promise<T>, aborted: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(aborted());
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return Promise.race([running, promise]).finally(() => signal.removeEventListener('abort', abort));
}
