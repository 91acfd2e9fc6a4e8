import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { Misconfigured } from './errors.ts';
import { selfSigned } from './testing/self-signed.ts';
import { rejection } from './testing/until.ts';
import { createTransport, TransportFailure, type TransportOptions } from './transport.ts';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-transport-'));
const servers: { close(): unknown; closeAllConnections?(): void }[] = [];
afterAll(() => {
  rmSync(dir, { recursive: true });
  for (const server of servers) {
    server.closeAllConnections?.();
    server.close();
  }
});

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const plain = async (listener: RequestListener) => `http://127.0.0.1:${await listen(createServer(listener))}`;
const get = (url: string, options: TransportOptions = {}, signal?: AbortSignal) =>
  createTransport(options).send({ method: 'GET', url: new URL('/x', url), headers: {}, signal });

test('carries method, headers and body, and answers status, headers and text', async () => {
  const url = await plain(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    response
      .writeHead(201, { 'x-seen': `${request.method} ${request.headers['x-mine']} ${body}` })
      .end('{"é":1}');
  });
  const request = { method: 'POST', url: new URL(url), headers: { 'x-mine': 'yes' }, body: 'é' };
  const answer = await createTransport().send(request);
  expect([answer.status, answer.body]).toEqual([201, '{"é":1}']);
  expect(answer.headers['x-seen']).toBe('POST yes é');
});

test('a redirect is an answer and is not followed', async () => {
  let asked = 0;
  const url = await plain((_, response) => {
    asked += 1;
    response.writeHead(302, { location: '/elsewhere' }).end();
  });
  expect([(await get(url)).status, asked]).toEqual([302, 1]);
});

test('a closed port is unreachable, and nothing was sent', async () => {
  const error = await rejection(get('http://127.0.0.1:1'), TransportFailure);
  expect([error.kind, error.sent, error.code]).toEqual(['unreachable', false, 'ECONNREFUSED']);
});

test('a connection that breaks after the request may have had its effect', async () => {
  const url = await plain((request) => request.socket.destroy());
  const error = await rejection(get(url), TransportFailure);
  expect([error.kind, error.sent]).toEqual(['broken', true]);
});

test('each request has a connection of its own, so that a broken one is never a guess', async () => {
  const transport = createTransport();
  const ports = new Set<number | undefined>();
  const url = await plain((request, response) => {
    ports.add(request.socket.remotePort);
    response.end('{}');
  });
  for (let round = 0; round < 3; round += 1)
    await transport.send({ method: 'GET', url: new URL(url), headers: {} });
  expect(ports.size).toBe(3);
});

test('an answer that does not come in time ends in a timeout', async () => {
  const url = await plain(() => {});
  const error = await rejection(get(url, { timeoutMs: 50 }), TransportFailure);
  expect([error.kind, error.sent]).toEqual(['timeout', true]);
});

test('an answer is read up to its bound, and not one byte further', async () => {
  const url = await plain((_, response) => response.end('x'.repeat(1000)));
  expect((await get(url, { answerBytesMax: 1000 })).body).toHaveLength(1000);
  const error = await rejection(get(url, { answerBytesMax: 999 }), TransportFailure);
  expect(error.kind).toBe('too_large');
});

test('an aborted request rejects with the reason of the signal, before or while it runs', async () => {
  const url = await plain(() => {});
  const reason = new Error('over');
  await expect(get(url, {}, AbortSignal.abort(reason))).rejects.toBe(reason);
  const controller = new AbortController();
  const running = get(url, {}, controller.signal);
  setImmediate(() => controller.abort(reason));
  await expect(running).rejects.toBe(reason);
});

test('https works with the CA of the file, read again for a new one, and with no other', async () => {
  const { key, cert } = selfSigned();
  const caFile = join(dir, 'ca.pem');
  const server = createTlsServer({ key, cert }, (_, response) => response.end('{"tls":true}'));
  const url = `https://127.0.0.1:${await listen(server)}`;
  const transport = createTransport({ caFile });
  const request = { method: 'GET', url: new URL(url), headers: {} };
  writeFileSync(caFile, selfSigned().cert);
  expect((await rejection(transport.send(request), TransportFailure)).kind).toBe('tls');
  writeFileSync(caFile, cert);
  expect((await transport.send(request)).body).toBe('{"tls":true}');
  const untrusted = await rejection(get(url), TransportFailure);
  expect([untrusted.kind, untrusted.sent]).toEqual(['tls', false]);
});

test('NODE_TLS_REJECT_UNAUTHORIZED=0 opens nothing here', async () => {
  const { key, cert } = selfSigned();
  const server = createTlsServer({ key, cert }, (_, response) => response.end('{}'));
  const url = `https://127.0.0.1:${await listen(server)}`;
  const { emitWarning } = process;
  process.emitWarning = () => {};
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  try {
    expect((await rejection(get(url), TransportFailure)).kind).toBe('tls');
  } finally {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.emitWarning = emitWarning;
  }
});

test('https to a port that speaks none is a failure of tls', async () => {
  const port = await listen(createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
  expect((await rejection(get(`https://127.0.0.1:${port}`), TransportFailure)).sent).toBe(false);
});

test('a CA file that cannot be read is a matter of configuration', async () => {
  const error = await rejection(get('https://127.0.0.1:1', { caFile: join(dir, 'none.pem') }), Misconfigured);
  expect(error.reason).toBe('ca_file_unreadable');
});
