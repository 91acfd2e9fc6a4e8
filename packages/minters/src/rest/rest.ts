import { createSecureContext } from 'node:tls';
import { Fault } from '@mayfly/core';
import { Agent, request } from 'undici';

/** Of one call, beside the mint deadline. */
const connectTimeoutMs = 2_000;
const answerTimeoutMs = 8_000;
/** A token and what it is for; nothing that these APIs answer to us is longer. */
const bodyBytesMax = 131_072;
/** Origins and authorities whose connections are kept; the oldest goes first. */
const agentsMax = 32;

export interface RestRequest {
  /** For logs: `TokenRequest`. */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json?: unknown;
  /** Anything but JSON; its type stands among the headers. */
  readonly text?: string;
  /** PEM; then no other authority is believed. */
  readonly ca?: string;
  readonly signal: AbortSignal;
}

export interface RestAnswer {
  readonly status: number;
  /** Parsed JSON; undefined where it is none. */
  readonly body: unknown;
  /** The same as it came. */
  readonly text: string;
}

export interface Rest {
  /** One call; no redirect is followed and nothing is tried again. */
  call(request: RestRequest): Promise<RestAnswer>;
}

/** Calls over https, JSON as a rule, with connections that are kept open. What the other side writes never gets into an error. */
export function createRest(): Rest {
  const agents = new Map<string, Agent>();
  const agentOf = ({ url, ca }: RestRequest): Agent => {
    const key = `${new URL(url).origin}\n${ca ?? ''}`;
    const known = agents.get(key);
    if (known !== undefined) return known;
    const [oldest] = agents;
    if (agents.size >= agentsMax && oldest !== undefined) {
      agents.delete(oldest[0]);
      void oldest[1].close();
    }
    const agent = new Agent({
      connect: {
        timeout: connectTimeoutMs,
        // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment cannot unsay it.
        rejectUnauthorized: true,
        // Made once: ends come in bursts that open hundreds of connections.
        secureContext: createSecureContext(ca === undefined ? {} : { ca }),
      },
      headersTimeout: answerTimeoutMs,
      bodyTimeout: answerTimeoutMs,
    });
    agents.set(key, agent);
    return agent;
  };
  return { call: (asked) => send(asked, agentOf(asked)) };
}

async function send(asked: RestRequest, dispatcher: Agent): Promise<RestAnswer> {
  const { name, method, url, headers, json, text, signal } = asked;
  const typed = json === undefined ? {} : { 'content-type': 'application/json' };
  try {
    const answer = await request(url, {
      dispatcher,
      method,
      headers: { accept: 'application/json', 'user-agent': 'mayfly', ...typed, ...headers },
      body: json === undefined ? (text ?? null) : JSON.stringify(json),
      signal,
      // DELETE with a body is what Kubernetes wants; the connection is not given up for it.
      reset: false,
    });
    const said = await readBounded(answer.body);
    return { status: answer.statusCode, body: parseJson(said), text: said };
  } catch (cause) {
    const words: unknown[] = [Reflect.get(Object(cause), 'code'), Reflect.get(Object(cause), 'name')];
    const code = words.find((word) => typeof word === 'string') ?? '';
    throw new Fault('provider_unavailable', {
      effect: neverSent.has(code) ? 'none' : 'unknown',
      detail: `${name}: ${/^[A-Za-z0-9_]{1,40}$/.test(code) ? code : 'failed'}`,
    });
  }
}

const neverSent = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT']);

/** What an answer that is not the wanted one means: a clean 4xx changed nothing, anything else may have. */
export function refusalOf(name: string, { status }: RestAnswer): Fault {
  const detail = `${name}: ${status}`;
  if (status === 429) return new Fault('provider_unavailable', { effect: 'none', detail });
  if (status >= 400 && status < 500) return new Fault('provider_refused', { effect: 'none', detail });
  return new Fault('provider_unavailable', { effect: 'unknown', detail });
}

/** A credential was made that is not what was asked for: it is not answered, and it may exist. */
export function lying(detail: string): Fault {
  return new Fault('provider_refused', { effect: 'unknown', detail: `the provider answered ${detail}` });
}

async function readBounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bodyBytesMax) throw new RangeError('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
