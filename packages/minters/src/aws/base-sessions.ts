import { baseSeconds } from './plan.ts';
import type { Session } from './session.ts';

/** Sessions remembered: one per open (grant, generation) in use here; the soonest to expire goes first. */
const sessionsMax = 10_000;
/** A base must outlive what is cut from it. */
const marginMs = 5_000;

/** Base sessions of this replica, in memory only; lost with the process, and then simply made again. */
export class BaseSessions {
  readonly #sessions = new Map<string, Session>();

  /** One that lives past `until`, or undefined. */
  find(role: string, reach: string, until: Date): Session | undefined {
    const session = this.#sessions.get(`${role}\n${reach}`);
    return session !== undefined && session.expiresAt.getTime() >= until.getTime() + marginMs
      ? session
      : undefined;
  }

  /** Forgets those of a role that were issued before; a new one opens again. */
  drop(role: string, issuedBefore: Date): void {
    for (const [key, { expiresAt }] of this.#sessions)
      if (key.startsWith(`${role}\n`) && expiresAt.getTime() - baseSeconds * 1000 < issuedBefore.getTime())
        this.#sessions.delete(key);
  }

  keep(role: string, reach: string, session: Session, now: Date): void {
    this.#sessions.set(`${role}\n${reach}`, session);
    if (this.#sessions.size > sessionsMax) this.#dropExpired(now);
  }

  #dropExpired(now: Date): void {
    for (const [key, { expiresAt }] of this.#sessions) if (expiresAt <= now) this.#sessions.delete(key);
    const [soonest] = [...this.#sessions].sort(
      ([, a], [, b]) => a.expiresAt.getTime() - b.expiresAt.getTime(),
    );
    if (this.#sessions.size > sessionsMax && soonest !== undefined) this.#sessions.delete(soonest[0]);
  }
}
