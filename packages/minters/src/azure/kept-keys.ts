import { type CallContext, Fault } from '@mayfly/core';
import { lying } from '../rest/rest.ts';

/** Of all calls for one key; the mint deadline cuts it for its own caller. */
const fetchTimeoutMs = 8_000;

/** Keys remembered: one for each identity and thing in use; the soonest to go goes first. */
const keysMax = 1_000;

export interface Kept<Key> {
  readonly key: Key;
  /** No credential that ends later may be made with it, and after it the key is asked for again. */
  readonly usableUntil: Date;
}

export interface KeyCall<Key> {
  /** Of the provider's call, for its faults. */
  readonly call: string;
  readonly until: Date;
  fetch(context: CallContext): Promise<Kept<Key>>;
}

/** Signing keys of this replica, in memory only: each asked for once however many wait for it; lost with the process. */
export class KeptKeys<Key> {
  readonly #kept = new Map<string, Kept<Key>>();
  readonly #flights = new Map<string, Promise<Kept<Key>>>();

  async find(name: string, call: KeyCall<Key>, { now, signal }: CallContext): Promise<Key> {
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.usableUntil >= call.until) return kept.key;
    const flight = this.#flights.get(name) ?? this.#start(name, call, now);
    const { key, usableUntil } = await untilAborted(flight, { call: call.call, signal });
    if (usableUntil < call.until) throw lying('a key that ends before the credential');
    return key;
  }

  /** Under a deadline of its own: the one who asked first may give up before those who wait with it. */
  #start(name: string, { fetch }: KeyCall<Key>, now: Date): Promise<Kept<Key>> {
    const flight = fetch({ now, signal: AbortSignal.timeout(fetchTimeoutMs) })
      .then((kept) => {
        this.#kept.set(name, kept);
        if (this.#kept.size > keysMax) this.#drop(now);
        return kept;
      })
      .finally(() => this.#flights.delete(name));
    this.#flights.set(name, flight);
    return flight;
  }

  #drop(now: Date): void {
    for (const [name, { usableUntil }] of this.#kept) if (usableUntil <= now) this.#kept.delete(name);
    const [soonest] = [...this.#kept].sort(
      ([, a], [, b]) => a.usableUntil.getTime() - b.usableUntil.getTime(),
    );
    if (this.#kept.size > keysMax && soonest !== undefined) this.#kept.delete(soonest[0]);
  }
}

function untilAborted<T>(
  flight: Promise<T>,
  { call, signal }: { call: string; signal: AbortSignal },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () =>
      reject(new Fault('provider_unavailable', { effect: 'unknown', detail: `${call}: no answer` }));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    flight.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
