import { createServer, type RequestListener } from 'node:http';
import { Fault, Refusal, type TrustedIssuer } from '@mayfly/core';
import { pattern } from '@mayfly/testkit';
import type { FetchLimits } from '../src/jwt/fetch-json.ts';
import type { AttestorOptions } from '../src/options.ts';

export function trusted(more: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return {
    name: 'prod-k8s',
    type: 'oidc',
    issuer: 'https://issuer.test',
    audience: 'https://mayfly.test',
    jwksUri: null,
    jwksFile: 'keys.json',
    bundleUrl: null,
    bundleFile: null,
    caFile: null,
    tokenFile: null,
    tokenReview: null,
    pullRequests: 'refuse',
    algorithms: ['ES256'],
    subjects: [pattern('system:serviceaccount:finance:*')],
    claims: [],
    maxLifetimeSeconds: 3600,
    replay: 'reuse',
    people: false,
    events: null,
    ...more,
  };
}

/** As the broker's own defaults, without a network: names resolve to nothing. */
export function attestorOptions(more: Partial<AttestorOptions> = {}): AttestorOptions {
  return {
    skewSeconds: 30,
    fetch: fetchLimits(),
    keys: { keysMax: 32, refetchPauseMs: 30_000, freshMsMax: 600_000 },
    token: { charactersMax: 16_384, depthMax: 8 },
    tokenFiles: [],
    workloadApi: null,
    readFile: async (path) => Promise.reject(new Error(`ENOENT: ${path}`)),
    ...more,
  };
}

export function fetchLimits(more: Partial<FetchLimits> = {}): FetchLimits {
  return {
    allowLoopbackOrigins: [],
    allowPrivateOrigins: [],
    resolve: async () => [],
    timeoutMs: 2_000,
    bodyBytesMax: 65_536,
    ...more,
  };
}

/** Reason and detail of a refusal or fault, or `accepted`. */
export async function outcome(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return `${error.reason}: ${error.detail}`;
    if (error instanceof Fault) return `${error.reason} (${error.effect}): ${error.detail}`;
    return `bare error: ${error}`;
  }
}

export interface TestServer {
  readonly origin: string;
  readonly port: number;
  /** Paths asked for, in order. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** A real server on loopback; it counts what it is asked before it answers. */
export async function serve(answer: RequestListener, host = '127.0.0.1', wanted = 0): Promise<TestServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(wanted, host, resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    origin: `http://${host}:${port}`,
    port,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
