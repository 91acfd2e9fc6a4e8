import type { Clock } from './clock.ts';
import type { Answer, CallOptions, Connection } from './connection.ts';
import type { Issued } from './credential-cache.ts';
import { MayflyError, NoIdentity } from './errors.ts';
import type { Identity, Subject } from './identity.ts';
import type { Beat } from './lease.ts';
import type { Asked } from './messages.ts';
import { apiRequest, type Draft, exchangeForm } from './requests.ts';
import { Secret } from './secret.ts';
import { beatOf, endOf, issuedOf, lifeOfToken, overOf, type TaskEnd } from './task-answers.ts';
import { asText, detailType, type Json } from './wire.ts';

export type Outcome = 'completed' | 'failed' | 'cancelled';

/** One thing to open. */
export interface Ask {
  readonly tool: string;
  readonly resource: string;
  /** Verbs; default: all of the grant. */
  readonly actions?: readonly string[] | undefined;
  /** Seconds; default: that of the grant. */
  readonly ttl?: number | undefined;
}

export interface TaskCallsOptions {
  readonly id: string;
  readonly connection: Connection;
  readonly identity: Identity;
  readonly clock: Clock;
}

/** A token this close to its end is not shown any more: the request has to travel. */
const tokenMarginMs = 2_000;

/** The requests of one task, each shown with its task token, or with an assertion once that has run out. */
export class TaskCalls {
  readonly #options: TaskCallsOptions;
  #token: { readonly secret: Secret<string>; readonly untilMs: number } | undefined;

  constructor(options: TaskCallsOptions) {
    this.#options = options;
  }

  /** Keeps the task token of an answer; answers how long it lives, null without one. */
  adopt(token: unknown, { sentAt }: Pick<Answer, 'sentAt'>): number | null {
    const text = asText(token);
    if (text === undefined) return null;
    const lifeMs = lifeOfToken(text);
    if (lifeMs === undefined) return null;
    this.#token = { secret: new Secret(text), untilMs: sentAt.getTime() + lifeMs };
    return lifeMs;
  }

  /** The task as it stands. */
  show(): Promise<Answer> {
    const request = { method: 'GET', path: `/v1/tasks/${this.#options.id}` };
    return this.#call((subject) => apiRequest(subject, request), { retry: 'repeatable' });
  }

  /** Renews lease and token. Rejects with TaskOver unless the task is open. */
  async heartbeat(): Promise<Beat> {
    const { id } = this.#options;
    const path = `/v1/tasks/${id}/heartbeat`;
    const answer = await this.#call((subject) => apiRequest(subject, { path }), { retry: 'repeatable' });
    const { body } = answer;
    const state = asText(body['state']) ?? 'unknown';
    if (state !== 'open') throw overOf(state, asText(body['stateReason']));
    return { sentAt: answer.sentAt, ...beatOf(answer, this.adopt(body['taskToken'], answer)) };
  }

  async end(outcome: Outcome): Promise<TaskEnd> {
    const path = `/v1/tasks/${this.#options.id}/end`;
    const json = { outcome };
    return endOf(await this.#call((subject) => apiRequest(subject, { path, json }), { retry: 'repeatable' }));
  }

  /** One exchange (RFC 8693) for one thing of this task. A lost answer is not asked for again: it may have minted. */
  async exchange(ask: Ask, { asked, signal }: { asked: Asked; signal: AbortSignal }): Promise<Issued> {
    const draft = (subject: Subject) => exchangeForm(subject, detailOf(this.#options.id, ask));
    const answer = await this.#call(draft, { retry: 'unsent', asked, signal });
    this.adopt(answer.body['task_token'], answer);
    return issuedOf(answer);
  }

  async #call(draft: (subject: Subject) => Draft, options: CallOptions): Promise<Answer> {
    const { connection } = this.#options;
    let shown: Secret<string> | undefined;
    const attempt = () =>
      connection.call(async () => {
        const subject = await this.#subject();
        shown = subject.kind === 'access_token' ? subject.token : undefined;
        return draft(subject);
      }, options);
    try {
      return await attempt();
    } catch (error) {
      if (!rejectsToken(error) || shown === undefined) throw error;
      // Run out by the server's clock, or signed with a key that is gone: the assertion speaks for the owner.
      if (this.#token?.secret === shown) this.#token = undefined;
      return attempt().catch((second: unknown) => {
        throw second instanceof NoIdentity ? error : second;
      });
    }
  }

  async #subject(): Promise<Subject> {
    const { clock, identity } = this.#options;
    const token = this.#token;
    if (token !== undefined && token.untilMs - clock.now().getTime() > tokenMarginMs)
      return { token: token.secret, kind: 'access_token', source: 'task token' };
    return identity.assertion();
  }
}

function detailOf(task: string, { tool, resource, actions, ttl }: Ask): Json {
  return {
    type: detailType,
    task,
    tool,
    identifier: resource,
    ...(actions === undefined ? {} : { actions }),
    ...(ttl === undefined ? {} : { ttl }),
  };
}

function rejectsToken(error: unknown): boolean {
  return (
    error instanceof MayflyError &&
    (error.reason === 'unauthenticated' || error.reason === 'assertion_invalid')
  );
}
