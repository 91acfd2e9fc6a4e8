/** Turns of the event loop until something holds; an end, so that a test fails by its own words. */
export async function until(holds: () => boolean, turnsMax = 20_000): Promise<void> {
  for (let turn = 0; turn < turnsMax; turn += 1) {
    if (holds()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`never came: ${holds.toString()}`);
}

/** The error that a promise rejects with, of the wanted class. */
export async function rejection<T extends Error>(
  promise: Promise<unknown>,
  kind: new (...args: never[]) => T,
): Promise<T> {
  const error = await promise.then(
    () => new Error('it did not reject'),
    (reason: unknown) => reason,
  );
  if (error instanceof kind) return error;
  throw error;
}
