import type { Clock } from './clock.ts';
import type { Secret } from './secret.ts';

/** One credential as it was answered. */
export interface Issued {
  readonly credential: Secret<string>;
  readonly issuedTokenType: string;
  readonly tokenType: string;
  readonly issuanceId: string;
  /** By our clock. */
  readonly sentAt: Date;
  readonly lifeMs: number;
}

/** A task asks for few things at a time; beyond this the oldest are asked for again. */
const entriesMax = 1_000;
/** Contract.md section 2: answered from memory while more than a fifth of the life, and at least this, is left. */
const leftMsMin = 5_000;
const leftPart = 1 / 5;

/**
 * In memory only. Stock SDKs ask again for each request while a credential has less than five minutes left, so every
 * credential of seconds would cost an exchange per request without this. Concurrent calls for one key share one flight;
 * failures are shared with them and not kept.
 */
export class CredentialCache {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Issued>();
  readonly #flights = new Map<string, Promise<Issued>>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string, issue: () => Promise<Issued>): Promise<Issued> {
    const known = this.#entries.get(key);
    if (known !== undefined && this.#lasts(known)) return Promise.resolve(known);
    const flying = this.#flights.get(key);
    if (flying !== undefined) return flying;
    const flight = issue()
      .then((issued) => this.#keep(key, issued))
      .finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  /** Forgets all and keeps nothing from now on, not even what is still in flight. */
  close(): void {
    this.#closed = true;
    this.#entries.clear();
  }

  #keep(key: string, issued: Issued): Issued {
    if (this.#closed) return issued;
    this.#entries.delete(key);
    if (this.#entries.size >= entriesMax) this.#makeRoom();
    this.#entries.set(key, issued);
    return issued;
  }

  #makeRoom(): void {
    for (const [key, issued] of this.#entries) if (!this.#lasts(issued)) this.#entries.delete(key);
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size >= entriesMax) this.#entries.delete(oldest);
  }

  #lasts({ sentAt, lifeMs }: Issued): boolean {
    const leftMs = sentAt.getTime() + lifeMs - this.#clock.now().getTime();
    // More left than it ever lived: our clock was set back, and nothing is known any more.
    return leftMs > Math.max(lifeMs * leftPart, leftMsMin) && leftMs <= lifeMs;
  }
}
