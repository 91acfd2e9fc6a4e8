import { isIP } from 'node:net';
import { Fault } from '@mayfly/core';
import { JsonError, parseJsonStrict } from '@mayfly/protocol';
import { Agent, request } from 'undici';
import { type AddressClass, classifyAddress, type Resolve, type Resolved } from './address.ts';

/** Levels of a key set or a TokenReview; each is half as deep. */
const depthMax = 8;

export interface FetchLimits {
  /** Exact origins of http issuers on loopback. */
  readonly allowLoopbackOrigins: readonly string[];
  /** Exact https origins on private addresses. */
  readonly allowPrivateOrigins: readonly string[];
  readonly resolve: Resolve;
  /** Name, connect, headers and body together: an issuer that is slower is down to us. */
  readonly timeoutMs: number;
  readonly bodyBytesMax: number;
}

/** How one issuer is reached, beyond what holds for all. */
export interface Reach extends FetchLimits {
  /** PEM; then no other authority is trusted. */
  readonly ca?: string;
  /** The caller's own deadline. */
  readonly signal?: AbortSignal;
}

export interface FetchOptions extends Reach {
  readonly bearer?: string;
  /** Posted as JSON. */
  readonly json?: unknown;
}

export interface Fetched {
  readonly body: unknown;
  /** `max-age` of Cache-Control in seconds, where there is one. */
  readonly maxAgeSeconds: number | undefined;
}

/** Asks a configured issuer for JSON, by GET or POST: as `requestIssuer`, with strict JSON and a good status. */
export async function fetchJson(url: string, options: FetchOptions): Promise<Fetched> {
  const answer = await requestIssuer(url, draft(options), options);
  const wanted = options.json === undefined ? [200] : [200, 201];
  if (!wanted.includes(answer.status)) throw unavailable(`answered ${answer.status}`);
  try {
    const body = parseJsonStrict(answer.text, { maxDepth: depthMax });
    return { body, maxAgeSeconds: maxAge(answer.headers['cache-control']) };
  } catch (cause) {
    throw unavailable(whatFailed(cause), cause);
  }
}

function draft({ bearer, json }: FetchOptions): IssuerRequest {
  const headers = {
    accept: 'application/json',
    ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
  };
  if (json === undefined) return { method: 'GET', headers };
  const body = JSON.stringify(json);
  return { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body };
}

export interface IssuerRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface IssuerAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/**
 * One request to a configured issuer: https (http only for allowed loopback origins), no redirect followed, bounded
 * time and size, and the connection goes to the address that was checked. Throws Fault `issuer_unavailable`.
 */
export async function requestIssuer(
  url: string,
  { method, headers, body }: IssuerRequest,
  reach: Reach,
): Promise<IssuerAnswer> {
  if (!URL.canParse(url)) throw unavailable('not a URL');
  const target = new URL(url);
  const timeout = AbortSignal.timeout(reach.timeoutMs);
  const signal = reach.signal === undefined ? timeout : AbortSignal.any([timeout, reach.signal]);
  const address = await checkedAddress(target, reach, signal);
  const agent = agentFor(address, reach);
  try {
    const answer = await request(target, {
      dispatcher: agent,
      method,
      headers: { ...headers, 'user-agent': 'mayfly' },
      body: body ?? null,
      signal,
    });
    const text = await readBounded(answer.body, reach.bodyBytesMax);
    return { status: answer.statusCode, headers: answer.headers, text };
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw unavailable(whatFailed(cause), cause);
  } finally {
    await agent.destroy();
  }
}

function agentFor(address: Resolved, { timeoutMs, ca }: Reach): Agent {
  return new Agent({
    connect: {
      timeout: timeoutMs,
      // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment cannot unsay it.
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca }),
      lookup: (_host, options, callback) => {
        if (options.all === true) callback(null, [address]);
        else callback(null, address.address, address.family);
      },
    },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
}

async function checkedAddress(target: URL, limits: FetchLimits, signal: AbortSignal): Promise<Resolved> {
  const addresses = await resolveOrFault(target, limits, signal);
  const [first] = addresses;
  if (first === undefined) throw unavailable('no address');
  // All of them: the next connection could take another.
  const classes = new Set(addresses.map(({ address }) => classifyAddress(address)));
  for (const one of classes) refuseAddress(one, target, limits);
  return first;
}

async function resolveOrFault(
  { hostname }: URL,
  { resolve }: FetchLimits,
  signal: AbortSignal,
): Promise<readonly Resolved[]> {
  const bare = hostname.replace(/^\[|\]$/g, '');
  // No look-up is made for an address, so none may speak for it.
  const family = isIP(bare);
  if (family !== 0) return [{ address: bare, family: family === 6 ? 6 : 4 }];
  try {
    return await Promise.race([resolve(bare), aborted(signal)]);
  } catch (cause) {
    throw unavailable('name not resolved', cause);
  }
}

/** Never resolves; a look-up of the system knows no deadline of its own. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function refuseAddress(one: AddressClass, { origin, protocol }: URL, limits: FetchLimits): void {
  const loopbackAllowed = limits.allowLoopbackOrigins.includes(origin);
  if (protocol !== 'https:' && !(one === 'loopback' && loopbackAllowed))
    throw unavailable('https is required');
  if (one === 'public') return;
  if (one === 'loopback' && loopbackAllowed) return;
  if (one === 'private' && limits.allowPrivateOrigins.includes(origin)) return;
  throw unavailable(`address is ${one}`);
}

async function readBounded(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bytesMax) throw unavailable('body too large');
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
}

/** A word for the log: nothing that the issuer wrote. */
function whatFailed(cause: unknown): string {
  if (cause instanceof JsonError) return cause.message;
  const words: unknown[] = [Reflect.get(Object(cause), 'code'), Reflect.get(Object(cause), 'name')];
  return words.find((word) => typeof word === 'string') ?? 'unreadable';
}

function maxAge(header: string | string[] | undefined): number | undefined {
  const [, digits] = /(?:^|[\s,])max-age=([0-9]{1,9})/i.exec(String(header ?? '')) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 10);
}

export function unavailable(detail: string, cause?: unknown): Fault {
  return new Fault('issuer_unavailable', { effect: 'none', detail: `issuer: ${detail}`, cause });
}
