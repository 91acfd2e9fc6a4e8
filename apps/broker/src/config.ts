import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { isCidr, isLoopbackHost, splitAddress } from './net.ts';
import { type Setting, settings } from './settings.ts';

/** The configuration is wrong: exit 2. Lists every problem. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(`configuration refused:\n${problems.map((problem) => `  ${problem}`).join('\n')}`, options);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

type SettingName = keyof typeof settings;
export type Settings = { [Name in SettingName]: z.output<(typeof settings)[Name]['type']> };

/** Settings with what follows from them. */
export interface Config extends Settings {
  readonly issuer: string;
  readonly federationIssuer: string;
  /** Weakened settings by name, shown in /readyz and the metric `mayfly_insecure`. */
  readonly insecure: readonly string[];
}

export interface ConfigSources {
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Highest precedence: flags of the command line. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** File, then environment, then flags; unknown keys refuse the start; every problem at once. */
export function loadConfig(sources: ConfigSources): Config {
  const file = sources.file ?? sources.env['MAYFLY_CONFIG'];
  const values: Record<string, unknown> = file === undefined ? {} : readFile(file);
  for (const [name, setting] of entries()) {
    const value = sources.env[setting.env];
    if (value !== undefined && value !== '') values[name] = value;
  }
  Object.assign(values, sources.flags);
  const strange = Object.keys(sources.env).filter((name) => isStrange(name));
  if (strange.length > 0) throw new ConfigError(strange.map((name) => `unknown variable: ${name}`));
  return completeConfig(values);
}

/** Of clients, which may share a shell with the broker (packages/sdk/README.md). */
const clientVariables =
  /^MAYFLY_(SERVER|ASSERTION(_FILE|_COMMAND)?|TASK(_TOKEN)?|PROOF|CA_FILE|ID_TOKEN|CONFIG)$|^MAYFLY_TEST_/;

/** A mistyped MAYFLY_DPOP_NONCE must not leave nonces off in silence. */
function isStrange(name: string): boolean {
  if (!name.startsWith('MAYFLY_') || clientVariables.test(name)) return false;
  return !entries().some(([, { env }]) => env === name);
}

export function completeConfig(values: Readonly<Record<string, unknown>>): Config {
  const parsed = schema.safeParse(values);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map(describeIssue));
  const known = parsed.data as Settings; // The schema is built from the same table as the type.
  const scheme = known.tlsCert === undefined ? 'http' : 'https';
  const issuer = known.issuer ?? `${scheme}://${known.listen}`;
  const federationIssuer = known.federationIssuer ?? `${issuer}/federation`;
  const config: Config = { ...known, issuer, federationIssuer, insecure: insecureSettings(known) };
  const problems = contradictions(config);
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

export const schema = z.strictObject(
  Object.fromEntries(entries().map(([name, setting]) => [name, setting.type])),
);

function entries(): [SettingName, Setting][] {
  return Object.entries(settings) as [SettingName, Setting][];
}

function readFile(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseYaml(readFileSync(file, 'utf8'), { uniqueKeys: true, maxAliasCount: 0 });
  } catch (cause) {
    throw new ConfigError([`${file}: ${cause instanceof Error ? cause.message : 'unreadable'}`]);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new ConfigError([`${file}: not a mapping`]);
  return { ...value };
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `unknown setting: ${issue.keys.join(', ')}`;
  const name = String(issue.path[0] ?? '');
  const row = entries().find(([key]) => key === name);
  return `${name}${row ? ` (${row[1].env})` : ''}: ${issue.message}`;
}

function insecureSettings(known: Settings): string[] {
  const weakened: SettingName[] = ['allowLoopbackIssuers', 'allowPrivateIssuers', 'providerEndpoints'];
  return weakened.filter((name) => (known[name] as readonly string[]).length > 0);
}

/** What single settings cannot say; invariant I15 among it. */
function contradictions(config: Config): string[] {
  const problems: string[] = [];
  const url = new URL(config.issuer);
  const loopback = isLoopbackHost(url.hostname);
  if (url.protocol !== 'https:' && !loopback)
    problems.push('issuer (MAYFLY_ISSUER): https is required beyond loopback');
  const federation = new URL(config.federationIssuer);
  if (config.federationIssuer === config.issuer)
    problems.push('federationIssuer (MAYFLY_FEDERATION_ISSUER): must differ from issuer');
  const own = federation.origin === config.issuer;
  if (!own && federation.protocol !== 'https:' && !isLoopbackHost(federation.hostname))
    problems.push('federationIssuer (MAYFLY_FEDERATION_ISSUER): https is required beyond loopback');
  if (config.allowLoopbackIssuers.length > 0 && !loopback)
    problems.push('allowLoopbackIssuers: only while the issuer itself is loopback');
  if (config.allowPrivateIssuers.some((one) => !one.startsWith('https://')))
    problems.push('allowPrivateIssuers: only https origins');
  if (config.reapAge <= config.mintDeadline + config.maxPause + config.clockSkew)
    problems.push('reapAge must be greater than mintDeadline + maxPause + clockSkew');
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined))
    problems.push('tlsCert and tlsKey belong together');
  if (config.tlsClientCertificates === 'request' && config.tlsCert === undefined)
    problems.push('tlsClientCertificates needs tlsCert and tlsKey');
  if (config.clientCertificateHeader !== undefined) {
    if (config.tlsClientCertificates === 'request')
      problems.push('clientCertificateHeader and tlsClientCertificates: one or the other, never both');
    if (config.trustedProxies.length === 0)
      problems.push('clientCertificateHeader needs trustedProxies: from anybody else it is nobody’s word');
  }
  const { host } = splitAddress(config.listen);
  if (!isLoopbackHost(host) && config.tlsCert === undefined && config.trustedProxies.length === 0)
    problems.push('listen beyond loopback needs tlsCert and tlsKey, or trustedProxies');
  for (const cidr of config.trustedProxies)
    if (!isCidr(cidr)) problems.push(`trustedProxies: ${cidr} is not an address or CIDR`);
  if (config.databaseUrl !== undefined && config.keyEncryptionKey === undefined)
    problems.push('keyEncryptionKey (MAYFLY_KEY_ENCRYPTION_KEY) is required with DATABASE_URL');
  return [...problems, ...signInContradictions(config)];
}

function signInContradictions(config: Config): string[] {
  const problems: string[] = [];
  const { signInIssuer, signInClientId, signInClientSecret, signInRedirectUris } = config;
  if ((signInIssuer === undefined) !== (signInClientId === undefined))
    problems.push('signInIssuer and signInClientId belong together');
  if (signInIssuer === undefined && (signInClientSecret !== undefined || signInRedirectUris.length > 0))
    problems.push('signInClientSecret and signInRedirectUris need signInIssuer');
  for (const uri of signInRedirectUris)
    if (!isRedirectUri(uri))
      problems.push(`signInRedirectUris: ${uri} is neither https nor http on loopback, or has a fragment`);
  if (config.signInPollInterval % 1000 !== 0) problems.push('signInPollInterval: whole seconds (RFC 8628)');
  return problems;
}

function isRedirectUri(uri: string): boolean {
  if (!URL.canParse(uri) || uri.includes('#')) return false;
  const { protocol, hostname } = new URL(uri);
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname));
}
