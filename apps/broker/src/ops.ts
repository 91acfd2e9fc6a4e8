import { createServer, type Server } from 'node:http';
import type { Wired } from './wire.ts';

/** /livez, /readyz and /metrics on their own address: never reachable by agents. */
export function createOpsServer(broker: Wired): Server {
  return createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    const answer =
      path === '/livez'
        ? live()
        : path === '/readyz'
          ? ready(broker)
          : path === '/metrics'
            ? metrics(broker)
            : undefined;
    if (answer === undefined) {
      response.writeHead(404).end();
      return;
    }
    answer
      .then(({ status, type, body }) =>
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body),
      )
      .catch(() => response.writeHead(503).end());
  });
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function live(): Promise<Answer> {
  return { status: 200, type: 'text/plain', body: 'ok\n' };
}

/** Ready: not draining, database reachable, policy loadable. Weakened settings are named, never hidden. */
async function ready(broker: Wired): Promise<Answer> {
  const insecure = [...broker.config.insecure];
  let problem = broker.draining() ? 'draining' : null;
  try {
    const { strongerLogin } = await broker.store.status();
    if (strongerLogin !== null) insecure.push(`databaseLogin:${strongerLogin}`);
    await broker.policies.current();
    if (!broker.clock.isTrusted()) problem ??= 'clock_off';
  } catch {
    problem ??= 'database_unavailable';
  }
  const body = JSON.stringify({ ready: problem === null, problem, insecure });
  return { status: problem === null ? 200 : 503, type: 'application/json', body };
}

async function metrics({ metrics: { registry } }: Wired): Promise<Answer> {
  return { status: 200, type: registry.contentType, body: await registry.metrics() };
}
