import { type CallContext, Fault, unlessAborted } from '@mayfly/core';

/** One answer of Google takes at most this; the mint deadline cuts it earlier. */
export const answerTimeoutMs = 8_000;

/**
 * One call, its errors as Faults that say whether something may have happened. Google's text and the library's error,
 * which holds the request with its bearer, stay out: only the status goes on.
 */
export async function gcpCall<T>(
  name: string,
  { signal }: Pick<CallContext, 'signal'>,
  run: () => Promise<T>,
) {
  try {
    signal.throwIfAborted();
    // Google's client takes no signal; what it still does after an abort ends by its own timeout, and nobody waits for it.
    return await unlessAborted(signal, run(), () => new DOMException('aborted', 'AbortError'));
  } catch (error) {
    if (error instanceof Fault) throw error;
    const status = statusOf(error);
    const code = status ?? codeOf(error);
    const detail = `${name}: ${code}`;
    // Refused as such: nothing happened, and asking again changes nothing.
    if (status === 400 || status === 401 || status === 403 || status === 404)
      throw new Fault('provider_refused', { effect: 'none', detail });
    // A clean 4xx is an answer; a 5xx, a cut connection, a timeout and what cannot be read may come after the fact.
    const answered = status !== undefined && status >= 400 && status < 500;
    const effect = answered || neverSent.has(String(code)) ? 'none' : 'unknown';
    throw new Fault('provider_unavailable', { effect, detail });
  }
}

/** The provider answered something that was not asked for; what it made may live. */
export function lying(detail: string): Fault {
  return new Fault('provider_refused', { effect: 'unknown', detail: `the provider answered ${detail}` });
}

/** A status that `fetch` answered, for `gcpCall` to read. */
export class HttpStatus extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`answered ${status}`);
    this.status = status;
  }
}

const neverSent: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN']);

function statusOf(error: unknown): number | undefined {
  const status: unknown = Reflect.get(Object(error), 'status');
  return typeof status === 'number' ? status : undefined;
}

/** `fetch` hides the system's code in its cause, and Google's libraries that error in theirs. */
const causesMax = 4;

function codeOf(error: unknown): string {
  let cause = error;
  for (let depth = 0; depth < causesMax; depth += 1) {
    const code: unknown = Reflect.get(Object(cause), 'code');
    if (typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code)) return code;
    cause = Reflect.get(Object(cause), 'cause');
  }
  const name: unknown = Reflect.get(Object(error), 'name');
  return typeof name === 'string' && /^[A-Za-z]{1,40}$/.test(name) ? name : 'unknown';
}
