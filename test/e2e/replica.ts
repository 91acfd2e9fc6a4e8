import { join } from 'node:path';
import { completeConfig, createLog, startBroker } from '@mayfly/broker';
import { freePort, type World } from './world.ts';

/** Another broker over the database of a world, under the same issuer. */
export async function startReplica(
  world: World,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const [port, opsPort] = [await freePort(), await freePort()];
  const { signInIssuer, signInClientId } = world.running.broker.config;
  const running = await startBroker({
    config: completeConfig({
      databaseUrl: world.running.databaseUrls.app,
      keyEncryptionKey: join(world.dataDir, 'key-encryption-key'),
      issuer: world.url,
      listen: `127.0.0.1:${port}`,
      opsListen: `127.0.0.1:${opsPort}`,
      allowLoopbackIssuers: [world.file.workloads, world.file.people],
      databaseConnections: 4,
      signInIssuer,
      signInClientId,
      ...settings,
    }),
    env: {},
    environment: 'dev',
    log: createLog({ level: 'info', file: join(world.dataDir, `replica-${port}.log`) }),
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => running.stop() };
}
