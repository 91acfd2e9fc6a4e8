import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Embedded, migrate, startEmbedded } from '@mayfly/store';
import pg from 'pg';
import { freePort, startWorld, type World } from '../e2e/world.ts';
import { type FaultProxy, startProxy } from './proxy.ts';
import { type ReplicaProcess, replicaProcess } from './replicas.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';

/** Real parts on loopback: PostgreSQL behind a proxy, a stand-in AWS with its ledger, one broker here and two to be killed. */
export interface ChaosScene {
  readonly world: World;
  /** Before the database, and before the cloud. */
  readonly proxy: FaultProxy;
  readonly cloudProxy: FaultProxy;
  /** What PostgreSQL keeps everything on; or why that is no disk that can be full. */
  readonly disk: SmallDisk | string;
  readonly replicas: readonly ReplicaProcess[];
  /** Past the proxy, as the owner. */
  sql(text: string): Promise<Record<string, unknown>[]>;
  /** SIGKILL to the postmaster; answers once PostgreSQL has recovered and listens again. */
  killPostgres(): Promise<void>;
  /** Answers once PostgreSQL does; where it has ended, it is started again. */
  postgresBack(): Promise<void>;
  stop(): Promise<void>;
}

const postmasterGoneMs = 10_000;

export async function startScene(): Promise<ChaosScene> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-chaos-'));
  chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { mode: 0o711 });
  const disk = mountSmallDisk(dataDir);
  const start = () => startEmbedded({ dataDir, log: () => undefined });
  let embedded: Embedded = await start();
  // As much as fits the disk; the default is for a real one.
  await asSuperuser(embedded, dataDir, "alter system set max_wal_size = '96MB'", 'select pg_reload_conf()');
  await migrate(embedded.ownerUrl);
  const proxy = await startProxy();
  const behind = () => Number(new URL(embedded.appUrl).port);
  proxy.target(behind());
  const databaseUrl = embedded.appUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const keyEncryptionKey = join(dir, 'key');
  writeFileSync(keyEncryptionKey, randomBytes(32).toString('base64'), { mode: 0o600 });
  const cloudProxy = await startProxy();
  // Brokers reach the cloud through the proxy; limits and deviations are not what is asked here.
  const edit = (text: string) =>
    throughProxy(text, cloudProxy)
      .replace(/perMinute: \d+/g, 'perMinute: 100000')
      .replace(/maxOpen: \d+/g, 'maxOpen: 100000');
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
  const restart = async () => {
    await retried(async () => {
      embedded = await start();
    });
    proxy.target(behind());
    proxy.cut();
  };
  return {
    ...{ world, proxy, cloudProxy, disk, replicas },
    sql: (text) => asOwner(embedded.ownerUrl, text),
    killPostgres: async () => {
      const { pid } = embedded;
      if (pid === undefined) throw new Error('no postmaster to kill');
      process.kill(pid, 'SIGKILL');
      await restart();
    },
    postgresBack: async () => {
      if (!isAlive(embedded.pid)) return restart();
      await retried(() => asOwner(embedded.ownerUrl, 'select 1'));
    },
    stop: async () => {
      for (const replica of replicas) await replica.end();
      await world.stop();
      await proxy.close();
      await cloudProxy.close();
      await embedded.stop();
      if (typeof disk !== 'string') disk.unmount();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The addresses of the cloud's services, in every document that names them. */
function throughProxy(text: string, cloudProxy: FaultProxy): string {
  return text.replace(/\b(sts|iam|s3): "http:\/\/127\.0\.0\.1:(\d+)"/g, (_, service, port) => {
    cloudProxy.target(Number(port));
    return `${service}: "http://127.0.0.1:${cloudProxy.port}"`;
  });
}

async function asOwner(url: string, ...texts: readonly string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const text of texts) rows = (await client.query<Record<string, unknown>>(text)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

async function asSuperuser({ ownerUrl }: Embedded, dataDir: string, ...texts: string[]): Promise<void> {
  const passwords: unknown = JSON.parse(readFileSync(join(dataDir, 'postgres-passwords.json'), 'utf8'));
  const url = new URL(ownerUrl);
  url.username = 'postgres';
  url.password = encodeURIComponent(String(Reflect.get(Object(passwords), 'superuser')));
  await asOwner(url.href, ...texts);
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The backends of a killed postmaster may hold the data folder for a moment; one that recovers refuses for a while. */
async function retried(run: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + postmasterGoneMs;
  for (;;) {
    try {
      await run();
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
