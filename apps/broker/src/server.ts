import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer as createHttpServer, type Server, STATUS_CODES } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { errorRow, type Reason } from '@mayfly/protocol';
import type { Express } from 'express';
import { type Config, ConfigError } from './config.ts';
import { splitAddress } from './net.ts';

/** Idle keep-alive connections are closed after this. */
const keepAliveMs = 10_000;
const tlsReloadMs = 5_000;

/** The API's listener: plain behind loopback or a trusted proxy, else TLS whose files are read again when they change. */
export function createServer(app: Express, config: Config): Server {
  const { tlsCert, tlsKey, requestTimeout, tlsClientCertificates } = config;
  // Node looks at slow connections only every 30 seconds by default, whatever their deadline.
  const connectionsCheckingInterval = Math.min(1_000, Math.ceil(requestTimeout / 4));
  // A missing Host is refused by our own check, in the shape of all refusals; node's answer has no body.
  const options = { connectionsCheckingInterval, requireHostHeader: false };
  const server =
    tlsCert === undefined || tlsKey === undefined
      ? createHttpServer(options, app)
      : createTls(app, options, {
          certFile: tlsCert,
          keyFile: tlsKey,
          requestCert: tlsClientCertificates === 'request',
        });
  // Slow headers and bodies would hold sockets for minutes by default.
  server.headersTimeout = requestTimeout;
  server.requestTimeout = requestTimeout;
  server.keepAliveTimeout = keepAliveMs;
  server.maxHeadersCount = 100;
  server.on('clientError', answerClientError);
  // An expectation that we do not know may be left aside (RFC 9110 section 10.1.1); node would answer 417 without a body.
  server.on('checkExpectation', app);
  return server;
}

/** Node's codes of requests that no handler gets to see, as the reasons of our table. */
const unreadable: Readonly<Record<string, { status: number; reason: Reason }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, reason: 'request_timeout' },
  HPE_HEADER_OVERFLOW: { status: 431, reason: 'malformed_request' },
};

/** Slow, oversized or broken before a route was chosen: the shape of both kinds of error, and the socket is closed. */
function answerClientError(error: Error, socket: Duplex): void {
  if (!socket.writable) return void socket.destroy();
  const code = String(Reflect.get(error, 'code'));
  const { status, reason } = unreadable[code] ?? { status: 400, reason: 'malformed_request' };
  const { oauth, says, todo } = errorRow(reason);
  const text = { error: oauth, error_description: says, title: says, status, detail: todo, reason };
  const body = JSON.stringify(text);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json',
    'cache-control: no-store',
    'pragma: no-cache',
    'x-content-type-options: nosniff',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function createTls(
  app: Express,
  options: { connectionsCheckingInterval: number; requireHostHeader: boolean },
  { certFile, keyFile, requestCert }: { certFile: string; keyFile: string; requestCert: boolean },
): Server {
  const read = () => ({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
  const server = createHttpsServer(
    // RFC 8705 section 3: a token is bound to the key of the certificate, whoever has issued that.
    { ...options, ...read(), minVersion: 'TLSv1.2', requestCert, rejectUnauthorized: false },
    app,
  );
  const reload = () => {
    try {
      server.setSecureContext(read());
    } catch {
      // Half-written files: the next change is looked at again, the old certificate goes on.
    }
  };
  for (const file of [certFile, keyFile])
    watchFile(file, { interval: tlsReloadMs, persistent: false }, reload);
  server.once('close', () => {
    for (const file of [certFile, keyFile]) unwatchFile(file, reload);
  });
  return server;
}

const unlistenable: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another process',
  EACCES: 'may not be opened by this user',
  EADDRNOTAVAIL: 'is not an address of this machine',
  ENOTFOUND: 'is no known name',
};

/** Resolves with the port. Rejects with ConfigError that names `setting` where the address cannot be had. */
export function listen(server: Server, address: string, setting: string): Promise<number> {
  const { host, port } = splitAddress(address);
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      const says = unlistenable[error.code ?? ''];
      reject(says === undefined ? error : new ConfigError([`${setting}: ${address} ${says}`]));
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
    });
  });
}

/** No new connections; those in flight get their time, then they are cut and belong to the reaper. */
export function closeGently(server: Server, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}
