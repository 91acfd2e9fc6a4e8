import { errorOfAnswer, unreadable } from './answer-error.ts';
import { type Clock, wait } from './clock.ts';
import { type MayflyError, Unavailable } from './errors.ts';
import type { Asked } from './messages.ts';
import type { ProofKey } from './proof.ts';
import type { Draft } from './requests.ts';
import { type Incoming, type Transport, TransportFailure } from './transport.ts';
import { asObject, type Json, parseJson } from './wire.ts';

/** A good answer. */
export interface Answer {
  readonly status: number;
  readonly body: Json;
  /** Our clock just before the request left: every deadline counts from here, so it errs on the early side. */
  readonly sentAt: Date;
  /** The server's clock when it answered, where it said so. */
  readonly serverAt: Date | null;
}

export interface CallOptions {
  /**
   * `repeatable`: also after a failure where the server may have acted. `unsent`: only where it has not, by its own
   * word (429, 503) or because nothing reached it. Both wait as Retry-After asks.
   */
  readonly retry: 'repeatable' | 'unsent';
  readonly asked?: Asked;
  readonly signal?: AbortSignal | undefined;
}

export interface ConnectionOptions {
  readonly server: URL;
  readonly transport: Transport;
  readonly clock: Clock;
  /** Calls of one request, the first one included. */
  readonly attemptsMax?: number;
  /** Proves with each request that we hold this key. */
  readonly proofKey?: ProofKey | undefined;
}

const defaultAttemptsMax = 3;
/** A longer Retry-After is for the caller to wait, who knows what it is worth. */
const waitMsMax = 5_000;
const firstWaitMs = 200;
/** Only people end these: asking again in seconds is noise. */
const lasting: ReadonlySet<string> = new Set(['frozen', 'recovery_required', 'too_many_open_tasks']);

/** Requests to one broker. Every way to fail is a MayflyError, or the reason of the signal. */
export class Connection {
  readonly server: string;
  readonly #options: ConnectionOptions;
  #nonce: string | undefined;

  constructor(options: ConnectionOptions) {
    this.server = options.server.origin;
    this.#options = options;
  }

  /** `draft` is asked again for each attempt, so that each shows a fresh assertion. */
  async call(draft: () => Promise<Draft>, options: CallOptions): Promise<Answer> {
    const { attemptsMax = defaultAttemptsMax } = this.#options;
    let before: MayflyError | undefined;
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#attempt(draft, options);
      if (!('error' in outcome)) return outcome;
      const { error, again } = outcome;
      // The first attempt used up an assertion that stays the same: what it said is the news, not the replay.
      if (before !== undefined && error.reason === 'assertion_replayed') throw before;
      const waitMs = waitOf(error, attempt);
      if (!again || attempt >= attemptsMax || waitMs > waitMsMax) throw error;
      before = error;
      await wait(waitMs, { clock: this.#options.clock, ...signalOf(options) });
    }
  }

  async #attempt(
    draft: () => Promise<Draft>,
    options: CallOptions,
  ): Promise<Answer | { error: MayflyError; again: boolean }> {
    const { path, ...plain } = await draft();
    const { transport, server, clock } = this.#options;
    const url = new URL(path, server);
    if (url.origin !== server.origin) throw new TypeError('a path leads to another server');
    const rest = this.#proving(plain, url);
    const sentAt = clock.now();
    let answer: Incoming;
    try {
      answer = await transport.send({ ...rest, ...signalOf(options), url });
    } catch (failure) {
      if (!(failure instanceof TransportFailure)) throw failure;
      return this.#unanswered(failure, options);
    }
    this.#nonce = answer.headers['dpop-nonce'] ?? this.#nonce;
    if (answer.status < 200 || answer.status > 299) {
      const error = errorOfAnswer(answer, options.asked);
      // RFC 9449 section 8: nothing was looked at yet; the next proof carries the nonce of this answer.
      const again = error.reason === 'dpop_nonce_needed' || (error.retryable && !lasting.has(error.reason));
      return { error, again };
    }
    const body = parseJson(answer.body);
    if (body === undefined) return { error: unreadable(answer), again: false };
    return { status: answer.status, body: asObject(body), sentAt, serverAt: dateOf(answer) };
  }

  /** With a proof of our key: a token in the Authorization header is then shown as `DPoP` (RFC 9449 section 7.1). */
  #proving<T extends Omit<Draft, 'path'>>(plain: T, url: URL): T {
    const { proofKey, clock } = this.#options;
    if (proofKey === undefined) return plain;
    const { authorization } = plain.headers;
    const accessToken = authorization?.replace(/^Bearer /, '');
    const wishes = { url, method: plain.method, accessToken, nonce: this.#nonce };
    const shown = accessToken === undefined ? {} : { authorization: `DPoP ${accessToken}` };
    return { ...plain, headers: { ...plain.headers, ...shown, dpop: proofKey.prove(wishes, clock.now()) } };
  }

  #unanswered(
    failure: TransportFailure,
    { retry, asked }: CallOptions,
  ): { error: MayflyError; again: boolean } {
    const { kind, code, sent } = failure;
    const says = `no answer from ${this.server} (${code}).`;
    const todo =
      kind === 'tls'
        ? 'Its certificate does not verify: set MAYFLY_CA_FILE to the CA of the broker.'
        : 'Set MAYFLY_SERVER, or start the broker.';
    const passing = kind !== 'tls' && kind !== 'too_large';
    const error = new Unavailable({ reason: reasons[kind], says, todo, asked, cause: failure }, passing);
    return { error, again: passing && (retry === 'repeatable' || !sent) };
  }
}

const reasons = {
  unreachable: 'no_answer',
  timeout: 'no_answer',
  broken: 'no_answer',
  tls: 'tls_untrusted',
  too_large: 'answer_unreadable',
} as const satisfies Record<TransportFailure['kind'], string>;

function waitOf({ retryAfterSeconds }: MayflyError, attempt: number): number {
  return retryAfterSeconds === null ? firstWaitMs * 2 ** (attempt - 1) : retryAfterSeconds * 1000;
}

function signalOf({ signal }: CallOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function dateOf({ headers }: Incoming): Date | null {
  const time = Date.parse(headers['date'] ?? '');
  return Number.isNaN(time) ? null : new Date(time);
}
