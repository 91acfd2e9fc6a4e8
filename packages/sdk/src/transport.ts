import type { ClientRequest, Agent as HttpAgent, IncomingMessage, RequestOptions } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import { Misconfigured } from './errors.ts';

export interface Outgoing {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Incoming {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

/** Carries one request. Rejects with a TransportFailure, or with the reason of the signal. Follows no redirect. */
export interface Transport {
  send(request: Outgoing): Promise<Incoming>;
}

export type FailureKind = 'unreachable' | 'tls' | 'timeout' | 'broken' | 'too_large';

/** No answer. `sent` is false where the server cannot have seen the request, so that repeating it is safe. */
export class TransportFailure extends Error {
  readonly kind: FailureKind;
  readonly sent: boolean;
  /** Code of Node or OpenSSL, for example ECONNREFUSED. */
  readonly code: string;

  constructor({ kind, sent, code }: { kind: FailureKind; sent: boolean; code: string }) {
    super(`${kind} (${code})`);
    this.name = 'TransportFailure';
    this.kind = kind;
    this.sent = sent;
    this.code = code;
  }
}

export interface TransportOptions {
  /** PEM certificates that are trusted instead of Node's own; read again for each new connection. */
  readonly caFile?: string | undefined;
  /** For a whole request with its answer. */
  readonly timeoutMs?: number;
  readonly answerBytesMax?: number;
}

/** An exchange may wait for a cloud; the broker gives up after 10 s itself. */
const defaultTimeoutMs = 30_000;
const defaultAnswerBytesMax = 1024 * 1024;

/**
 * HTTP/1.1 over node:http(s), since global fetch takes no CA without a further dependency. Each request has a
 * connection of its own: when a kept one breaks, nobody can tell whether the request had arrived, and an exchange that
 * has arrived must not be sent again. TLS sessions are resumed.
 */
export function createTransport(options: TransportOptions = {}): Transport {
  const agents: { http?: HttpAgent; https?: HttpsAgent } = {};
  return {
    send: async (request) => {
      request.signal?.throwIfAborted();
      if (request.url.protocol === 'http:') {
        const http = await import('node:http');
        agents.http ??= new http.Agent({ keepAlive: false });
        return exchangeBytes(http.request, { request, options, more: { agent: agents.http } });
      }
      const https = await import('node:https');
      const ca = options.caFile === undefined ? {} : { ca: await readCa(options.caFile) };
      agents.https ??= new https.Agent({ keepAlive: false });
      // Set here so that NODE_TLS_REJECT_UNAUTHORIZED=0, set for something else, does not open this connection.
      const more = { agent: agents.https, rejectUnauthorized: true, ...ca };
      return exchangeBytes(https.request, { request, options, more });
    },
  };
}

type Open = (url: URL, options: RequestOptions) => ClientRequest;
interface Call {
  readonly request: Outgoing;
  readonly options: TransportOptions;
  readonly more: RequestOptions;
}

function exchangeBytes(open: Open, { request, options, more }: Call): Promise<Incoming> {
  const { method, url, headers, body = '', signal } = request;
  const { timeoutMs = defaultTimeoutMs, answerBytesMax = defaultAnswerBytesMax } = options;
  return new Promise((resolve, reject) => {
    let connected = false;
    const length = method === 'GET' ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const outgoing = open(url, {
      ...more,
      method,
      headers: { accept: 'application/json', ...headers, ...length },
    });
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      settle();
    };
    const fail = (kind: FailureKind, code: string) => {
      end(() => reject(new TransportFailure({ kind, sent: connected, code })));
      outgoing.destroy();
    };
    const timer = setTimeout(() => fail('timeout', `${timeoutMs} ms`), timeoutMs);
    const abort = () => {
      end(() => reject(signal?.reason));
      outgoing.destroy();
    };
    signal?.addEventListener('abort', abort, { once: true });
    outgoing.on('socket', (socket) => {
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        connected = true;
      });
    });
    outgoing.on('error', (error) => {
      const code = codeOf(error);
      fail(connected ? 'broken' : isTlsCode(code) ? 'tls' : 'unreachable', code);
    });
    outgoing.on('response', (incoming) =>
      readBody(incoming, answerBytesMax).then(
        (text) =>
          end(() => resolve({ status: incoming.statusCode ?? 0, headers: flat(incoming), body: text })),
        (error: unknown) => fail(error instanceof RangeError ? 'too_large' : 'broken', codeOf(error)),
      ),
    );
    outgoing.end(body);
  });
}

async function readBody(incoming: IncomingMessage, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > bytesMax) throw new RangeError('answer too large');
    chunks.push(piece);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function flat({ headers }: IncomingMessage): Record<string, string | undefined> {
  const one: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(headers)) one[name] = Array.isArray(value) ? value[0] : value;
  return one;
}

async function readCa(file: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const says = `the CA file ${file} cannot be read.`;
    throw new Misconfigured({ reason: 'ca_file_unreadable', says, todo: 'Check MAYFLY_CA_FILE.', cause });
  }
}

function codeOf(error: unknown): string {
  const code: unknown = Reflect.get(Object(error), 'code');
  return typeof code === 'string' ? code : 'unknown';
}

/** Codes of certificates that do not verify, and of a peer that speaks no TLS. */
function isTlsCode(code: string): boolean {
  return /CERT|SIGNED|ISSUER|ERR_TLS|ERR_SSL|EPROTO|HOSTNAME/.test(code);
}
