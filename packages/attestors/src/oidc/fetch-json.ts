import { isIP } from 'node:net';
import { Fault } from '@mayfly/core';
import { JsonError, parseJsonStrict } from '@mayfly/protocol';
import { Agent, request } from 'undici';
import { type AddressClass, classifyAddress, type Resolve, type Resolved } from './address.ts';

/** Name, connect, headers and body together: an issuer that is slower is down to us. */
const fetchTimeoutMs = 3_000;
/** Discovery and JWKS are a few kB; 64 KiB leaves room for 32 RSA keys with certificates. */
export const bodyBytesMax = 65_536;

export interface FetchLimits {
  /** Exact origins of http issuers on loopback. */
  readonly allowLoopbackOrigins: readonly string[];
  /** Exact https origins on private addresses. */
  readonly allowPrivateOrigins: readonly string[];
  readonly resolve: Resolve;
  readonly timeoutMs?: number;
}

export interface Fetched {
  readonly body: unknown;
  /** `max-age` of Cache-Control in seconds, where there is one. */
  readonly maxAgeSeconds: number | undefined;
}

/** GETs JSON from a configured issuer: as `requestIssuer`, and strict JSON with status 200. */
export async function fetchJson(url: string, limits: FetchLimits): Promise<Fetched> {
  const answer = await requestIssuer(url, { method: 'GET', headers: { accept: 'application/json' } }, limits);
  if (answer.status !== 200) throw unavailable(`answered ${answer.status}`);
  try {
    return {
      body: parseJsonStrict(answer.text, { maxDepth: 8 }),
      maxAgeSeconds: maxAge(answer.headers['cache-control']),
    };
  } catch (cause) {
    throw unavailable(whatFailed(cause), cause);
  }
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
  limits: FetchLimits,
): Promise<IssuerAnswer> {
  if (!URL.canParse(url)) throw unavailable('not a URL');
  const target = new URL(url);
  const timeoutMs = limits.timeoutMs ?? fetchTimeoutMs;
  const signal = AbortSignal.timeout(timeoutMs);
  const address = await checkedAddress(target, limits, signal);
  const agent = new Agent({
    connect: {
      timeout: timeoutMs,
      // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment cannot unsay it.
      rejectUnauthorized: true,
      lookup: (_host, options, callback) => {
        if (options.all === true) callback(null, [address]);
        else callback(null, address.address, address.family);
      },
    },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  try {
    const answer = await request(target, {
      dispatcher: agent,
      method,
      headers: { ...headers, 'user-agent': 'mayfly' },
      body: body ?? null,
      signal,
    });
    return { status: answer.statusCode, headers: answer.headers, text: await readBounded(answer.body) };
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw unavailable(whatFailed(cause), cause);
  } finally {
    await agent.destroy();
  }
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

async function readBounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bodyBytesMax) throw unavailable('body too large');
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
