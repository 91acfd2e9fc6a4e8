import { Fault, Refusal } from '@mayfly/core';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { Broker } from '../broker.ts';
import { cidrList } from '../net.ts';
import type { CertificateOptions } from '../proof/certificate.ts';
import { contextOf, createAdmission } from './admit.ts';
import { authenticate, type Principal, requireRole } from './authenticate.ts';
import { type ErrorContext, MethodRefused, oauthError, problem, type Reply } from './errors.ts';
import { eventError, eventsPath, eventsType, postEvent } from './events.ts';
import { postIntrospect } from './introspect.ts';
import {
  detailSchema,
  errorPage,
  federationJwks,
  federationMetadata,
  jwks,
  resourceMetadata,
  serverMetadata,
} from './metadata.ts';
import { detailSchemaPath, resourceMetadataPath } from './metadata-parts.ts';
import { openApi } from './openapi.ts';
import { recordRefusal } from './refused.ts';
import { type RawRequest, readRequest } from './request.ts';
import { postRevoke } from './revoke.ts';
import type { Route } from './route.ts';
import { routes } from './routes.ts';
import { send } from './send.ts';
import { postToken, refuseForm } from './token.ts';

/** contract.md section 6. */
const oauthBodyBytesMax = 65_536;
const apiBodyBytesMax = 1_048_576;
const form = 'application/x-www-form-urlencoded';

type Handler = (request: RawRequest) => Promise<Reply> | Reply;
type ErrorForm = (error: unknown, context: ErrorContext) => Reply | Promise<Reply>;

/** How long a reader of public keys waits for the database to say that they were rotated. */
const rotationWaitMs = 500;

/** The HTTP surface: limits, then one handler per route, one way to answer and one to refuse. */
export function createApp(broker: Broker): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  // One spelling of a path: admission and proxies decide by it.
  app.enable('case sensitive routing');
  app.enable('strict routing');
  app.use(createAdmission(broker));
  const get = (path: string, handle: Handler) => {
    mount(app, broker, { path, methods: { GET: handle }, asError: problem, bodyMax: 0 });
  };
  get('/.well-known/oauth-authorization-server', () => serverMetadata(broker));
  get('/.well-known/openid-configuration', () => serverMetadata(broker));
  get(resourceMetadataPath, () => resourceMetadata(broker));
  get(detailSchemaPath, () => detailSchema(broker));
  get('/jwks', async () => {
    await seeRotation(broker);
    return jwks(broker);
  });
  get('/openapi.json', () => ({
    status: 200,
    body: openApi(broker.config.issuer, broker.signIn?.metadata()),
  }));
  get('/errors/:reason', ({ params }) => errorPage(params['reason'] ?? '') ?? notFound());
  mountFederation(broker, get);
  mountOauth(app, broker);
  mount(app, broker, {
    path: eventsPath,
    methods: { POST: (request) => postEvent(broker, request) },
    asError: eventError,
    asBodyError: asAuditedError(broker, `POST ${eventsPath}`, eventError),
    bodyMax: oauthBodyBytesMax,
    bodyType: eventsType,
  });
  for (const route of broker.signIn?.routes ?? []) mount(app, broker, route);
  for (const [path, methods] of byPath(broker))
    mount(app, broker, {
      path,
      methods,
      asError: problem,
      asBodyError: asAuditedError(broker, path, problem),
      bodyMax: apiBodyBytesMax,
    });
  app.use(async (request: Request, response: Response) => {
    await send(response, problem(new Refusal('not_found'), contextOf(broker, request)));
  });
  app.use(async (thrown: unknown, request: Request, response: Response, _next: NextFunction) => {
    // A path that does not decode names nothing.
    const error = thrown instanceof URIError ? new Refusal('not_found') : thrown;
    if (!(error instanceof Refusal)) reportFailure(broker, error, contextOf(broker, request));
    if (response.headersSent) response.destroy();
    else await send(response, problem(error, contextOf(broker, request)));
  });
  return app;
}

function mountFederation(broker: Broker, get: (path: string, handle: Handler) => void): void {
  const { issuer, federationIssuer } = broker.config;
  const { origin, pathname } = new URL(federationIssuer);
  // Elsewhere it is published as static files (`mayfly keys export --federation DIR`).
  if (origin !== issuer || pathname === '/') return;
  get(`${pathname}/.well-known/openid-configuration`, () => federationMetadata(broker));
  get(`${pathname}/jwks`, async () => {
    await seeRotation(broker);
    return federationJwks(broker);
  });
}

