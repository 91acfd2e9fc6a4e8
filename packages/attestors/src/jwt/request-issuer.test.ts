import type { RequestListener } from 'node:http';
import { afterEach, expect, test } from '@jest/globals';
import { fetchLimits, outcome, serve } from '../../test/issuer.ts';
import { type FetchLimits, requestIssuer } from './fetch-json.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function post(answer: RequestListener, more: Partial<FetchLimits> = {}) {
  const { origin, close } = await serve(answer);
  closing.push(close);
  const limits = fetchLimits({ allowLoopbackOrigins: [origin], ...more });
  const headers = { 'content-type': 'application/x-www-form-urlencoded', authorization: 'Basic eDp5' };
  return requestIssuer(`${origin}/token`, { method: 'POST', headers, body: 'code=c' }, limits);
}

test('posts a form with its headers and answers whatever status came', async () => {
  const answer = await post(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { method, headers } = request;
    response.writeHead(400, { 'x-seen': `${method} ${headers.authorization} ${text}` }).end('{"error":"x"}');
  });
  expect([answer.status, answer.text, answer.headers['x-seen']]).toEqual([
    400,
    '{"error":"x"}',
    'POST Basic eDp5 code=c',
  ]);
});

test('follows no redirect: the code would go where nobody has looked', async () => {
  const answer = await post((_, response) => response.writeHead(307, { location: '/elsewhere' }).end());
  expect(answer.status).toBe(307);
});

test('a loopback origin that is not allowed, and an answer without end, are refused', async () => {
  expect(await outcome(() => post((_, response) => response.end(), { allowLoopbackOrigins: [] }))).toMatch(
    /^issuer_unavailable/,
  );
  const endless: RequestListener = (_, response) => response.end('x'.repeat(fetchLimits().bodyBytesMax + 1));
  expect(await outcome(() => post(endless))).toMatch(/^issuer_unavailable.*too large/);
});
