import type { Profile } from '../profile.ts';
import type { Suite } from '../suite.ts';

/** A request as it came in, before the server sees it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string;
  /** Which of the two client certificates the connection showed. */
  readonly client: 0 | 1 | null;
}

export interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string;
}

export interface Tools {
  readonly profile: Profile;
  /** Good requests, past the mutation. */
  readonly suite: Suite;
  /** What this mutant remembers between requests. */
  readonly memory: Map<string, string>;
  /** The server, past the mutation. */
  forward(seen: Seen): Promise<Told>;
}

/** What reaches the server instead; a Told is answered without asking it. */
export type Ask = (seen: Seen, tools: Tools) => Seen | Told | Promise<Seen | Told>;
/** What is answered instead; `seen` is as it came in. */
export type Change = (told: Told, seen: Seen, tools: Tools) => Told | Promise<Told>;

/** A server that is right but for one rule. */
export interface Mutant {
  /** The case that must fail against it. */
  readonly breaks: string;
  readonly says: string;
  readonly ask?: Ask;
  readonly answer?: Change;
}

export function isTold(value: Seen | Told): value is Told {
  return 'status' in value;
}
