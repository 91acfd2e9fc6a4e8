import { Fault, Refusal } from '@mayfly/core';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { Broker } from '../broker.ts';
import { isLoopbackHost } from '../net.ts';
import { authenticate, requireRole } from './authenticate.ts';
import { type ErrorContext, MethodRefused, oauthError, problem, type Reply } from './errors.ts';
import { postIntrospect } from './introspect.ts';
import { errorPage, federationJwks, federationMetadata, jwks, serverMetadata } from './metadata.ts';
import { openApi } from './openapi.ts';
import type { RawRequest } from './request.ts';
import type { Route } from './route.ts';
import { routes } from './routes.ts';
import { postToken, refuseForm } from './token.ts';

/** contract.md section 6. */
const oauthBodyBytesMax = 65_536;
const apiBodyBytesMax = 1_048_576;
const form = 'application/x-www-form-urlencoded';

type Handler = (request: RawRequest) => Promise<Reply> | Reply;
type ErrorForm = (error: unknown, context: ErrorContext) => Reply | Promise<Reply>;

/** The HTTP surface: limits, then one handler per route, one way to answer and one to refuse. */
export function createApp(broker: Broker): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  const served = { count: 0 };
  app.use((request, response, next) => admit({ broker, served }, request, response, next));
  const get = (path: string, handle: Handler) => {
    mount(app, broker, { path, methods: { GET: handle }, asError: problem, bodyMax: 0 });
  };
  get('/.well-known/oauth-authorization-server', () => serverMetadata(broker));
  get('/jwks', async () => {
    await broker.policies.refresh();
    return jwks(broker);
  });
  get('/openapi.json', () => ({ status: 200, body: openApi(broker.config.issuer) }));
  get('/errors/:reason', ({ params }) => errorPage(params['reason'] ?? '') ?? notFound());
  mountFederation(broker, get);
  mountOauth(app, broker);
  for (const [path, methods] of byPath(broker))
    mount(app, broker, { path, methods, asError: problem, bodyMax: apiBodyBytesMax });
  app.use((request: Request, response: Response) => {
    send(response, problem(new Refusal('not_found'), contextOf(broker, request)));
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    broker.log.error({ err: error, requestId: requestId(request) }, 'request failed');
    send(response, problem(error, contextOf(broker, request)));
  });
  return app;
}

function mountFederation(broker: Broker, get: (path: string, handle: Handler) => void): void {
  const { issuer, federationIssuer } = broker.config;
  const { origin, pathname } = new URL(federationIssuer);
  // Elsewhere it is published as static files (`mayfly keys export --federation DIR`).
  if (origin !== issuer || pathname === '/') return;
  get(`${pathname}/.well-known/openid-configuration`, () => federationMetadata(broker));
  get(`${pathname}/jwks`, () => federationJwks(broker));
}

function mountOauth(app: Express, broker: Broker): void {
  const limits = { asError: oauthError, bodyMax: oauthBodyBytesMax, bodyType: form };
  const asFormError: ErrorForm = (error, context) => refuseForm(broker, error, context);
  mount(app, broker, {
    ...limits,
    path: '/token',
    methods: { POST: (request) => postToken(broker, request) },
    asBodyError: asFormError,
  });
  mount(app, broker, {
    ...limits,
    path: '/introspect',
    methods: { POST: (request) => postIntrospect(broker, request) },
  });
}

function byPath(broker: Broker): Map<string, Record<string, Handler>> {
  const paths = new Map<string, Record<string, Handler>>();
  for (const route of routes) {
    const methods = paths.get(route.path) ?? {};
    methods[route.method] = (request) => handleRoute(broker, route, request);
    paths.set(route.path, methods);
  }
  return paths;
}

/** Roles are asked here, from the table, before the handler looks at anything. */
async function handleRoute(broker: Broker, route: Route, request: RawRequest): Promise<Reply> {
  const principal = await authenticate(broker, request);
  if (typeof route.access !== 'string') requireRole(principal, route.access);
  return route.handle({ broker, request, principal });
}

interface Mounted {
  readonly path: string;
  readonly methods: Readonly<Record<string, Handler>>;
  readonly asError: ErrorForm;
  /** How a body that cannot be read is refused, where that is audited. */
  readonly asBodyError?: ErrorForm;
  readonly bodyMax: number;
  readonly bodyType?: string;
}

