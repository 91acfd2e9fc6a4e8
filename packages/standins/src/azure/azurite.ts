import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Certificate, selfSigned } from '../tls/self-signed.ts';

export interface Azurite {
  /** Blob endpoint; accounts are its first path segment. */
  readonly url: string;
  readonly certificate: Certificate;
  /** The account's own key, for whoever seeds it. */
  readonly account: { readonly name: string; readonly key: string };
  close(): Promise<void>;
}

/** It was ready within 1.1 s; a loaded machine takes its time. */
const readyMs = 20_000;

/**
 * Microsoft's Azurite, its blob service alone, in a process of its own over https. It enforces SAS and expiry; it takes
 * any bearer token with the right claims, knows no roles, no directories and no `scid`, and cannot revoke keys.
 */
export async function startAzurite(
  options: { account?: string; certificate?: Certificate } = {},
): Promise<Azurite> {
  const { account: name = 'invoices', certificate = selfSigned() } = options;
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-azurite-'));
  const key = randomBytes(64).toString('base64');
  const file = (file: string, text: string) => {
    writeFileSync(join(folder, file), text, { mode: 0o600 });
    return join(folder, file);
  };
  const child = spawn(
    process.execPath,
    [
      createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js'),
      ...['--blobHost', '127.0.0.1', '--blobPort', '0', '--inMemoryPersistence'],
      ...['--cert', file('cert.pem', certificate.cert), '--key', file('key.pem', certificate.key)],
      // Newer clients name versions that it does not know; telemetry would leave the machine.
      ...['--oauth', 'basic', '--skipApiVersionCheck', '--disableTelemetry'],
    ],
    {
      env: { ...process.env, AZURITE_ACCOUNTS: `${name}:${key}`, NODE_OPTIONS: '' },
      cwd: folder,
      stdio: 'pipe',
    },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const close = async () => {
    child.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    return { url: await readUrl(child), certificate, account: { name, key }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** From the line that it prints once it listens. */
function readUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`Azurite is not ready: ${said}`)), readyMs);
    const settle = (done: () => void) => {
      clearTimeout(timer);
      done();
    };
    const read = (chunk: Buffer) => {
      said += chunk.toString('utf8');
      const [url] = /https:\/\/127\.0\.0\.1:[1-9][0-9]*/.exec(said) ?? [];
      if (url !== undefined && said.includes('successfully')) settle(() => resolve(url));
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', (error) => settle(() => reject(error)));
    child.once('exit', () => settle(() => reject(new Error(`Azurite ended: ${said}`))));
  });
}
