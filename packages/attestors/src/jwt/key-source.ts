import type { TrustedIssuer } from '@mayfly/core';
import { JsonError, parseJsonStrict } from '@mayfly/protocol';
import { z } from 'zod';
import type { AttestorOptions } from '../options.ts';
import { type Fetched, type FetchOptions, fetchJson, unavailable } from './fetch-json.ts';
import type { KeySource } from './key-set.ts';

type Place = Pick<TrustedIssuer, 'issuer' | 'jwksUri' | 'jwksFile' | 'caFile' | 'tokenFile'>;

const discovery = z.object({ issuer: z.string(), jwks_uri: z.url() });
/** Levels of a key set in a file. */
const depthMax = 8;

/** The keys that an issuer publishes by OpenID Connect Discovery, at `jwksUri` or, never asked, in `jwksFile`. */
export function publishedKeys(issuer: Place, options: AttestorOptions): KeySource {
  const { jwksFile } = issuer;
  return {
    load: async () => {
      if (jwksFile !== null) return readJson({ file: jwksFile, says: 'jwksFile' }, options);
      const uri = issuer.jwksUri ?? (await discover(issuer, options));
      return fetchJson(uri, await accessTo(uri, issuer, options));
    },
    isUsed: (use) => use === undefined || use === 'sig',
    limits: options.keys,
  };
}

async function discover(issuer: Place, options: AttestorOptions): Promise<string> {
  const uri = `${issuer.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const { body } = await fetchJson(uri, await accessTo(uri, issuer, options));
  const parsed = discovery.safeParse(body);
  if (!parsed.success) throw unavailable('discovery document malformed');
  // OpenID Connect Discovery section 4.3: the issuer must be byte-equal, or another one speaks in its name.
  if (parsed.data.issuer !== issuer.issuer) throw unavailable('discovery names another issuer');
  return parsed.data.jwks_uri;
}

/** A file of the operator; read again each time, so `maxAgeSeconds: 0` keeps it no longer than need be. */
export async function readJson(
  { file, says }: { readonly file: string; readonly says: string },
  { readFile }: Pick<AttestorOptions, 'readFile'>,
): Promise<Fetched> {
  const text = await readText({ file, says }, { readFile });
  try {
    return { body: parseJsonStrict(text, { maxDepth: depthMax }), maxAgeSeconds: 0 };
  } catch (cause) {
    throw unavailable(`${says}: ${cause instanceof JsonError ? cause.message : 'unreadable'}`, cause);
  }
}

async function readText(
  { file, says }: { readonly file: string; readonly says: string },
  { readFile }: Pick<AttestorOptions, 'readFile'>,
): Promise<string> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw unavailable(`${says} unreadable`, cause);
  }
}

/**
 * How an address that is not public is reached: its certificate authority and the broker's own bearer token. The
 * token goes only where the operator said, also when a discovery document names another origin.
 */
export async function accessTo(
  url: string,
  { caFile, tokenFile }: { readonly caFile: string | null; readonly tokenFile: string | null },
  options: AttestorOptions,
): Promise<FetchOptions> {
  const ca = caFile === null ? undefined : await readText({ file: caFile, says: 'caFile' }, options);
  if (tokenFile === null) return { ...options.fetch, ...(ca === undefined ? {} : { ca }) };
  const origin = URL.canParse(url) ? new URL(url).origin : '';
  if (!options.tokenFiles.some((one) => one.origin === origin && one.file === tokenFile))
    throw unavailable('tokenFile is not allowed for this origin');
  const bearer = (await readText({ file: tokenFile, says: 'tokenFile' }, options)).trim();
  // RFC 6750 section 2.1; whatever else stands in the file is no token, and stays here.
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(bearer)) throw unavailable('tokenFile holds no token');
  return { ...options.fetch, bearer, ...(ca === undefined ? {} : { ca }) };
}
