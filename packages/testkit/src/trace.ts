import { Fault } from '@mayfly/core';

/** What happens to one call instead of its answer. */
export interface Failure {
  /** True: the call takes effect and only its answer is lost. */
  readonly applied: boolean;
  readonly error: unknown;
}

/** A remote thing that failed: not applied for sure, or applied with the answer lost. */
export function lostAnswer(applied: boolean): Failure {
  const error = new Fault('database_unavailable', { effect: 'unknown', detail: 'connection lost' });
  return { applied, error };
}

/**
 * Records the calls of ports in their order, and makes chosen ones fail in either way that a remote call can fail.
 * `before` hooks run at the moment between two effects, where another replica would act.
 */
export class Trace {
  readonly calls: string[] = [];
  readonly #failures = new Map<string, Failure>();
  readonly #before = new Map<string, () => unknown>();

  /** The next call of this name, `ledger.deliver`, fails; later ones do not. */
  failNext(name: string, failure: Failure): void {
    this.#failures.set(name, failure);
  }

  /** Runs once, just before the next call of this name. */
  beforeNext(name: string, run: () => unknown): void {
    this.#before.set(name, run);
  }

  count(name: string): number {
    return this.calls.filter((call) => call === name).length;
  }

  /** The calls with one of these names, in order. */
  only(...names: readonly string[]): readonly string[] {
    return this.calls.filter((call) => names.includes(call));
  }

  /** The same port, each of its methods recorded as `prefix.method`. */
  wrap<T extends object>(prefix: string, port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== 'function' || typeof key !== 'string') return member;
        const isPure = key === 'plan' || key === 'base';
        if (isPure) return member.bind(target);
        return (...values: readonly unknown[]) =>
          this.#run(`${prefix}.${key}`, async () => Reflect.apply(member, target, values));
      },
    });
  }

  async #run(name: string, call: () => Promise<unknown>): Promise<unknown> {
    const hook = this.#before.get(name);
    this.#before.delete(name);
    await hook?.();
    this.calls.push(name);
    const failure = this.#failures.get(name);
    if (failure === undefined) return call();
    this.#failures.delete(name);
    if (failure.applied) await call();
    throw failure.error;
  }
}
