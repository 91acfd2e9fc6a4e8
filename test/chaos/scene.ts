import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Embedded, migrate, startEmbedded } from '@mayfly/store';
import pg from 'pg';
import { freePort, startWorld, type World } from '../e2e/world.ts';
import { type FaultProxy, startProxy } from './proxy.ts';
import { type ReplicaProcess, replicaProcess } from './replicas.ts';

/** Real parts on loopback: PostgreSQL behind a proxy, a stand-in AWS with its ledger, one broker here and two to be killed. */
export interface ChaosScene {
  readonly world: World;
  readonly proxy: FaultProxy;
  readonly replicas: readonly ReplicaProcess[];
  /** Past the proxy, as the owner. */
  sql(text: string): Promise<Record<string, unknown>[]>;
  /** SIGKILL to the postmaster; answers once PostgreSQL has recovered and listens again. */
  killPostgres(): Promise<void>;
  stop(): Promise<void>;
}

const postmasterGoneMs = 10_000;

export async function startScene(): Promise<ChaosScene> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-chaos-'));
  chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
  const start = () => startEmbedded({ dataDir: join(dir, 'data'), log: () => undefined });
  let embedded: Embedded = await start();
  await migrate(embedded.ownerUrl);
  const proxy = await startProxy();
  const behind = () => Number(new URL(embedded.appUrl).port);
  proxy.target(behind());
  const databaseUrl = embedded.appUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const keyEncryptionKey = join(dir, 'key');
  writeFileSync(keyEncryptionKey, randomBytes(32).toString('base64'), { mode: 0o600 });
  // Limits and deviations are not what is asked here.
  const edit = (text: string) =>
    text.replace(/perMinute: \d+/g, 'perMinute: 100000').replace(/maxOpen: \d+/g, 'maxOpen: 100000');
  const world = await startWorld({
    databaseUrl,
    keyEncryptionKey,
    edit,
    settings: { dataDir: join(dir, 'world') },
  });
  const replicas: ReplicaProcess[] = [];
  for (const name of ['one', 'two']) {
    const [port, opsPort] = [await freePort(), await freePort()];
    const settings = {
      ...{
        databaseUrl,
        keyEncryptionKey,
        issuer: world.url,
        dataDir: join(dir, name),
        databaseConnections: 4,
      },
      ...{ listen: `127.0.0.1:${port}`, opsListen: `127.0.0.1:${opsPort}` },
      allowLoopbackIssuers: [world.file.workloads, world.file.people],
    };
    const replica = replicaProcess(`http://127.0.0.1:${port}`, {
      settings,
      logFile: join(dir, `${name}.log`),
    });
    await replica.start();
    replicas.push(replica);
  }
  return {
    ...{ world, proxy, replicas },
    sql: async (text) => {
      const client = new pg.Client({ connectionString: embedded.ownerUrl });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text)).rows;
      } finally {
        await client.end();
      }
    },
    killPostgres: async () => {
      const { pid } = embedded;
      if (pid === undefined) throw new Error('no postmaster to kill');
      process.kill(pid, 'SIGKILL');
      await restarted(async () => {
        embedded = await start();
      });
      proxy.target(behind());
      proxy.cut();
    },
    stop: async () => {
      for (const replica of replicas) await replica.end();
      await world.stop();
      await proxy.close();
      await embedded.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Its backends may hold the data folder for a moment longer than the postmaster lives. */
async function restarted(start: () => Promise<void>): Promise<void> {
  const until = Date.now() + postmasterGoneMs;
  for (;;) {
    try {
      await start();
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
