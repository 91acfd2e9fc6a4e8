import { Agent as HttpAgent, type IncomingHttpHeaders, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';

/** A client certificate with its key, both PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface Asked {
  readonly method: string;
  readonly url: string;
  /** A list is sent as several header lines. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The JSON object of the answer; empty for anything else. */
  readonly body: Readonly<Record<string, unknown>>;
  /** What was sent, for a report: names, never values that could be secret. */
  readonly sent: string;
}

export interface Wire {
  send(asked: Asked): Promise<Answer>;
  close(): void;
}

/** A server that is silent for so long has not answered. */
const timeoutMs = 15_000;

/**
 * Plain HTTP/1.1 with nothing added: the cases need two lines of one header, foreign Hosts and bodies of any type, which
 * `fetch` does not let through. Connections are kept; `connections: 1` sends everything over one.
 */
export function createWire(
  options: { ca?: string | undefined; client?: ClientCertificate; connections?: number } = {},
): Wire {
  const { ca, client, connections = 64 } = options;
  const pool = { keepAlive: true, maxSockets: connections };
  const plain = new HttpAgent(pool);
  const secure = new HttpsAgent({ ...pool, ...(ca === undefined ? {} : { ca }), ...client });
  return {
    send: (asked) =>
      new Promise((resolve, reject) => {
        const isSecure = asked.url.startsWith('https:');
        const { method, headers } = asked;
        const length = { 'content-length': String(Buffer.byteLength(asked.body)) };
        const common = { method, headers: { ...headers, ...length }, timeout: timeoutMs };
        const call = isSecure
          ? requestHttps(asked.url, { ...common, agent: secure })
          : requestHttp(asked.url, { ...common, agent: plain });
        let answered = false;
        call.on('response', (response) => {
          answered = true;
          const pieces: Buffer[] = [];
          response.on('data', (piece: Buffer) => pieces.push(piece));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(pieces).toString('utf8');
            const status = response.statusCode ?? 0;
            resolve({ status, headers: response.headers, text, body: objectOf(text), sent: said(asked) });
          });
        });
        call.on('timeout', () => call.destroy(new Error('no answer in time')));
        // A refused body may still be on its way when the answer is here: then the reset is no failure.
        call.on('error', (error) => answered || reject(error));
        call.end(asked.body);
      }),
    close: () => {
      plain.destroy();
      secure.destroy();
    },
  };
}

export function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Values of these are protocol words; of everything else only the name is told. */
const words = new Set([
  ...['grant_type', 'subject_token_type', 'actor_token_type', 'requested_token_type'],
  ...['client_assertion_type', 'token_type_hint', 'completion_mode'],
]);

function said({ method, url, headers, body }: Asked): string {
  const shown = new URL(url);
  const form = [...new URLSearchParams(body)].slice(0, 20);
  const isForm = String(headers['content-type']).startsWith('application/x-www-form-urlencoded');
  const parameters = form.map(([name, value]) =>
    words.has(name) ? `${name}=${value}` : `${name}(${value.length})`,
  );
  const extra = Object.entries(headers)
    .filter(([name]) => !['content-type', 'content-length'].includes(name))
    .map(([name, value]) => (Array.isArray(value) ? `${name} x${value.length}` : name));
  return [
    `${method} ${shown.pathname}`,
    isForm
      ? `[${parameters.join(' ')}]`
      : `${Buffer.byteLength(body)} bytes of ${headers['content-type'] ?? 'no type'}`,
    ...(extra.length === 0 ? [] : [`headers ${extra.join(', ')}`]),
  ].join(' ');
}
