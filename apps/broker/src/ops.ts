import { createServer, type Server } from 'node:http';
import type { QueueStatus } from '@mayfly/store';
import type { Metrics } from './metrics.ts';
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
  let recovery: string | null = null;
  try {
    const { strongerLogin } = await broker.store.status();
    if (strongerLogin !== null) insecure.push(`databaseLogin:${strongerLogin}`);
    await broker.policies.current();
    // Still ready: ends and the API go on.
    recovery = (await broker.store.recovery.state()).recovery;
    if (!broker.clock.isTrusted()) problem ??= 'clock_off';
  } catch {
    problem ??= 'database_unavailable';
  }
  const body = JSON.stringify({
    ready: problem === null,
    problem,
    insecure,
    ...(recovery === null ? {} : { recoveryRequired: recovery }),
  });
  return { status: problem === null ? 200 : 503, type: 'application/json', body };
}

async function metrics(broker: Wired): Promise<Answer> {
  const { registry } = broker.metrics;
  // Read when asked: a database that is away leaves the last figures, and /readyz says so.
  await broker.store.queueStatus().then(
    (status) => showQueue(status, broker.metrics),
    (error: unknown) => broker.log.warn({ err: error }, 'the work queue could not be read for /metrics'),
  );
  return { status: 200, type: registry.contentType, body: await registry.metrics() };
}

function showQueue({ lanes, unconfirmed, oldestSeconds, irrevocable }: QueueStatus, shown: Metrics): void {
  shown.reaperDue.reset();
  shown.reaperLagSeconds.reset();
  for (const { lane, due, lagSeconds } of lanes) {
    shown.reaperDue.set({ lane: lane || 'tasks' }, due);
    shown.reaperLagSeconds.set({ lane: lane || 'tasks' }, lagSeconds);
  }
  shown.unconfirmed.set(unconfirmed);
  shown.irrevocable.set(irrevocable);
  shown.oldestUnconfirmedSeconds.set(oldestSeconds);
}
