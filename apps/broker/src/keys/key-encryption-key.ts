import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Config, ConfigError } from '../config.ts';

const keyBytes = 32;

/**
 * The one secret that replicas share: 32 bytes in base64, by reference only. With `create` (the embedded database)
 * a missing file is made, mode 0600.
 */
export function readKeyEncryptionKey(
  reference: { readonly file: string } | { readonly env: string },
  options: { create: boolean; env: Readonly<Record<string, string | undefined>> },
): Buffer {
  if ('env' in reference)
    return decode(options.env[reference.env] ?? '', `environment variable ${reference.env}`);
  const { file } = reference;
  if (options.create && !existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, `${randomBytes(keyBytes).toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
    chmodSync(file, 0o600);
  }
  return decode(readText(file), file);
}

/** The key of this installation: as configured, or beside the embedded database, where it may be made. */
export function readInstallationKek(
  { databaseUrl, keyEncryptionKey, dataDir }: Config,
  { env, create }: { create: boolean; env: Readonly<Record<string, string | undefined>> },
): Buffer {
  const reference = keyEncryptionKey ?? { file: join(dataDir, 'key-encryption-key') };
  const own = databaseUrl === undefined && keyEncryptionKey === undefined;
  return readKeyEncryptionKey(reference, { create: create && own, env });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new ConfigError([`keyEncryptionKey: ${file} cannot be read`]);
  }
}

/** Not refused: secrets mounted into a container are often 0644 there, and nobody else is. */
export function isKekOpenToAll({
  keyEncryptionKey,
  dataDir,
}: Pick<Config, 'keyEncryptionKey' | 'dataDir'>): boolean {
  const reference = keyEncryptionKey ?? { file: join(dataDir, 'key-encryption-key') };
  return 'file' in reference && existsSync(reference.file) && (statSync(reference.file).mode & 0o007) !== 0;
}

function decode(text: string, source: string): Buffer {
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length !== keyBytes || key.toString('base64') !== text.trim())
    throw new ConfigError([`keyEncryptionKey: ${source} does not hold 32 bytes in base64`]);
  return key;
}
