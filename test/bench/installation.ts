import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findEmbedded } from '@mayfly/store';
import { request } from 'undici';
import { freePort } from '../e2e/world.ts';
import { type AssertionMaker, createAssertionMaker } from './assertions.ts';
import { type Child, startChild } from './children.ts';
import { Database } from './database.ts';
import { benchDocuments } from './documents.ts';
import { type Caller, callerDocuments, createCallers } from './identities.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A broker as `mayfly serve` runs it, its embedded PostgreSQL, and a stand-in AWS: three processes beside ours. */
export interface Installation {
  readonly origin: string;
  readonly assertions: AssertionMaker;
  readonly callers: readonly Caller[];
  readonly jwksFile: string;
  readonly database: Database;
  /** Every 200 of a mint that we saw; what the database must agree with at the end. */
  answers: number;
  stop(): Promise<void>;
}

export async function startInstallation(options: { cloudLatencyMs: number }): Promise<Installation> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
  chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
  const [port, opsPort] = [await freePort(), await freePort()];
  const origin = `http://127.0.0.1:${port}`;
  const assertions = createAssertionMaker(origin);
  const jwksFile = join(dir, 'jwks.json');
  writeFileSync(jwksFile, JSON.stringify(assertions.jwks));
  const clouds = await startChild(here('clouds.ts'), [
    `${origin}/federation`,
    String(options.cloudLatencyMs),
  ]);
  const bundle = join(dir, 'bundle');
  mkdirSync(bundle);
  const callers = createCallers(origin);
  const keyFileOf = ({ name }: Caller) => join(dir, `${name}.json`);
  for (const caller of callers) writeFileSync(keyFileOf(caller), JSON.stringify(caller.keys));
  const documents = benchDocuments({ jwksFile, aws: clouds.said }) + callerDocuments(callers, keyFileOf);
  writeFileSync(join(bundle, 'bench.yaml'), documents);
  const dataDir = join(dir, 'data');
  const broker = await startBroker({ dataDir, bundle, port, opsPort });
  const found = findEmbedded(dataDir);
  if (found === undefined) throw new Error('the broker runs without its database');
  const database = await Database.connect(found.ownerUrl, { broker: broker.pid, postmaster: found.pid ?? 0 });
  return {
    origin,
    assertions,
    callers,
    jwksFile,
    database,
    answers: 0,
    stop: async () => {
      await database.close();
      await broker.stop();
      await clouds.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function startBroker(options: {
  dataDir: string;
  bundle: string;
  port: number;
  opsPort: number;
}): Promise<Child> {
  const { dataDir, bundle, port, opsPort } = options;
  const env = {
    MAYFLY_DATA_DIR: dataDir,
    MAYFLY_BUNDLE: bundle,
    MAYFLY_LISTEN: `127.0.0.1:${port}`,
    MAYFLY_OPS_LISTEN: `127.0.0.1:${opsPort}`,
    MAYFLY_LOG_LEVEL: 'warn',
  };
  const ready = async () => {
    const answer = await request(`http://127.0.0.1:${opsPort}/readyz`).catch(() => undefined);
    await answer?.body.dump();
    return answer?.statusCode === 200;
  };
  return startChild(here('../../apps/cli/src/main.ts'), ['serve'], { env, ready });
}

export interface BenchTask {
  readonly subject: string;
  readonly id: string;
}

/** Opens tasks of several workloads, so that grants and limits are spread as they are in life. */
export async function openTasks(
  { origin, assertions }: Installation,
  options: { tasks: number; workloads: number },
): Promise<readonly BenchTask[]> {
  const tasks: BenchTask[] = [];
  for (let index = 0; index < options.tasks; index += 1) {
    const subject = `agent-${index % options.workloads}`;
    const answer = await request(`${origin}/v1/tasks`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${assertions.make(subject)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ template: 'bench', params: { quarter: '2026q3' } }),
    });
    const body: unknown = await answer.body.json();
    if (answer.statusCode !== 201) throw new Error(`opening answered ${JSON.stringify(body)}`);
    tasks.push({ subject, id: String(Reflect.get(Object(body), 'id')) });
  }
  return tasks;
}
