import type { DenyAt } from '@mayfly/core';
import { baseSeconds } from './plan.ts';
import type { Session } from './session.ts';

/** Sessions remembered: one per open (grant, generation) in use here; the soonest to expire goes first. */
const sessionsMax = 10_000;
/** A base must outlive what is cut from it. */
const marginMs = 5_000;

interface Kept {
  readonly reach: string;
  readonly session: Session;
  readonly now: Date;
}

/** Base sessions of this replica, in memory only; lost with the process, and then simply made again. */
export class BaseSessions {
  readonly #sessions = new Map<string, Session>();

  /** One that lives past `until`, or undefined. */
  find(at: DenyAt, reach: string, until: Date): Session | undefined {
    const session = this.#sessions.get(keyOf(at, reach));
    return session !== undefined && session.expiresAt.getTime() >= until.getTime() + marginMs
      ? session
      : undefined;
  }

  /** Forgets those of a Provider's role that were issued before; a new one opens again. */
  drop(at: DenyAt, issuedBefore: Date): void {
    for (const [key, { expiresAt }] of this.#sessions)
      if (key.startsWith(keyOf(at, '')) && expiresAt.getTime() - baseSeconds * 1000 < issuedBefore.getTime())
        this.#sessions.delete(key);
  }

  keep(at: DenyAt, { reach, session, now }: Kept): void {
    this.#sessions.set(keyOf(at, reach), session);
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

function keyOf({ provider, role }: DenyAt, reach: string): string {
  return `${provider}\n${role}\n${reach}`;
}
