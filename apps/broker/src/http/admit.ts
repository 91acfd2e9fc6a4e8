import type { BlockList } from 'node:net';
import { Fault, Refusal } from '@mayfly/core';
import type { NextFunction, Request, Response } from 'express';
import type { Broker } from '../broker.ts';
import { cidrList, isLoopbackHost, isOfPeer } from '../net.ts';
import { type ErrorContext, oauthError, problem } from './errors.ts';
import { requestId } from './request.ts';
import { send } from './send.ts';

/** Before anything is parsed: the Host is ours, TLS came first, and there is room. Ending and audit are never shed. */
export function createAdmission(broker: Broker) {
  const { metrics, config, draining, traffic } = broker;
  const proxies = cidrList(config.trustedProxies);
  const refusalOf = (request: Request): Refusal | Fault | undefined => {
    if (!namesOurHost(request, config.issuer)) return new Refusal('host_unknown');
    if (!cameOverTls(request, config, proxies)) return new Refusal('insecure_transport');
    const full = draining() || traffic.inFlight >= config.requestsInFlight;
    return full && isSheddable(request) ? new Fault('overloaded', { effect: 'none' }) : undefined;
  };
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    const refused = refusalOf(request);
    if (refused !== undefined) {
      const form = isOauth(request) ? oauthError : problem;
      response.setHeader('connection', 'close'); // Its body was not read.
      await send(response, form(refused, contextOf(broker, request)));
      return;
    }
    metrics.inFlight.inc();
    traffic.inFlight += 1;
    response.once('close', () => {
      metrics.inFlight.dec();
      traffic.inFlight -= 1;
    });
    next();
  };
}

const oauthPaths: ReadonlySet<string> = new Set([
  '/token',
  '/introspect',
  '/revoke',
  '/device_authorization',
]);

function isOauth({ path }: Request): boolean {
  return oauthPaths.has(path);
}

export function contextOf({ config }: Broker, request: Request): ErrorContext {
  return { issuer: config.issuer, requestId: requestId(request) };
}

function isSheddable({ path, method }: Request): boolean {
  return path === '/token' || (path === '/v1/tasks' && method === 'POST');
}

/** One Host header, the issuer's; on loopback any spelling of it. URLs are made from the issuer all the same. */
function namesOurHost(request: Request, issuer: string): boolean {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0);
  if (names.filter((name) => name.toLowerCase() === 'host').length !== 1) return false;
  const host = request.headers.host ?? '';
  const own = new URL(issuer);
  if (!URL.canParse(`${own.protocol}//${host}`)) return false;
  // A client may write the default port out.
  if (new URL(`${own.protocol}//${host}`).host === own.host) return true;
  return isLoopbackHost(own.hostname) && isLoopbackHost(new URL(`http://${host}`).hostname);
}

/** TLS of our own; else from this machine, or from a proxy that we know and that says it had TLS. */
function cameOverTls(request: Request, { tlsCert }: Broker['config'], proxies: BlockList): boolean {
  if (tlsCert !== undefined) return true;
  const peer = request.socket.remoteAddress;
  if (isOfPeer(proxies, peer)) return request.headers['x-forwarded-proto'] === 'https';
  return isLoopbackHost((peer ?? '').replace(/^::ffff:/, ''));
}
