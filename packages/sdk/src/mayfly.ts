import type { Answer } from './connection.ts';
import { Misconfigured, type SourceReport, Unavailable } from './errors.ts';
import { apiRequest } from './requests.ts';
import { Task } from './task.ts';
import { beatOf, grantsOf } from './task-answers.ts';
import { TaskCalls } from './task-calls.ts';
import { asText, asTime } from './wire.ts';
import { type MayflyOptions, type Wiring, wire } from './wiring.ts';

export interface OpenTask {
  readonly template: string;
  readonly params?: Readonly<Record<string, string | number>>;
  /** What it is for; shown to auditors, at most 500 characters. */
  readonly objective?: string;
  /** Names the task: the same ref with the same parameters finds the same open task again. */
  readonly ref?: string;
}

/** One broker, and who we are there: by options, then by the environment (README). */
export class Mayfly {
  /** Origin of the broker. */
  readonly server: string;
  readonly #wiring: Wiring;

  /** Throws Misconfigured. Asks nothing yet. */
  constructor(options: MayflyOptions = {}) {
    this.#wiring = wire(options);
    this.server = this.#wiring.connection.server;
  }

  /**
   * Opens a task, or finds it by `ref`, and keeps its lease; in a process that was started in a task (MAYFLY_TASK_TOKEN)
   * one beneath that. Rejects with Refused, RateLimited, Unavailable, NoIdentity.
   */
  async task(options: OpenTask): Promise<Task> {
    const { connection, identity } = this.#wiring;
    const { template, params = {}, objective, ref } = options;
    const json = {
      template,
      params,
      ...(objective === undefined ? {} : { objective }),
      ...(ref === undefined ? {} : { ref }),
    };
    // The same for every attempt: a lost answer does not leave a second task behind.
    const headers = { 'idempotency-key': crypto.randomUUID() };
    const draft = async () => apiRequest(await identity.subject(), { path: '/v1/tasks', json, headers });
    const answer = await connection.call(draft, { retry: 'repeatable', asked: { template } });
    const calls = this.#callsOf(taskId(answer));
    const tokenMs = calls.adopt(answer.body['taskToken'], answer);
    // Only a first answer holds the task token.
    const beat =
      tokenMs === null ? await calls.heartbeat() : { sentAt: answer.sentAt, ...beatOf(answer, tokenMs) };
    return this.#taskOf(answer, { calls, beat, template, owned: true });
  }

  /** Opens a task for `body`: ends it as completed, or as failed when `body` throws, and throws that on. */
  async run<T>(options: OpenTask, body: (task: Task) => Promise<T> | T): Promise<T> {
    const task = await this.task(options);
    let result: T;
    try {
      result = await body(task);
    } catch (error) {
      // What went wrong in the body is the news; a task that cannot be told ends with its lease.
      await task.fail().catch(() => {});
      throw error;
    }
    await task.complete();
    return result;
  }

  /** The task that this process was started in (MAYFLY_TASK, MAYFLY_TASK_TOKEN). Leaving it does not end it. */
  async current(): Promise<Task> {
    const { env, clock } = this.#wiring;
    const id = env['MAYFLY_TASK'] ?? '';
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id))
      throw new Misconfigured({ reason: 'no_task', says: 'MAYFLY_TASK names no task.' });
    const calls = this.#callsOf(id);
    calls.adopt(env['MAYFLY_TASK_TOKEN'], { sentAt: clock.now() });
    const beat = await calls.heartbeat();
    const answer = await calls.show();
    const template = asText(answer.body['template']) ?? '';
    return this.#taskOf(answer, { calls, beat, template, owned: false });
  }

  /** Where an identity is looked for, which one is taken and why not the others. */
  sources(): Promise<readonly SourceReport[]> {
    return this.#wiring.identity.sources();
  }

  #callsOf(id: string): TaskCalls {
    const { connection, identity, clock } = this.#wiring;
    return new TaskCalls({ id, connection, identity, clock });
  }

  #taskOf(
    answer: Answer,
    parts: {
      calls: TaskCalls;
      beat: Awaited<ReturnType<TaskCalls['heartbeat']>>;
      template: string;
      owned: boolean;
    },
  ): Task {
    const { template, ...rest } = parts;
    const expiresAt = asTime(answer.body['expiresAt']) ?? answer.sentAt;
    const facts = { id: taskId(answer), template, grants: grantsOf(answer.body), expiresAt };
    const { clock, proofKey } = this.#wiring;
    return new Task({ facts, clock, proofKey, ...rest });
  }
}

function taskId({ body, status }: Answer): string {
  const id = asText(body['id']);
  if (id !== undefined && /^tsk_[0-9A-Z]{26}$/.test(id)) return id;
  throw new Unavailable({ reason: 'answer_unreadable', says: 'the answer holds no task.', status }, false);
}
