import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, loadConfig, loadKeys, readInstallationKek, refuseUnmigrated } from '@mayfly/broker';
import { createStore, findEmbedded, type Store, startEmbedded } from '@mayfly/store';
import { fail } from './exit.ts';

/** Flags of every command that runs on the server itself. */
export interface ConfigFlags {
  readonly config?: string;
}

export function load({ config }: ConfigFlags, flags: Readonly<Record<string, unknown>> = {}): Config {
  return loadConfig({ file: config, env: process.env, flags });
}

/** The store of an installation that is there: that of DATABASE_URL, or the embedded one, running or started for this. */
export async function withStore<T>(
  config: Config,
  run: (store: Store, kek: Buffer) => Promise<T>,
): Promise<T> {
  const kek = readInstallationKek(config, { env: process.env, create: false });
  const { url, stop } = await databaseOf(config);
  await refuseUnmigrated(url).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const mac: { current?: (bytes: Uint8Array) => Buffer } = {};
  const store = createStore({
    url,
    connections: 2,
    endingConnections: 2,
    reapAgeSeconds: config.reapAge / 1000,
    onError: (error) => console.error(error.message),
    rowMac: (bytes) => mac.current?.(bytes) ?? fail(3, 'keys are not loaded'),
  });
  try {
    mac.current = (await loadKeys(store, kek)).mac;
    return await run(store, kek);
  } finally {
    await store.close();
    await stop();
  }
}

async function databaseOf({
  databaseUrl,
  dataDir,
}: Config): Promise<{ url: string; stop(): Promise<unknown> }> {
  if (databaseUrl !== undefined) return { url: databaseUrl, stop: async () => undefined };
  if (!existsSync(join(dataDir, 'postgres')))
    fail(2, `no database in ${dataDir}; start \`mayfly serve\` once, or set DATABASE_URL`);
  const { appUrl, stop } = findEmbedded(dataDir) ?? (await startEmbedded({ dataDir, log: () => undefined }));
  return { url: appUrl, stop };
}
