const inspect = Symbol.for('nodejs.util.inspect.custom');
const shown = '[secret]';

/** A value that never prints: JSON, template strings and inspectors show `[secret]`. */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The one way out. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [inspect](): string {
    return shown;
  }
}

/**
 * The same object, unprintable, for clients that must be handed plain properties (the AWS SDK). The properties stay
 * readable and copyable; a copy made by spreading prints again.
 */
export function unprintable<T extends object>(value: T): T {
  for (const name of ['toJSON', inspect])
    Object.defineProperty(value, name, { value: () => shown, enumerable: false });
  return value;
}
