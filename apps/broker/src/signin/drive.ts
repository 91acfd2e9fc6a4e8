import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type Provider from 'oidc-provider';

/** What the provider is asked; everything else of the client's request stays outside. */
export interface Asked {
  readonly method: 'GET' | 'POST';
  /** Path and query, never an absolute URL. */
  readonly url: string;
  readonly cookie?: string | undefined;
  readonly form?: URLSearchParams | undefined;
  readonly requestId: string;
  /** JSON for programs, HTML for the pages of a browser: the client's own Accept decides nothing. */
  readonly accept: 'application/json' | 'text/html';
}

export interface Answered {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: string;
  /** The error that was answered, or the failure that became a 500. */
  readonly error: unknown;
}

/** A pair as Node would give it, with nothing behind it. */
export interface Pair {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: () => string;
}

/**
 * Serves requests that we make ourselves. The provider never sees the client's Host, X-Forwarded-*, Origin, Accept or
 * Authorization, so it can make no URL of them, reflect no origin and choose no form of answer by them.
 */
export function createDriver(provider: Provider, issuer: string) {
  const { host, protocol } = new URL(issuer);
  // Its URLs are https if we say so here, whoever terminated TLS.
  provider.proxy = true;
  const failures = new WeakMap<IncomingMessage, unknown>();
  const remember = (context: { req: IncomingMessage } | undefined, error: unknown) => {
    if (context !== undefined) failures.set(context.req, error);
  };
  for (const event of errorEvents) provider.on(event, remember);
  provider.on('error', (error: unknown, context) => remember(context, error));
  const serve = provider.callback();
  const pairOf = ({ method, url, cookie, form, requestId, accept }: Asked): Pair => {
    const request = new IncomingMessage(new Socket());
    const body = form?.toString();
    request.method = method;
    request.url = url;
    request.headers = {
      host,
      accept,
      'x-forwarded-proto': protocol.slice(0, -1),
      'x-request-id': requestId,
      ...(cookie === undefined ? {} : { cookie }),
      ...(body === undefined ? {} : bodyHeaders(body)),
    };
    if (body !== undefined) request.push(body);
    request.push(null);
    return { request, ...capture(request) };
  };
  return {
    pairOf,
    ask: async (asked: Asked): Promise<Answered> => {
      const { request, response, body } = pairOf(asked);
      await serve(request, response);
      const { statusCode: status } = response;
      return { status, headers: response.getHeaders(), body: body(), error: failures.get(request) };
    },
  };
}

export type Driver = ReturnType<typeof createDriver>;

const errorEvents = [
  'server_error',
  'authorization.error',
  'grant.error',
  'device_authorization.error',
  'code_verification.error',
  'device_resume.error',
] as const;

function bodyHeaders(body: string) {
  return {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(Buffer.byteLength(body)),
  };
}

function capture(request: IncomingMessage): Pick<Pair, 'response' | 'body'> {
  let body = '';
  const response = new ServerResponse(request);
  Object.assign(response, {
    end: (chunk?: unknown) => {
      body = Buffer.isBuffer(chunk) || typeof chunk === 'string' ? chunk.toString() : '';
      return response;
    },
  });
  return { response, body: () => body };
}
