import { type AwsCredentialProvider, parseAwsCredentials } from './aws-credentials.ts';
import type { Clock } from './clock.ts';
import { CredentialCache, type Issued } from './credential-cache.ts';
import { Misconfigured, TaskOver } from './errors.ts';
import { type Beat, Lease } from './lease.ts';
import type { ProofKey } from './proof.ts';
import type { TaskEnd, TaskGrant } from './task-answers.ts';
import type { Outcome, TaskCalls } from './task-calls.ts';
import { type RequestOptions, ToolToken } from './tool-token.ts';
import { awsCredentialsType, azureSasType, subjectTokenType } from './wire.ts';

export interface AskOptions {
  /** Verbs; default: all of the grant. */
  readonly actions?: readonly string[];
  /** Life of each credential in seconds; default: that of the grant. */
  readonly ttl?: number;
}

export interface TaskFacts {
  readonly id: string;
  readonly template: string;
  readonly grants: readonly TaskGrant[];
  readonly expiresAt: Date;
}

export interface TaskOptions {
  readonly facts: TaskFacts;
  readonly calls: TaskCalls;
  readonly beat: Beat;
  readonly clock: Clock;
  readonly proofKey?: ProofKey | undefined;
  /** False for a task that this process was only started in: leaving it does not end it. */
  readonly owned: boolean;
}

/**
 * An open task and its lease. Heartbeats go out by themselves until the task ends, here or elsewhere; then `signal`
 * aborts with the reason and no credential is given any more. Credentials live in memory only.
 *
 * `await using` cannot see whether its block threw. So say how it went with complete(), fail() or cancel(); a block
 * left without a word ends its task as cancelled, which claims neither. mayfly.run() knows, and says it for you.
 */
export class Task implements AsyncDisposable {
  /** `tsk_...`. */
  readonly id: string;
  readonly template: string;
  readonly grants: readonly TaskGrant[];
  /** When it ends at the latest, by the server's clock. */
  readonly expiresAt: Date;
  readonly #calls: TaskCalls;
  readonly #cache: CredentialCache;
  readonly #lease: Lease;
  readonly #owned: boolean;
  readonly #proofKey: ProofKey | undefined;
  readonly #over = new AbortController();
  #outcome: Outcome = 'cancelled';
  #end: Promise<TaskEnd> | undefined;
  #nothingToEnd = false;

