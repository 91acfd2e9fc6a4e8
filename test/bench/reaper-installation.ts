import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Embedded, migrate, startEmbedded } from '@mayfly/store';
import pg from 'pg';
import { request } from 'undici';
import { freePort } from '../e2e/world.ts';
import { type AssertionMaker, createAssertionMaker } from './assertions.ts';
import { type Child, startChild } from './children.ts';
import { reaperDocuments } from './reaper-documents.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A database that outlives the broker, so that a restart can be measured; two stand-in clouds in one more process. */
export interface ReaperBench {
  readonly origin: string;
  readonly assertions: AssertionMaker;
  /** Milliseconds until /readyz answered 200. */
  start(revokeConcurrency: number): Promise<{ readyMs: number; child: Child }>;
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  makeSecrets(from: number, to: number): Promise<void>;
  /** Secrets of the bench that the cluster still has. */
  secretsLeft(): Promise<number>;
  stop(): Promise<void>;
}

export async function startReaperBench(cloudLatencyMs: number): Promise<ReaperBench> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-reaper-'));
  chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
  const [port, opsPort] = [await freePort(), await freePort()];
  const origin = `http://127.0.0.1:${port}`;
  const assertions = createAssertionMaker(origin);
  const jwksFile = join(dir, 'jwks.json');
  writeFileSync(jwksFile, JSON.stringify(assertions.jwks));
  const keyFile = join(dir, 'key');
  writeFileSync(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 });
  const caFile = join(dir, 'ca.pem');
  const clouds = await startChild(here('reaper-clouds.ts'), [
    `${origin}/federation`,
    String(cloudLatencyMs),
    caFile,
  ]);
  const { aws, cluster, control } = JSON.parse(clouds.said) as Record<'aws' | 'cluster' | 'control', string>;
  const bundle = join(dir, 'bundle');
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'bench.yaml'), reaperDocuments({ jwksFile, aws, cluster, caFile }));
  const embedded: Embedded = await startEmbedded({ dataDir: join(dir, 'data'), log: () => undefined });
  await migrate(embedded.ownerUrl);
  const client = new pg.Client({ connectionString: embedded.ownerUrl });
  await client.connect();
  const env = {
    DATABASE_URL: embedded.appUrl,
    MAYFLY_KEY_ENCRYPTION_KEY: keyFile,
    MAYFLY_DATA_DIR: join(dir, 'broker'),
    MAYFLY_BUNDLE: bundle,
    MAYFLY_LISTEN: `127.0.0.1:${port}`,
    MAYFLY_OPS_LISTEN: `127.0.0.1:${opsPort}`,
    MAYFLY_LOG_LEVEL: 'warn',
    MAYFLY_LOG_FILE: join(dir, 'broker.log'),
  };
  const ready = async () => {
    const answer = await request(`http://127.0.0.1:${opsPort}/readyz`).catch(() => undefined);
    await answer?.body.dump();
    return answer?.statusCode === 200;
  };
  let running: Child | undefined;
  return {
    origin,
    assertions,
    start: async (revokeConcurrency) => {
      const from = performance.now();
      const child = await startChild(here('../../apps/cli/src/main.ts'), ['serve'], {
        // Calls at once are what is measured: a second's worth of them is not what bounds it.
        env: { ...env, MAYFLY_REVOKE_CONCURRENCY: String(revokeConcurrency), MAYFLY_REVOKE_RATE: '20000' },
        ready,
      });
      running = child;
      return { readyMs: performance.now() - from, child };
    },
    sql: async (text, values = []) => (await client.query<Record<string, unknown>>(text, values)).rows,
    makeSecrets: async (from, to) => {
      const answer = await request(`${control}/?from=${from}&to=${to}`, { method: 'POST' });
      await answer.body.dump();
    },
    secretsLeft: async () => Number(await (await request(control)).body.text()),
    stop: async () => {
      await running?.stop();
      await client.end();
      await clouds.stop();
      await embedded.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resident memory in MB, now and at most; NaN where there is no /proc. */
export function memoryOf(pid: number): { residentMb: number; peakMb: number } {
  const read = (name: string) => {
    try {
      const text = readFileSync(`/proc/${pid}/status`, 'utf8');
      return Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1]) / 1024);
    } catch {
      return Number.NaN;
    }
  };
  return { residentMb: read('VmRSS'), peakMb: read('VmHWM') };
}
