import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Fault } from '@mayfly/core';
import { createRest, type RestRequest, refusalOf } from './rest.ts';

const rest = createRest();
let handle: (request: IncomingMessage, response: ServerResponse) => void = () => undefined;
let asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  handle(request, response);
});
let origin = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  origin = `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function call(answer: typeof handle, more: Partial<RestRequest> = {}) {
  handle = answer;
  asked = [];
  const signal = new AbortController().signal;
  return rest.call({ name: 'Thing', method: 'POST', url: `${origin}/a`, headers: {}, signal, ...more });
}
const fault = (run: Promise<unknown>) =>
  run.then(
    () => 'ok',
    (error: unknown) =>
      error instanceof Fault ? `${error.reason} (${error.effect}): ${error.detail}` : `bare: ${error}`,
  );

test('sends JSON with its own headers, and reads JSON', async () => {
  let said = '';
  const answer = await call(
    (request, response) => {
      const { accept, authorization, 'content-type': type } = request.headers;
      request.on('data', (chunk) => {
        said += String(chunk);
      });
      request.on('end', () => {
        said += ` ${accept} ${authorization} ${type}`;
        response.writeHead(201).end('{"a":1}');
      });
    },
    { json: { b: 2 }, headers: { authorization: 'Bearer x' } },
  );
  expect(answer).toEqual({ status: 201, body: { a: 1 }, text: '{"a":1}' });
  expect(said).toBe('{"b":2} application/json Bearer x application/json');
});

test.each(['POST', 'DELETE'] as const)('keeps the connection after a %s with a body', async (method) => {
  const ports = new Set<number | undefined>();
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    ports.add(request.socket.remotePort);
    request.resume().on('end', () => response.end('{}'));
  };
  for (let nth = 0; nth < 10; nth += 1) await call(answer, { method, json: { nth } });
  // One is given back a turn late now and then.
  expect(ports.size).toBeLessThan(5);
});

test('follows no redirect: the bearer would go with it', async () => {
  const answer = await call((_, response) => response.writeHead(307, { location: `${origin}/b` }).end());
  expect([answer.status, asked]).toEqual([307, ['POST /a']]);
});

test('what is no JSON is undefined, whatever the status', async () => {
  expect(await call((_, response) => response.writeHead(200).end('<html>'))).toEqual({
    status: 200,
    body: undefined,
    text: '<html>',
  });
});

test('tries nothing again', async () => {
  expect(await fault(call((_, response) => response.destroy()))).toMatch(
    /^provider_unavailable \(unknown\): Thing: [A-Z_]+$/,
  );
  expect(asked).toHaveLength(1);
});

test('an answer without end is cut, and may have come after the fact', async () => {
  const endless = (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200);
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  };
  expect(await fault(call(endless))).toBe('provider_unavailable (unknown): Thing: RangeError');
});

test('ends with its signal', async () => {
  const deadline = new AbortController();
  const run = call(() => deadline.abort(), { signal: deadline.signal });
  expect(await fault(run)).toBe('provider_unavailable (unknown): Thing: AbortError');
});

test('a connection that is refused has changed nothing', async () => {
  expect(await fault(call(() => undefined, { url: 'http://127.0.0.1:1/' }))).toBe(
    'provider_unavailable (none): Thing: ECONNREFUSED',
  );
});

test.each([
  [400, 'provider_refused (none): Thing: 400'],
  [401, 'provider_refused (none): Thing: 401'],
  [429, 'provider_unavailable (none): Thing: 429'],
  [500, 'provider_unavailable (unknown): Thing: 500'],
  [503, 'provider_unavailable (unknown): Thing: 503'],
  [302, 'provider_unavailable (unknown): Thing: 302'],
  [200, 'provider_unavailable (unknown): Thing: 200'],
])(
  'an unwanted %d says whether something may have happened, and nothing that was written',
  async (status, says) => {
    const refusal = refusalOf('Thing', { status, text: 'SECRET', body: { message: 'SECRET' } });
    expect(await fault(Promise.reject(refusal))).toBe(says);
    expect(JSON.stringify(refusal)).not.toContain('SECRET');
  },
);
