import { readFileSync } from 'node:fs';
import {
  type AttestorOptions,
  createAttestor,
  type FetchLimits,
  type IssuerAnswer,
  requestIssuer,
} from '@mayfly/attestors';
import { type Attestor, Fault, type PolicySet, Refusal, type TrustedIssuer } from '@mayfly/core';
import * as oidc from 'openid-client';
import { type Config, ConfigError } from '../config.ts';
import { derive } from './derive.ts';
import { issuerOfPeople, type PersonRecord } from './person.ts';

/** How long the discovery document of the organisation's identity provider is remembered. */
const metadataMs = 600_000;

export interface UpstreamOptions {
  readonly config: Config;
  /** `signInIssuer`. */
  readonly issuerName: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly attestors: AttestorOptions;
  /** The policy in force. */
  policy(): Promise<Pick<PolicySet, 'issuers'>>;
  secret(): Buffer;
  now(): Date;
}

/** The organisation's identity provider: the TrustedIssuer that `signInIssuer` names. */
export interface Upstream {
  /** Where the browser goes to sign in. */
  begin(uid: string): Promise<URL>;
  /** Who came back, by the query of the callback. Throws Refusal sign_in_* or Fault issuer_unavailable. */
  finish(uid: string, query: URLSearchParams): Promise<PersonRecord>;
}

interface Known {
  readonly issuer: TrustedIssuer;
  readonly client: oidc.Configuration;
  readonly attestor: Attestor;
  readonly at: number;
}

export function createUpstream(options: UpstreamOptions): Upstream {
  const { config, issuerName, policy, now } = options;
  let known: Known | undefined;
  const current = async (): Promise<Known> => {
    const issuer = issuerOfPeople(await policy(), issuerName);
    const at = now().getTime();
    if (known !== undefined && sameIssuer(known.issuer, issuer) && Math.abs(at - known.at) < metadataMs)
      return known;
    known = { issuer, client: await discover(issuer, options), attestor: attestorOf(issuer, options), at };
    return known;
  };
  return {
    begin: async (uid) => {
      const { client } = await current();
      const secret = options.secret();
      const url = oidc.buildAuthorizationUrl(client, {
        redirect_uri: callbackOf(config),
        scope: [...new Set(['openid', ...config.signInScopes])].join(' '),
        state: derive(secret, 'state', uid),
        nonce: derive(secret, 'nonce', uid),
        code_challenge: await oidc.calculatePKCECodeChallenge(derive(secret, 'verifier', uid)),
        code_challenge_method: 'S256',
      });
      if (url.protocol === 'https:' || config.allowLoopbackIssuers.includes(url.origin)) return url;
      throw unavailable('authorization endpoint is not https');
    },
    finish: async (uid, query) => {
      const { client, attestor } = await current();
      const idToken = await redeem(client, { uid, query, options });
      const person = await attest(attestor, idToken, now());
      const { issuer: iss, issuerName, subject, claims, assertionIssuedAt: issued } = person;
      const kept = Object.entries(claims).map(([claim, value]): [string, string | string[]] => [
        claim,
        typeof value === 'string' ? value : [...value],
      ]);
      const at = issued === undefined ? {} : { issuedAt: issued.toISOString() };
      return { issuerName, iss, subject, claims: Object.fromEntries(kept), ...at };
    },
  };
}

function callbackOf({ issuer }: Pick<Config, 'issuer'>): string {
  return `${issuer}/sign-in/callback`;
}

/** The secret of this broker at the identity provider, read at each use; a ConfigError when it cannot be. */
export function readClientSecret({
  config,
  env,
}: Pick<UpstreamOptions, 'config' | 'env'>): string | undefined {
  const reference = config.signInClientSecret;
  if (reference === undefined) return undefined;
  const text = 'env' in reference ? env[reference.env] : readText(reference.file);
  const secret = text?.trim() ?? '';
  if (secret === '') throw new ConfigError(['signInClientSecret: there is nothing where it should be']);
  return secret;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new ConfigError([`signInClientSecret: ${file} cannot be read`]);
  }
}

async function discover(issuer: TrustedIssuer, options: UpstreamOptions): Promise<oidc.Configuration> {
  const { config, attestors } = options;
  const clientId = config.signInClientId ?? '';
  const fetch = fetchWithin(attestors.fetch);
  const found = await asFault(() =>
    oidc.discovery(new URL(issuer.issuer), clientId, {}, oidc.None(), {
      [oidc.customFetch]: fetch,
      // Which origins may speak http is decided by fetchWithin.
      execute: [oidc.allowInsecureRequests],
    }),
  );
  const metadata = found.serverMetadata();
  // OpenID Connect Discovery section 4.3: byte-equal, as for its keys.
  if (metadata.issuer !== issuer.issuer) throw unavailable('discovery names another issuer');
  const client = new oidc.Configuration(metadata, clientId, {}, clientAuth(metadata, options));
  client[oidc.customFetch] = fetch;
  oidc.allowInsecureRequests(client);
  return client;
}

