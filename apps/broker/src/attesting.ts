import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { type AttestorOptions, issuerOf, resolveHost } from '@mayfly/attestors';
import type { Config } from './config.ts';
import type { PolicyCache } from './policy-cache.ts';
import { splitTokenFile } from './settings.ts';

/** What the configuration says of attestors. */
export function attestorOptions(config: Config): AttestorOptions {
  return {
    skewSeconds: config.clockSkew / 1000,
    fetch: {
      allowLoopbackOrigins: config.allowLoopbackIssuers,
      allowPrivateOrigins: config.allowPrivateIssuers,
      resolve: resolveHost,
      timeoutMs: config.issuerTimeout,
      bodyBytesMax: config.issuerBodyMax,
    },
    keys: {
      keysMax: config.issuerKeysMax,
      refetchPauseMs: config.issuerRefetchPause,
      freshMsMax: config.issuerKeysAge,
    },
    token: tokenLimits(config),
    tokenFiles: config.allowTokenFiles.flatMap((entry) => splitTokenFile(entry) ?? []),
    workloadApi: config.spiffeEndpointSocket ?? null,
    readFile: (path) => readRegularFile(path, config.issuerBodyMax),
  };
}

/** Documents name files: a pipe, a device or a file without end must hold nothing up. Rejects with what is wrong with it. */
export async function readRegularFile(path: string, bytesMax: number): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Error('not a regular file');
    // As large as it is, not as it may be: some are read at every call. One byte more shows that it grew meanwhile.
    const size = Math.min(stat.size, bytesMax);
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(size + 1), 0, size + 1, 0);
    if (bytesRead > size) throw new Error('too large');
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Which issuer an assertion is routed to, under the set in use here. */
export function createRoute(
  config: Config,
  policies: Pick<PolicyCache, 'known'>,
): (assertion: string) => string | undefined {
  const token = tokenLimits(config);
  const isRegistered = (iss: string) => policies.known()?.issuers.has(iss) ?? false;
  return (assertion) => issuerOf(assertion, { token, isRegistered });
}

function tokenLimits({ assertionMax, assertionDepth }: Config): AttestorOptions['token'] {
  return { charactersMax: assertionMax, depthMax: assertionDepth };
}
