import { s3Status } from '../e2e/s3.ts';
import { form, opening } from '../e2e/world.ts';
import type { ChaosScene } from './scene.ts';

/** What the clients were told, in a process that no fault reaches. */
export interface ClientLog {
  readonly given: Given[];
  /** Ids of tasks whose end was answered. */
  readonly ended: string[];
  /** Milliseconds between two answers of 200, the longest. */
  longestGapMs: number;
  refused: number;
  /** When something was killed, until a request from after it was answered; null: nothing since. */
  killedAt: number | null;
  /** Milliseconds from each kill to that answer. */
  readonly backAfterMs: number[];
  /** Credentials that were denied before the end of their task. */
  readonly hit: string[];
  /** Answers that no fault explains. */
  readonly wrong: string[];
}

export interface Given {
  readonly issuance: string;
  readonly task: string;
  readonly token: string;
  readonly keys: string;
}

const requestTimeoutMs = 15_000;
const endTries = 200;

export interface ClientOptions {
  readonly count: number;
  /** Grows as they go. */
  readonly log: ClientLog;
  random(): number;
  stopped(): boolean;
}

export function emptyLog(): ClientLog {
  return {
    ...{ given: [], ended: [], hit: [], wrong: [], backAfterMs: [] },
    ...{ longestGapMs: 0, refused: 0, killedAt: null },
  };
}

export async function runClients(
  { world, replicas }: ChaosScene,
  { count, random, stopped, log }: ClientOptions,
): Promise<void> {
  let lastAnswer = performance.now();
  const pick = () =>
    [world.url, ...replicas.map(({ url }) => url)][Math.floor(random() * (replicas.length + 1))];
  const client = async (id: number) => {
    for (let n = 0; !stopped(); n += 1) {
      const body = new URLSearchParams(form(await world.workload(), opening(`client-${id}-${n}`)));
      const askedAt = performance.now();
      const answer = await ask(`${pick()}/token`, { method: 'POST', body });
      if (answer?.status === 200) {
        log.longestGapMs = Math.max(log.longestGapMs, performance.now() - lastAnswer);
        lastAnswer = performance.now();
        if (log.killedAt !== null && askedAt >= log.killedAt) {
          log.backAfterMs.push(lastAnswer - log.killedAt);
          log.killedAt = null;
        }
        const { issuance, task_token: token, access_token: keys } = answer.body;
        const given = { issuance: issuance.id, task: issuance.task, token, keys };
        log.given.push(given);
        if (random() < 0.7) await use(given, log);
      } else if (answer === undefined || answer.status >= 500 || answer.status === 429) log.refused += 1;
      else log.wrong.push(`POST /token: ${answer.status} ${JSON.stringify(answer.body)}`);
      await new Promise((resolve) => setTimeout(resolve, 20 + random() * 100));
    }
  };
  const use = async (given: Given, { hit }: ClientLog) => {
    const status = await s3Status(world, given.keys, '2026q3/a.pdf').catch(() => 0);
    if (status === 403) hit.push(given.issuance);
    if (await end(given, () => `${pick()}`)) log.ended.push(given.task);
  };
  await Promise.all(Array.from({ length: count }, (_, id) => client(id)));
}

/** Until some replica has answered; false when none did, or it was refused. */
export async function end(
  { task, token }: Pick<Given, 'task' | 'token'>,
  url: () => string,
): Promise<boolean> {
  for (let tries = 0; tries < endTries; tries += 1) {
    const answer = await ask(`${url()}/v1/tasks/${task}/end`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ outcome: 'completed' }),
    });
    if (answer?.status === 200) return true;
    if (answer !== undefined && answer.status < 500 && answer.status !== 429) return false;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

// biome-ignore lint/suspicious/noExplicitAny: bodies of two routes; each caller says which
async function ask(url: string, init: RequestInit): Promise<{ status: number; body: any } | undefined> {
  try {
    const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(requestTimeoutMs) });
    return { status: answer.status, body: await answer.json() };
  } catch {
    // Cut, killed, stopped: whether it was done is what the tables say.
    return undefined;
  }
}