function clientAuth(metadata: oidc.ServerMetadata, options: UpstreamOptions): oidc.ClientAuth {
  return (...call) => {
    const secret = readClientSecret(options);
    const methods = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    if (secret === undefined) return oidc.None()(...call);
    if (methods.includes('client_secret_basic')) return oidc.ClientSecretBasic(secret)(...call);
    return oidc.ClientSecretPost(secret)(...call);
  };
}

interface Returned {
  readonly uid: string;
  readonly query: URLSearchParams;
  readonly options: UpstreamOptions;
}

/** The code for an id_token: state, issuer of the answer, verifier, nonce, audience and times are openid-client's to check. */
async function redeem(client: oidc.Configuration, { uid, query, options }: Returned): Promise<string> {
  const secret = options.secret();
  const url = new URL(callbackOf(options.config));
  url.search = query.toString();
  try {
    const answer = await oidc.authorizationCodeGrant(client, url, {
      expectedState: derive(secret, 'state', uid),
      expectedNonce: derive(secret, 'nonce', uid),
      pkceCodeVerifier: derive(secret, 'verifier', uid),
      idTokenExpected: true,
    });
    if (answer.id_token === undefined) throw refused('no id_token');
    return answer.id_token;
  } catch (cause) {
    throw faultIn(cause) ?? (cause instanceof Refusal ? cause : refused(wordOf(cause), cause));
  }
}

/** Signature, algorithm, subject namespaces, lifetime and kept claims are those of the TrustedIssuer in force. */
async function attest(attestor: Attestor, idToken: string, now: Date) {
  try {
    return await attestor.attest(idToken, { now, signal: new AbortController().signal });
  } catch (cause) {
    if (!(cause instanceof Refusal)) throw cause;
    throw new Refusal('sign_in_person_refused', { detail: cause.detail ?? cause.reason, cause });
  }
}

function attestorOf(issuer: TrustedIssuer, { config, attestors }: UpstreamOptions): Attestor {
  // An id_token is made for us as a client, and its one use is bound to this browser by its nonce.
  const asClient: TrustedIssuer = { ...issuer, audience: config.signInClientId ?? '', replay: 'reuse' };
  return createAttestor(asClient, attestors);
}

/** Patterns are compared by their text: everything else of a document is plain. */
function sameIssuer(one: TrustedIssuer, other: TrustedIssuer): boolean {
  const plain = ({ subjects, ...rest }: TrustedIssuer) =>
    JSON.stringify([rest, subjects.map(({ text }) => text)]);
  return one === other || plain(one) === plain(other);
}

function fetchWithin(limits: FetchLimits): oidc.CustomFetch {
  return async (url, { method, headers, body }) => {
    if (method !== 'GET' && method !== 'POST') throw unavailable(`method ${method}`);
    const text = body === undefined || body === null ? {} : { body: String(body) };
    return asResponse(await requestIssuer(url, { method, headers, ...text }, limits));
  };
}

function asResponse({ status, headers, text }: IssuerAnswer): Response {
  const shown = new Headers();
  for (const [name, value] of Object.entries(headers)) if (typeof value === 'string') shown.set(name, value);
  // A body in these is a mistake of theirs that Response refuses to hold.
  return new Response(status === 204 || status === 304 ? null : text, { status, headers: shown });
}

async function asFault<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw faultIn(cause) ?? unavailable(wordOf(cause), cause);
  }
}

/** openid-client hands failures of its fetch on as causes. */
function faultIn(error: unknown): Fault | ConfigError | undefined {
  if (error instanceof Fault || error instanceof ConfigError) return error;
  return error instanceof Error && error.cause !== undefined ? faultIn(error.cause) : undefined;
}

/** A code of openid-client or an OAuth error, for the audit log: never a text that somebody else wrote. */
function wordOf(cause: unknown): string {
  const error: unknown = Reflect.get(Object(cause), 'error');
  const code: unknown = Reflect.get(Object(cause), 'code');
  const words = [error, code].filter((word) => typeof word === 'string' && /^[A-Za-z_]{1,64}$/.test(word));
  return words.length === 0 ? 'unreadable answer' : words.join(' ');
}

function refused(detail: string, cause?: unknown): Refusal {
  return new Refusal('sign_in_upstream_refused', { detail: `identity provider: ${detail}`, cause });
}

function unavailable(detail: string, cause?: unknown): Fault {
  return new Fault('issuer_unavailable', { effect: 'none', detail: `sign-in: ${detail}`, cause });
}
