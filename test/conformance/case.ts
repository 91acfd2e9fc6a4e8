import type { Answer } from './http.ts';
import type { Feature } from './profile.ts';
import type { Suite } from './suite.ts';

/** One rule of the profile that can be seen from outside. */
export interface Case {
  /** Line of the profile, with a letter where a line says several things: `A4.b`. */
  readonly id: string;
  readonly rule: string;
  readonly source: string;
  readonly must: 'MUST' | 'SHOULD' | 'MAY';
  /** Without these the case is skipped, and says so. */
  readonly needs?: readonly Feature[];
  /** A member of the profile without which there is nothing to ask. */
  readonly needsMember?: 'detailSchema';
  /** Sends requests; throws a CaseFailed when the rule does not hold. May run beside every other case. */
  run(suite: Suite): Promise<void>;
}

/** A line of the profile, or a part of one, that no request can show. */
export interface Unseen {
  readonly id: string;
  readonly why: string;
}

/** The server does not keep the rule: what was sent, what was expected, what came. Never holds a token. */
export class CaseFailed extends Error {
  override readonly name = 'CaseFailed';
}

interface Expected {
  readonly status: number | readonly number[];
  /** The OAuth error code, one of several where the profile leaves it open. */
  readonly error?: string | readonly string[];
}

/** The status, and the error code where one is named. */
export function expectAnswer(answer: Answer, { status, error }: Expected): Answer {
  const statuses = typeof status === 'number' ? [status] : status;
  const errors = typeof error === 'string' ? [error] : error;
  const isRight =
    statuses.includes(answer.status) &&
    (errors === undefined || errors.includes(String(answer.body['error'])));
  if (!isRight) throw failure(answer, [statuses.join(' or '), ...(errors ?? [])].join(' '));
  return answer;
}

export function expectIssued(answer: Answer): Answer {
  expectAnswer(answer, { status: 200 });
  check(answer, typeof answer.body['access_token'] === 'string', 'an access_token');
  return answer;
}

export function expectRefused(answer: Answer, error: string | readonly string[], status = 400): Answer {
  return expectAnswer(answer, { status, error });
}

export function check(answer: Answer, holds: boolean, expected: string): void {
  if (!holds) throw failure(answer, expected);
}

export function failure({ sent, status, body }: Answer, expected: string): CaseFailed {
  const came = [status, word(body['error']), word(body['reason'])]
    .filter((part) => part !== undefined)
    .join(' ');
  return new CaseFailed(`sent ${sent}; expected ${expected}; came ${came}`);
}

/** What a server says as its error code: not told when it is no code, since it could repeat a token. */
function word(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  return typeof value === 'string' && /^[a-z_]{1,64}$/.test(value) ? value : 'no code';
}