// A cloud that ends access reads these while the database is busy or away: then the keys that are known are the answer.
// A key is published minutes before it signs (rotation.ts), so no reader needs the newest.
async function seeRotation({ policies }: Broker): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise((resolve) => {
    timer = setTimeout(resolve, rotationWaitMs);
  });
  await Promise.race([policies.refresh().catch(() => undefined), enough]);
  clearTimeout(timer);
}

function mountOauth(app: Express, broker: Broker): void {
  const limits = { asError: oauthError, bodyMax: oauthBodyBytesMax, bodyType: form };
  const others = { '/introspect': postIntrospect, '/revoke': postRevoke };
  const asFormError: ErrorForm = (error, context) => refuseForm(broker, error, context);
  mount(app, broker, {
    ...limits,
    path: '/token',
    methods: { POST: (request) => postToken(broker, request) },
    asBodyError: asFormError,
  });
  for (const [path, post] of Object.entries(others))
    mount(app, broker, {
      ...limits,
      path,
      methods: { POST: (request) => post(broker, request) },
      asBodyError: asAuditedError(broker, `POST ${path}`, oauthError),
    });
}

/** A mistyped filter would show everything, a mistyped flag would do something else: both are refused. */
function refuseUnknownQuery({ query: known = [] }: Route, { query }: RawRequest): void {
  for (const name of new Set(query.keys()))
    if (!known.includes(name) || query.getAll(name).length > 1)
      throw new Refusal('malformed_request', { detail: 'unknown or repeated query parameter' });
}

/** A body that cannot be read is a refusal like any other: recorded, once. */
function asAuditedError(broker: Broker, route: string, asError: ErrorForm): ErrorForm {
  return async (error, context) => {
    await recordRefusal(broker, error, { id: context.requestId, route, principal: undefined });
    return asError(error, context);
  };
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

/** Roles are asked here, from the table, before the handler looks at anything; a refusal is recorded here, once. */
async function handleRoute(broker: Broker, route: Route, request: RawRequest): Promise<Reply> {
  let principal: Principal | undefined;
  try {
    principal = await authenticate(broker, request, { signedIn: true });
    if (typeof route.access !== 'string') requireRole(principal, route.access);
    refuseUnknownQuery(route, request);
    return await route.handle({ broker, request, principal });
  } catch (error) {
    const named = `${route.method} ${route.path}`;
    await recordRefusal(broker, error, { id: request.id, route: named, principal });
    throw error;
  }
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
  // HEAD is GET without its body, which node leaves out by itself (RFC 9110 section 9.3.2).
  const allow = Object.keys(methods)
    .flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    .join(', ');
  const certificates = certificateOptions(broker);
  app.all(path, async (request, response) => {
    const context = contextOf(broker, request);
    const started = performance.now();
    let reply: Reply;
    try {
      const handle = methods[request.method === 'HEAD' ? 'GET' : request.method];
      if (handle === undefined) throw new MethodRefused(allow);
      const raw = await readRequest(request, { bodyMax, bodyType, certificates }).catch(
        async (error: unknown) => ({
          refused: await (asBodyError ?? asError)(error, context),
        }),
      );
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
    // RFC 9449 section 8.2: a new nonce with any answer to a proof.
    if (request.headers['dpop'] !== undefined)
      response.setHeader('dpop-nonce', broker.nonces.issue(new Date()));
    // The next request of this connection goes to a replica that stays.
    if (broker.draining()) response.setHeader('connection', 'close');
    await send(response, reply);
  });
}

function certificateOptions({ config }: Broker): CertificateOptions {
  return {
    fromSocket: config.tlsClientCertificates === 'request',
    header: config.clientCertificateHeader ?? null,
    proxies: cidrList(config.trustedProxies),
  };
}

function reportFailure({ log, metrics }: Broker, error: unknown, { requestId: id }: ErrorContext): void {
  const reason = error instanceof Fault ? error.reason : 'internal';
  const detail = error instanceof Fault ? error.detail : undefined;
  log.error({ err: error, requestId: id, reason, detail }, 'request failed');
  if (reason === 'internal') metrics.alarms.inc({ kind: 'internal' });
}

function notFound(): never {
  throw new Refusal('not_found');
}
