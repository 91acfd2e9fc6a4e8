import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { JWK } from 'jose';

/** What a server may have or not; cases of what it has not are skipped. */
export const features = [
  ...['dpop', 'mtls', 'delegation', 'children', 'introspection', 'revocation', 'stored-grants'],
  ...['issuance', 'task-tokens', 'clouds', 'rate', 'api', 'deferral', 'rs256'],
  ...['spiffe', 'kubernetes', 'github', 'gitlab'],
] as const;
export type Feature = (typeof features)[number];

/** An issuer that the server trusts, and whose private key the suite holds. */
export interface Issuer {
  readonly issuer: string;
  readonly audience: string;
  readonly key: JWK;
  /** Longest life of its assertions that the server takes. */
  readonly lifetimeSecondsMax: number;
}

export interface ResourceServer {
  readonly audience: string;
  /** Subject of the main issuer that may introspect for it. */
  readonly subject: string;
}

/**
 * A descriptor as one element of `authorization_details`. `{unique}` in any text of it becomes a fresh word for each
 * request, so that each opens a task of its own.
 */
export type Detail = Readonly<Record<string, unknown>>;

/** Addresses, or paths under the issuer. */
export interface Endpoints {
  readonly token: string;
  readonly introspection: string;
  readonly revocation: string;
  readonly jwks: string;
}

export interface Profile {
  /** An origin. */
  readonly issuer: string;
  /** What is not named here is read from the metadata. */
  readonly endpoints: Endpoints;
  /** Authorities of the server's certificate, PEM, where the system does not know them. */
  readonly caFile?: string;
  readonly features: readonly Feature[];
  readonly issuers: {
    /** Its assertions are taken once. */
    readonly main: Issuer;
    /** Its assertions are taken again, and `audience` is not the server's issuer. */
    readonly reuse: Issuer;
    /** One platform each, with the claims that its tokens carry and the server matches. */
    readonly spiffe?: Issuer & { readonly otherUseKey: JWK };
    readonly kubernetes?: Issuer;
    readonly github?: Issuer;
    readonly gitlab?: Issuer;
  };
  /** Claims of a good token of each platform, `sub` among them. */
  readonly platformClaims: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Subjects: who may do everything here, who may do the same for himself, who acts, and whom no rule lets act. */
  readonly subjects: {
    readonly agent: string;
    readonly other: string;
    readonly actor: string;
    readonly stranger: string;
    readonly nobody: string;
  };
  /** The first serves `plain`; the second another audience. */
  readonly resourceServers: readonly [ResourceServer, ResourceServer];
  /** Descriptors: see the README for what each must be. */
  readonly details: Readonly<Record<string, Detail>>;
  /** What `plain` needs, what of it must come back as granted, and members that spoil it. */
  readonly detailRules: {
    readonly required: readonly string[];
    readonly granted: readonly string[];
    readonly wrong: readonly Detail[];
  };
  readonly ttl: { readonly default: number; readonly max: number };
  /** A scope that `plain` grants whole, and words that the server ignores. */
  readonly scope: { readonly granted: string; readonly ignored: string };
  readonly bodyBytesMax: number;
  /** Where `https` with client certificates is: another address of the same issuer, or the same. */
  readonly mtls?: {
    readonly base: string;
    readonly clients: readonly [CertificateFiles, CertificateFiles];
  };
  /** A protected resource of the server, for GET, that takes assertions. */
  readonly resource?: string;
  readonly detailSchema?: string;
}

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Reads a profile, whose endpoints may be missing; files in it are named from its own folder. Throws what is wrong with it. */
export function readProfile(file: string): Profile {
  const folder = dirname(resolve(file));
  const value: unknown = JSON.parse(readFileSync(file, 'utf8'), (name, inner: unknown) =>
    /File$/.test(name) && typeof inner === 'string' ? resolve(folder, inner) : inner,
  );
  return checkedProfile(value);
}

interface Written extends Omit<Profile, 'issuers'> {
  readonly issuers: Readonly<
    Record<string, { readonly keyFile?: string; readonly otherUseKeyFile?: string }>
  >;
}

/** Keys may stand in the profile, or in files beside it. */
function checkedProfile(value: unknown): Profile {
  const given = value as Written;
  const required = ['issuer', 'features', 'issuers', 'subjects', 'resourceServers', 'details'] as const;
  const missing = required.filter((name) => given[name] === undefined);
  if (missing.length > 0) throw new Error(`profile: ${missing.join(', ')} missing`);
  const unknown = given.features.filter((name) => !features.includes(name));
  if (unknown.length > 0) throw new Error(`profile: unknown features ${unknown.join(', ')}`);
  const issuers = Object.entries(given.issuers).map(([name, { keyFile, otherUseKeyFile, ...issuer }]) => [
    name,
    {
      lifetimeSecondsMax: 3600,
      ...issuer,
      ...(keyFile === undefined ? {} : { key: readKey(keyFile) }),
      ...(otherUseKeyFile === undefined ? {} : { otherUseKey: readKey(otherUseKeyFile) }),
    },
  ]);
  const defaults = {
    ...{ bodyBytesMax: 65_536, platformClaims: {}, endpoints: {}, ttl: { default: 60, max: 60 } },
    detailRules: { required: ['type'], granted: ['type'], wrong: [] },
  };
  return { ...defaults, ...given, issuers: Object.fromEntries(issuers) };
}

function readKey(file: string): JWK {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** A detail with its own fresh words. */
export function filled(detail: Detail, unique: string): Detail {
  return JSON.parse(JSON.stringify(detail).replaceAll('{unique}', unique));
}
