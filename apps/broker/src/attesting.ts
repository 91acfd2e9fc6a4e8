import { readFile } from 'node:fs/promises';
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
    readFile: (path) => readFile(path, 'utf8'),
  };
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