function mount(
  app: Express,
  broker: Broker,
  { path, methods, asError, asBodyError, bodyMax, bodyType }: Mounted,
): void {
  const allow = Object.keys(methods).join(', ');
  app.all(path, async (request, response) => {
    const context = contextOf(broker, request);
    const started = performance.now();
    let reply: Reply;
    try {
      const handle = methods[request.method];
      if (handle === undefined) throw new MethodRefused(allow);
      const raw = await readRequest(request, { bodyMax, bodyType }).catch(async (error: unknown) => ({
        refused: await (asBodyError ?? asError)(error, context),
      }));
      reply = 'refused' in raw ? raw.refused : await handle(raw);
    } catch (error) {
      if (!(error instanceof Refusal)) reportFailure(broker, error, context);
      reply = await asError(error, context);
    }
    broker.metrics.requests.inc({ route: path, status: String(reply.status) });
    const durationMs = Math.round(performance.now() - started);
    broker.log.debug(
      { requestId: context.requestId, route: path, status: reply.status, durationMs },
      'request',
    );
    send(response, reply);
  });
}

async function readRequest(
  request: Request,
  limits: { bodyMax: number; bodyType: string | undefined },
): Promise<RawRequest> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  const { bodyMax, bodyType } = limits;
  if (bodyType !== undefined && type !== bodyType) throw new Refusal('unsupported_media_type');
  const url = request.originalUrl;
  const mark = url.indexOf('?');
  return {
    id: requestId(request),
    method: request.method,
    path: request.path,
    params: Object.fromEntries(Object.entries(request.params).map(([name, value]) => [name, String(value)])),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    headers: request.headers,
    body: await readBody(request, bodyMax),
  };
}

/** The body within its limit; a longer one is refused before it is held. */
async function readBody(request: Request, bodyMax: number): Promise<Uint8Array> {
  const announced = Number.parseInt(request.headers['content-length'] ?? '0', 10);
  if (announced > bodyMax) throw new Refusal('body_too_large');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > bodyMax) throw new Refusal('body_too_large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Before anything is parsed: the Host is ours and there is room. Ending and audit are never shed. */
function admit(
  { broker, served }: { broker: Broker; served: { count: number } },
  request: Request,
  response: Response,
  next: NextFunction,
): void {
  const { metrics, config, draining } = broker;
  const hosts = request.rawHeaders
    .filter((_, index) => index % 2 === 0)
    .filter((name) => name.toLowerCase() === 'host');
  if (hosts.length !== 1 || !isOurHost(request.headers.host ?? '', config.issuer)) {
    send(response, problem(new Refusal('malformed_request'), contextOf(broker, request)));
    return;
  }
  metrics.inFlight.inc();
  served.count += 1;
  response.once('close', () => {
    metrics.inFlight.dec();
    served.count -= 1;
  });
  const sheddable = request.path === '/token' || (request.path === '/v1/tasks' && request.method === 'POST');
  if (sheddable && (draining() || served.count > config.requestsInFlight)) {
    response.setHeader('connection', 'close');
    const form = request.path === '/token' ? oauthError : problem;
    send(response, form(new Fault('overloaded', { effect: 'none' }), contextOf(broker, request)));
    return;
  }
  next();
}

/** The issuer's host; on loopback any spelling of it with the same port. URLs are made from the issuer all the same. */
function isOurHost(host: string, issuer: string): boolean {
  const own = new URL(issuer);
  if (host.toLowerCase() === own.host) return true;
  if (!URL.canParse(`http://${host}`)) return false;
  const asked = new URL(`http://${host}`);
  return isLoopbackHost(own.hostname) && isLoopbackHost(asked.hostname);
}

function contextOf({ config }: Broker, request: Request): ErrorContext {
  return { issuer: config.issuer, requestId: requestId(request) };
}

const ids = new WeakMap<Request, string>();
function requestId(request: Request): string {
  const known = ids.get(request);
  if (known !== undefined) return known;
  const made = crypto.randomUUID();
  ids.set(request, made);
  return made;
}

function reportFailure({ log, metrics }: Broker, error: unknown, { requestId: id }: ErrorContext): void {
  const reason = error instanceof Fault ? error.reason : 'internal';
  const detail = error instanceof Fault ? error.detail : undefined;
  log.error({ err: error, requestId: id, reason, detail }, 'request failed');
  if (reason === 'internal') metrics.alarms.inc({ kind: 'internal' });
}

function send(response: Response, { status, body, headers = {}, contentType }: Reply): void {
  if (response.headersSent) return;
  response.status(status);
  response.setHeader('cache-control', 'no-store');
  response.setHeader('pragma', 'no-cache');
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('content-type', contentType ?? 'application/json');
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if ('cache-control' in headers) response.removeHeader('pragma');
  // A refused body may still be on its way: the connection is not reused.
  if (status === 413 || status === 408) response.setHeader('connection', 'close');
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

function notFound(): never {
  throw new Refusal('not_found');
}
