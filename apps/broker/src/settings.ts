import { z } from 'zod';
import { isLoopbackHost } from './net.ts';

/** Every setting of the broker: its place in mayfly.yaml, its environment variable, its meaning. docs/config.md is generated from it. */
export interface Setting {
  readonly env: string;
  readonly type: z.ZodType;
  readonly says: string;
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `10s`, `250ms`, `5m`: strict, because `Math.min(Number("900s"), 900)` is NaN. Milliseconds inside. */
export function durationMs(fallback: string, { min = 0, max = 86_400_000 } = {}) {
  return z
    .string()
    .regex(/^[1-9][0-9]{0,8}(ms|s|m|h|d)$/, { error: 'a duration such as 10s, 250ms or 5m' })
    .default(fallback)
    .transform((text, context) => {
      const [, digits = '', unit = ''] = /^([0-9]+)([a-z]+)$/.exec(text) ?? [];
      const ms = Number.parseInt(digits, 10) * (units[unit] ?? Number.NaN);
      if (ms >= min && ms <= max) return ms;
      context.addIssue({ code: 'custom', message: `between ${min} and ${max} ms` });
      return z.NEVER;
    });
}

const count = (fallback: number, max: number) => z.coerce.number().int().min(1).max(max).default(fallback);
const list = z
  .union([z.string().transform((text) => text.split(',').map((part) => part.trim())), z.array(z.string())])
  .transform((parts) => parts.filter((part) => part !== ''))
  .default([]);
const origin = z
  .string()
  .refine(isOrigin, { error: 'an origin such as https://mayfly.example, without path' });
const address = (fallback: string) =>
  z
    .string()
    .regex(/^(\[[0-9a-f:]+\]|[^:\s]+):[0-9]{1,5}$/i, { error: 'HOST:PORT' })
    .default(fallback);
const path = z.string().min(1).optional();
const database = z
  .string()
  .refine((text) => /^postgres(ql)?:\/\//.test(text) && URL.canParse(text), 'not a postgres:// URL')
  .optional();

const providerName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);

/** A secret is only ever a reference: `{env: NAME}`, `{file: PATH}`; the environment variable holds the file's path. */
export const secretReference = z.union([
  z.strictObject({ file: z.string().min(1) }),
  z.strictObject({ env: z.string().min(1) }),
  z
    .string()
    .min(1)
    .transform((file) => ({ file })),
]);

/** `PROVIDER=/FILE,...` in the environment, a mapping of names to references in mayfly.yaml. */
const providerKeys = z
  .union(
    [
      z
        .string()
        .transform((text) => text.split(',').map((part) => part.trim().split('=')))
        .pipe(z.array(z.tuple([providerName, z.string().startsWith('/')])))
        .refine((pairs) => new Set(pairs.map(([name]) => name)).size === pairs.length)
        .transform((pairs) => Object.fromEntries(pairs.map(([name, file]) => [name, { file }]))),
      z.record(
        providerName,
        z.union([z.strictObject({ file: z.string().min(1) }), z.strictObject({ env: z.string().min(1) })]),
      ),
    ],
    { error: 'PROVIDER=/FILE, or a mapping of Providers to { file } or { env }' },
  )
  .default({});

export const settings = {
  databaseUrl: {
    env: 'DATABASE_URL',
    type: database,
    says: 'PostgreSQL >= 15; unset: the embedded one in the data directory',
  },
  migrateDatabaseUrl: {
    env: 'MAYFLY_MIGRATE_DATABASE_URL',
    type: database,
    says: 'login of the owner, for `mayfly migrate`; default: DATABASE_URL',
  },
  dataDir: {
    env: 'MAYFLY_DATA_DIR',
    type: z.string().min(1).default('.mayfly'),
    says: 'data directory, mode 0700',
  },
  keyEncryptionKey: {
    env: 'MAYFLY_KEY_ENCRYPTION_KEY',
    type: secretReference.optional(),
    says: 'file with 32 bytes in base64; made at first start for the embedded database only',
  },
  issuer: {
    env: 'MAYFLY_ISSUER',
    type: origin.optional(),
    says: 'issuer of the broker, an origin; https unless loopback; default: the listen address',
  },
  federationIssuer: {
    env: 'MAYFLY_FEDERATION_ISSUER',
    type: z.url().optional(),
    says: 'issuer of the assertions shown to clouds; default: ISSUER/federation',
  },
  listen: { env: 'MAYFLY_LISTEN', type: address('127.0.0.1:8080'), says: 'address of the API' },
  opsListen: {
    env: 'MAYFLY_OPS_LISTEN',
    type: address('127.0.0.1:9464'),
    says: 'address of /livez, /readyz and /metrics',
  },
  tlsCert: {
    env: 'MAYFLY_TLS_CERT',
    type: path,
    says: 'certificate chain, PEM; with tlsKey the API speaks TLS',
  },
  tlsKey: { env: 'MAYFLY_TLS_KEY', type: path, says: 'private key of the certificate, PEM file' },
  tlsClientCertificates: {
    env: 'MAYFLY_TLS_CLIENT_CERTIFICATES',
    type: z.enum(['off', 'request']).default('off'),
    says: 'request: our own TLS asks clients for a certificate, to bind tokens to it (RFC 8705); any issuer, no one need have one',
  },
  clientCertificateHeader: {
    env: 'MAYFLY_CLIENT_CERTIFICATE_HEADER',
    type: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,63}$/, { error: 'a header name in lower case' })
      .optional(),
    says: 'header in which trustedProxies hand on the certificate of their client (RFC 9440 or percent-encoded PEM); not with tlsClientCertificates',
  },
  dpopWindow: {
    env: 'MAYFLY_DPOP_WINDOW',
    type: durationMs('60s', { min: 1_000, max: 600_000 }),
    says: 'how far `iat` of a DPoP proof without nonce may be off',
  },
  dpopNonce: {
    env: 'MAYFLY_DPOP_NONCE',
    type: z.enum(['offered', 'required']).default('offered'),
    says: 'required: a DPoP proof without a nonce of ours is refused with use_dpop_nonce',
  },
  trustedProxies: {
    env: 'MAYFLY_TRUSTED_PROXIES',
    type: list,
    says: 'CIDRs of proxies that terminate TLS before the broker',
  },
  bundle: { env: 'MAYFLY_BUNDLE', type: path, says: 'folder of documents applied at start as set `bundle`' },
  allowLoopbackIssuers: {
    env: 'MAYFLY_ALLOW_LOOPBACK_ISSUERS',
    type: list,
    says: 'exact origins of http issuers on loopback; only while the issuer is loopback too',
  },
  allowPrivateIssuers: {
    env: 'MAYFLY_ALLOW_PRIVATE_ISSUERS',
    type: list,
    says: 'exact https origins of issuers on private addresses',
  },
  allowTokenFiles: {
    env: 'MAYFLY_ALLOW_TOKEN_FILES',
    type: list.refine((entries) => entries.every((entry) => splitTokenFile(entry) !== undefined), {
      error: 'entries such as https://10.0.0.1:6443=/var/run/secrets/kubernetes.io/serviceaccount/token',
    }),
    says: 'ORIGIN=FILE: which bearer token file a TrustedIssuer or Provider may have shown to which https origin; loopback may be http',
  },
  spiffeEndpointSocket: {
    env: 'SPIFFE_ENDPOINT_SOCKET',
    type: z
      .string()
      .regex(/^(unix:\/|tcp:\/\/[0-9.]+:[0-9]{1,5}$)/, { error: 'unix:///PATH or tcp://ADDRESS:PORT' })
      .optional(),
    says: 'SPIFFE Workload API: keys of trust domains whose document names no bundle',
  },
  issuerTimeout: {
    env: 'MAYFLY_ISSUER_TIMEOUT',
    type: durationMs('3s', { min: 50, max: 30_000 }),
    says: 'longest time of one fetch from an issuer: name look-up, connection, headers and body together',
  },
  issuerBodyMax: {
    env: 'MAYFLY_ISSUER_BODY_MAX',
    type: count(65_536, 1_048_576),
    says: 'bytes of one answer of an issuer; a key set is a few thousand',
  },
  issuerKeysMax: {
    env: 'MAYFLY_ISSUER_KEYS_MAX',
    type: count(32, 1_000),
    says: 'keys of one issuer; a set with more is refused whole',
  },
  issuerKeysAge: {
    env: 'MAYFLY_ISSUER_KEYS_AGE',
    type: durationMs('10m', { min: 60_000, max: 86_400_000 }),
    says: 'longest time that keys are used before they are read again, whatever max-age the issuer states',
  },
  issuerRefetchPause: {
    env: 'MAYFLY_ISSUER_REFETCH_PAUSE',
    type: durationMs('30s', { min: 1_000 }),
    says: 'how often an unknown kid may make the keys be read again',
  },
  issuersCached: {
    env: 'MAYFLY_ISSUERS_CACHED',
    type: count(1_000, 100_000),
    says: 'issuers whose keys are kept in memory; the one made first goes first',
  },
  assertionMax: {
    env: 'MAYFLY_ASSERTION_MAX',
    type: count(16_384, 65_536),
    says: 'characters of an assertion',
  },
  assertionDepth: {
    env: 'MAYFLY_ASSERTION_DEPTH',
    type: count(8, 32),
    says: 'levels of objects and lists within an assertion',
  },
  providerEndpoints: {
    env: 'MAYFLY_PROVIDER_ENDPOINTS',
    type: list,
    says: 'exact origins that Provider documents may name',
  },
  providerKeys: {
    env: 'MAYFLY_PROVIDER_KEYS',
    type: providerKeys,
    says: 'PROVIDER=FILE: private key, PEM, of a Provider whose cloud knows no federation (github), read at each use; docs/adr/0010',
  },
  mintDeadline: {
    env: 'MAYFLY_MINT_DEADLINE',
    type: durationMs('10s', { min: 100, max: 60_000 }),
    says: 'longest time of one mint',
  },
  maxPause: {
    env: 'MAYFLY_MAX_PAUSE',
    type: durationMs('15s', { min: 100 }),
    says: 'longest pause of the process that is reckoned with',
  },
  clockSkew: {
    env: 'MAYFLY_CLOCK_SKEW',
    type: durationMs('30s', { min: 0, max: 300_000 }),
    says: 'how far clocks may differ',
  },
  reapAge: {
    env: 'MAYFLY_REAP_AGE',
    type: durationMs('60s', { min: 100 }),
    says: 'age at which an unfinished intent is reaped; above deadline + pause + skew',
  },
  reapInterval: {
    env: 'MAYFLY_REAP_INTERVAL',
    type: durationMs('1s', { min: 50 }),
    says: 'pause between reaper passes that found nothing',
  },
  revokeConcurrency: {
    env: 'MAYFLY_REVOKE_CONCURRENCY',
    type: count(50, 1000),
    says: 'revocation calls of one provider at once',
  },
  revokeRate: {
    env: 'MAYFLY_REVOKE_RATE',
    type: count(2_000, 100_000),
    says: 'revocation calls of one provider each second',
  },
  requestTimeout: {
    env: 'MAYFLY_REQUEST_TIMEOUT',
    type: durationMs('15s', { min: 100, max: 60_000 }),
    says: 'time to receive a whole request',
  },
  drainTimeout: {
    env: 'MAYFLY_DRAIN_TIMEOUT',
    type: durationMs('25s', { min: 100, max: 120_000 }),
    says: 'time that requests in flight get at SIGTERM',
  },
  requestsInFlight: {
    env: 'MAYFLY_REQUESTS_IN_FLIGHT',
    type: count(1024, 100_000),
    says: 'requests at once before load is shed with 503',
  },
  refusalRowsPerSecond: {
    env: 'MAYFLY_REFUSAL_ROWS_PER_SECOND',
    type: count(10, 10_000),
    says: 'audit rows a second and replica for refusals before a workload is known; beyond that they are counted into one',
  },
  databaseConnections: {
    env: 'MAYFLY_DATABASE_CONNECTIONS',
    type: count(16, 500),
    says: 'size of the connection pool',
  },
  endingConnections: {
    env: 'MAYFLY_ENDING_CONNECTIONS',
    type: count(4, 100),
    says: 'connections beside the pool that only ending takes, so that it goes on when issuing has taken all others',
  },
  keyRotation: {
    env: 'MAYFLY_KEY_ROTATION',
    type: durationMs('30d', { min: 3_600_000, max: 365 * 86_400_000 }),
    says: 'how long a token key signs; the next one is published before, on its own',
  },
  keyOverlap: {
    env: 'MAYFLY_KEY_OVERLAP',
    type: durationMs('1d', { min: 86_400_000, max: 30 * 86_400_000 }),
    says: 'how long a key stays published after it has signed; no token lives longer than a day',
  },
  retention: {
    env: 'MAYFLY_RETENTION',
    type: durationMs('90d', { min: 86_400_000, max: 3_650 * 86_400_000 }),
    says: 'how long issuances and audit rows are kept; whole days',
  },
  logLevel: {
    env: 'MAYFLY_LOG_LEVEL',
    type: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    says: 'least level that is logged',
  },
  logFile: { env: 'MAYFLY_LOG_FILE', type: path, says: 'log file; default: standard error' },
  signInIssuer: {
    env: 'MAYFLY_SIGN_IN_ISSUER',
    type: z.string().min(1).optional(),
    says: 'name of the TrustedIssuer (`people: true`) through which people sign in; unset: nobody signs in here',
  },
  signInClientId: {
    env: 'MAYFLY_SIGN_IN_CLIENT_ID',
    type: z.string().min(1).max(256).optional(),
    says: 'client id of the broker at that issuer, with the redirect URI ISSUER/sign-in/callback',
  },
  signInClientSecret: {
    env: 'MAYFLY_SIGN_IN_CLIENT_SECRET',
    type: secretReference.optional(),
    says: 'file with the client secret there, read at each use; unset: a public client',
  },
  signInScopes: {
    env: 'MAYFLY_SIGN_IN_SCOPES',
    type: list,
    says: 'scopes asked for there besides openid',
  },
  signInRedirectUris: {
    env: 'MAYFLY_SIGN_IN_REDIRECT_URIS',
    type: list,
    says: 'exact redirect URIs of mayfly-console (code flow); empty: only the device flow',
  },
  signInLife: {
    env: 'MAYFLY_SIGN_IN_LIFE',
    type: durationMs('1h', { min: 60_000, max: 43_200_000 }),
    says: 'life of a person’s token; afterwards `mayfly login` again',
  },
  signInPollInterval: {
    env: 'MAYFLY_SIGN_IN_POLL_INTERVAL',
    type: durationMs('5s', { min: 1_000, max: 60_000 }),
    says: 'least time between two polls of the device flow; whole seconds',
  },
  signInStartsPerSecond: {
    env: 'MAYFLY_SIGN_IN_STARTS_PER_SECOND',
    type: count(200, 10_000),
    says: 'sign-ins that may be started a second and replica; anyone can start one, and each leaves a row',
  },
} as const satisfies Record<string, Setting>;

/** `ORIGIN=/FILE`; undefined where it is not one. A token is shown in the clear only on loopback. */
export function splitTokenFile(entry: string): { origin: string; file: string } | undefined {
  const at = entry.indexOf('=');
  const [origin, file] = [entry.slice(0, at), entry.slice(at + 1)];
  if (at < 1 || !file.startsWith('/') || !isOrigin(origin)) return undefined;
  const { protocol, hostname } = new URL(origin);
  return protocol === 'https:' || isLoopbackHost(hostname) ? { origin, file } : undefined;
}

export function isOrigin(text: string): boolean {
  try {
    const url = new URL(text);
    return url.origin === text && (url.protocol === 'https:' || url.protocol === 'http:');
  } catch {
    return false;
  }
}
