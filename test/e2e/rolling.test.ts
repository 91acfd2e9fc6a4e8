import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, freePort, opening, startWorld, type World } from './world.ts';

/** Clients that never rest while each replica is stopped and started again. */
const clients = 4;
const restartsEach = 2;

let world: World;
const replicas: Replica[] = [];

interface Replica {
  readonly url: string;
  start(): Promise<void>;
  /** SIGTERM, and its exit code. */
  stop(): Promise<number | null>;
}

beforeAll(async () => {
  // As many as there is time for: what is asked is whether one is refused for a restart.
  const edit = (text: string) =>
    text.replace(/perMinute: \d+/g, 'perMinute: 100000').replace(/maxOpen: \d+/g, 'maxOpen: 100000');
  world = await startWorld({ edit, settings: { reapInterval: '1h' } });
  for (let index = 0; index < 2; index += 1) replicas.push(await makeReplica(index));
  for (const replica of replicas) await replica.start();
}, 60_000);
afterAll(async () => {
  for (const replica of replicas) await replica.stop();
  await world.stop();
});

async function makeReplica(index: number): Promise<Replica> {
  const [port, opsPort] = [await freePort(), await freePort()];
  const settings = {
    databaseUrl: world.running.databaseUrls.app,
    keyEncryptionKey: join(world.dataDir, 'key-encryption-key'),
    // All speak as one issuer, whose keys the clouds fetch from the world's own broker.
    issuer: world.url,
    listen: `127.0.0.1:${port}`,
    opsListen: `127.0.0.1:${opsPort}`,
    allowLoopbackIssuers: [world.file.workloads, world.file.people],
    databaseConnections: 4,
  };
  const logFile = join(world.dataDir, `rolling-${index}.log`);
  const script = fileURLToPath(new URL('./rolling-child.ts', import.meta.url));
  let child: ChildProcess | undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    start: async () => {
      const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
        env: { PATH: process.env['PATH'] ?? '', ROLLING_CHILD: JSON.stringify({ settings, logFile }) },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      child = started;
      const ended = once(started, 'exit').then(([code]) => {
        throw new Error(`a replica ended with ${code} before it was ready`);
      });
      await Promise.race([once(started.stdout, 'data'), ended]);
      ended.catch(() => undefined);
    },
    stop: async () => {
      if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      return (await gone)[0];
    },
  };
}

interface Seen {
  answered: number;
  handedOn: number;
  readonly failed: string[];
}

/**
 * What a load balancer in front does: a replica that takes no connection, or says that it drains, has done nothing with
 * the request, so the next one gets it. A connection that breaks off later is a failure that the client sees.
 */
async function balanced(ref: string, { first, seen }: { first: number; seen: Seen }): Promise<void> {
  const body = new URLSearchParams(form(await world.workload(), opening(ref)));
  for (let tries = 0; tries < replicas.length; tries += 1) {
    const url = replicas[(first + tries) % replicas.length]?.url;
    const answer = await fetch(`${url}/token`, { method: 'POST', body }).catch((error: unknown) => error);
    if (!(answer instanceof Response)) {
      const code: unknown = Reflect.get(Object(Reflect.get(Object(answer), 'cause')), 'code');
      if (code !== 'ECONNREFUSED') return void seen.failed.push(String(code));
      seen.handedOn += 1;
      continue;
    }
    const said = await answer.text();
    if (answer.status === 200) {
      seen.answered += 1;
      return;
    }
    if (answer.status !== 503 || JSON.parse(said).reason !== 'overloaded')
      return void seen.failed.push(`${answer.status} ${said}`);
    seen.handedOn += 1;
  }
  seen.failed.push('no replica took it');
}

test('two replicas are restarted in turn under load: no request is refused, and each is answered once', async () => {
  const seen: Seen = { answered: 0, handedOn: 0, failed: [] };
  let rolling = true;
  const load = Array.from({ length: clients }, async (_, client) => {
    for (let n = 0; rolling; n += 1) await balanced(`rolling-${client}-${n}`, { first: client + n, seen });
  });
  const codes: (number | null)[] = [];
  const during: number[] = [];
  try {
    for (let round = 0; round < restartsEach; round += 1)
      for (const replica of replicas) {
        const before = seen.answered;
        codes.push(await replica.stop());
        await replica.start();
        during.push(seen.answered - before);
      }
  } finally {
    rolling = false;
  }
  await Promise.all(load);
  expect(Math.min(...during)).toBeGreaterThan(0);
  expect(seen.failed).toEqual([]);
  expect(codes).toEqual([0, 0, 0, 0]);
  // Without this the restarts would not have met the load.
  expect(seen.handedOn).toBeGreaterThan(0);
  const [row] = await world.sql<{ issued: number; delivered: number }>(
    `select count(*)::int as issued, count(d.issuance_id)::int as delivered from issuance i
     left join issuance_delivery d on d.issuance_id = i.id
     where i.purpose = 'agent' and i.decision = 'allow'`,
  );
  expect(row).toEqual({ issued: seen.answered, delivered: seen.answered });
}, 120_000);