  constructor({ facts, calls, beat, clock, owned, proofKey }: TaskOptions) {
    this.#proofKey = proofKey;
    this.id = facts.id;
    this.template = facts.template;
    this.grants = facts.grants;
    this.expiresAt = facts.expiresAt;
    this.#calls = calls;
    this.#cache = new CredentialCache(clock);
    this.#owned = owned;
    this.#lease = new Lease({
      clock,
      random: Math.random,
      beat: () => calls.heartbeat(),
      lost: (reason) => this.#lose(reason),
    });
    this.#lease.start(beat);
  }

  /** Aborts when the task is over, its reason a TaskOver: ended, suspended, or its lease lost. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /**
   * Credentials for one resource, as the AWS SDK v3 takes them: `new S3Client({ credentials: task.aws(tool, arn) })`.
   * Nothing is asked before the first request of the client.
   */
  aws(tool: string, resource: string, options: AskOptions = {}): AwsCredentialProvider {
    return async () => {
      const issued = await this.#issue(tool, resource, options);
      if (issued.issuedTokenType !== awsCredentialsType) throw wrongKind(tool, issued);
      return parseAwsCredentials(issued.credential);
    };
  }

  /** A token for one resource of a tool server. */
  async token(tool: string, resource: string, options: AskOptions = {}): Promise<ToolToken> {
    const issued = await this.#issue(tool, resource, options);
    const { credential: accessToken, tokenType, issuanceId, sentAt, lifeMs } = issued;
    // Anything else in an Authorization header would be shown to a server that it is not for.
    if (issued.issuedTokenType !== subjectTokenType.access_token) throw wrongKind(tool, issued);
    return new ToolToken({
      accessToken,
      tokenType,
      issuanceId,
      expiresAt: new Date(sentAt.getTime() + lifeMs),
      proofKey: this.#proofKey,
    });
  }

  /**
   * A URL that is its own credential for one blob or directory at Azure: `new BlobClient(await task.url(tool, resource))`.
   * Whoever holds it may use it until it ends; ask again for each use rather than keep it.
   */
  async url(tool: string, resource: string, options: AskOptions = {}): Promise<string> {
    const issued = await this.#issue(tool, resource, options);
    if (issued.issuedTokenType !== azureSasType) throw wrongKind(tool, issued);
    return issued.credential.reveal();
  }

  /** Headers of one request to a tool server at `url`, which is also the resource: `fetch(url, { headers: await ... })`. */
  async headers(
    tool: string,
    url: string,
    options: AskOptions & RequestOptions = {},
  ): Promise<Record<string, string>> {
    const { method, nonce, ...ask } = options;
    const token = await this.token(tool, url, ask);
    return token.headers(url, {
      ...(method === undefined ? {} : { method }),
      ...(nonce === undefined ? {} : { nonce }),
    });
  }

  /**
   * Ends the task and everything beneath it; durable when it answers. `state` is another than asked for when the task
   * had ended before. May be repeated, also after it failed.
   */
  complete(): Promise<TaskEnd> {
    return this.#finish('completed');
  }

  fail(): Promise<TaskEnd> {
    return this.#finish('failed');
  }

  cancel(): Promise<TaskEnd> {
    return this.#finish('cancelled');
  }

  /** Left without complete(), fail() or cancel(): cancelled. Rejects when the end could not be told to the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owned && !this.#nothingToEnd) await this.#finish(this.#outcome);
    else this.#close(left('left'));
  }

  #finish(outcome: Outcome): Promise<TaskEnd> {
    this.#close(left(outcome));
    this.#outcome = outcome;
    this.#end ??= this.#calls.end(outcome).catch((error: unknown) => {
      this.#end = undefined;
      throw error;
    });
    return this.#end;
  }

  async #issue(tool: string, resource: string, { actions, ttl }: AskOptions): Promise<Issued> {
    const { signal } = this.#over;
    signal.throwIfAborted();
    const { template, grants } = this;
    const verbs = actions === undefined ? undefined : [...new Set(actions)].sort();
    const ask = { tool, resource, actions: verbs, ttl };
    const context = { asked: { tool, resource, template, grants }, signal };
    try {
      const key = JSON.stringify([tool, resource, verbs ?? null, ttl ?? null]);
      const issued = await this.#cache.get(key, () => this.#calls.exchange(ask, context));
      // Ended while the answer was on its way: it opens nothing any more, or soon will not.
      signal.throwIfAborted();
      return issued;
    } catch (error) {
      if (error instanceof TaskOver) this.#lose(error);
      throw error;
    }
  }

  /** The server has ended or suspended it, or must have. A suspended one can still be ended. */
  #lose(reason: TaskOver): void {
    if (!this.#over.signal.aborted) this.#nothingToEnd = reason.state !== 'suspended';
    this.#close(reason);
  }

  #close(reason: TaskOver): void {
    this.#lease.stop();
    this.#cache.close();
    this.#over.abort(reason);
  }
}

function left(state: Outcome | 'left'): TaskOver {
  return new TaskOver({ reason: 'task_ended', state, says: `the task has ended here: ${state}.` });
}

const methods: ReadonlyMap<string, string> = new Map([
  [subjectTokenType.access_token, 'task.token'],
  [awsCredentialsType, 'task.aws'],
  [azureSasType, 'task.url'],
]);

function wrongKind(tool: string, { issuedTokenType }: Issued): Misconfigured {
  const says = `tool ${tool} gives another kind of credential.`;
  const instead = methods.get(issuedTokenType) ?? 'a newer @mayfly/sdk';
  return new Misconfigured({ reason: 'wrong_credential_kind', says, todo: `Use ${instead}.` });
}
