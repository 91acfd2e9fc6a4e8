import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { afterEach, expect, test } from '@jest/globals';
import { selfSigned } from '@mayfly/standins';
import { fetchLimits, outcome, serve, type TestServer } from '../../test/issuer.ts';
import type { Resolved } from './address.ts';
import { type FetchLimits, fetchJson } from './fetch-json.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function server(answer: RequestListener, host?: string): Promise<TestServer> {
  const started = await serve(answer, host);
  closing.push(started.close);
  return started;
}

const address = (text: string): Resolved => ({ address: text, family: text.includes(':') ? 6 : 4 });
const { bodyBytesMax } = fetchLimits();
const limits = (more: Partial<FetchLimits> = {}): FetchLimits =>
  fetchLimits({
    resolve: async () => {
      throw new TypeError('no look-up expected');
    },
    ...more,
  });
const json =
  (body: string, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (_, response) =>
    response.writeHead(200, headers).end(body);
const fetchFrom = async (answer: RequestListener, more: Partial<FetchLimits> = {}) => {
  const { origin } = await server(answer);
  return fetchJson(`${origin}/keys`, limits({ allowLoopbackOrigins: [origin], ...more }));
};
const refusal = (answer: RequestListener, more?: Partial<FetchLimits>) =>
  outcome(() => fetchFrom(answer, more));

test('reads JSON from an allowed origin', async () => {
  expect(await fetchFrom(json('{"keys":[]}'))).toEqual({ body: { keys: [] }, maxAgeSeconds: undefined });
});

test.each([
  ['max-age=120', 120],
  ['public, max-age=60, must-revalidate', 60],
  ['MAX-AGE=5', 5],
  ['max-age=0', 0],
  ['max-age=99999999999999999999', 999_999_999],
  ['s-maxage=120', undefined],
  ['x-max-age=120', undefined],
  ['max-age=-1', undefined],
  ['max-age=', undefined],
  ['no-store', undefined],
])('reads Cache-Control %s', async (header, seconds) => {
  expect((await fetchFrom(json('{}', { 'cache-control': header }))).maxAgeSeconds).toBe(seconds);
});

test.each([201, 204, 206, 304, 400, 401, 404, 429, 500, 503])('refuses status %i', async (status) => {
  expect(await refusal((_, response) => response.writeHead(status).end())).toBe(
    `issuer_unavailable (none): issuer: answered ${status}`,
  );
});

test.each([301, 302, 303, 307, 308])('follows no redirect: %i', async (status) => {
  const target = await server(json('{}'));
  const location = `${target.origin}/elsewhere`;
  const { origin } = await server((_, response) => response.writeHead(status, { location }).end());
  const allowed = limits({ allowLoopbackOrigins: [origin, target.origin] });
  expect(await outcome(() => fetchJson(origin, allowed))).toBe(
    `issuer_unavailable (none): issuer: answered ${status}`,
  );
  expect(target.asked).toEqual([]);
});

test.each([
  ['not JSON', '<html>', 'not JSON'],
  ['nothing', '', 'not JSON'],
  ['duplicate keys', '{"keys":[],"keys":[]}', 'duplicate key'],
  ['duplicate keys by escape', '{"keys":[],"\\u006beys":[]}', 'duplicate key'],
  ['a number out of range', '[1e400]', 'number out of range'],
  ['nine levels', `${'['.repeat(9)}1${']'.repeat(9)}`, 'nested too deeply'],
  ['two documents', '{}{}', 'not JSON'],
])('refuses a body of %s', async (_, body, detail) => {
  expect(await refusal(json(body))).toBe(`issuer_unavailable (none): issuer: ${detail}`);
});

test('refuses a body that is not UTF-8', async () => {
  expect(await refusal((_, response) => response.end(Buffer.from([0x22, 0xff, 0x22])))).toMatch(
    /^issuer_unavailable \(none\): issuer: ERR_ENCODING_INVALID_ENCODED_DATA/,
  );
});

test('asks for no compression, so that the size that counts is the size that is read', async () => {
  let accepted: unknown = 'not asked';
  await fetchFrom((request, response) => {
    accepted = request.headers['accept-encoding'];
    response.end('{}');
  });
  expect(accepted).toBeUndefined();
});

test('takes a body of the greatest size and refuses one more byte', async () => {
  const body = (size: number) => json(`"${'x'.repeat(size - 2)}"`);
  expect(await refusal(body(bodyBytesMax))).toBe('accepted');
  expect(await refusal(body(bodyBytesMax + 1))).toBe('issuer_unavailable (none): issuer: body too large');
});

test('a body without an end is cut at the size limit', async () => {
  let written = 0;
  const chunk = 'x'.repeat(16_384);
  const endless: RequestListener = (_, response) => {
    const more = () => {
      while (!response.destroyed && response.write(chunk)) written += chunk.length;
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  };
  expect(await refusal(endless)).toBe('issuer_unavailable (none): issuer: body too large');
  expect(written).toBeLessThan(64 * 1024 * 1024);
});

test('a body that ends before its length is refused', async () => {
  const cut: RequestListener = (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{"keys":[]}', () => response.destroy());
  };
  expect(await refusal(cut)).toMatch(/^issuer_unavailable \(none\): issuer: UND_ERR_SOCKET/);
});

const timeoutMs = 120;
const timedOut = /^issuer_unavailable \(none\): issuer: (TimeoutError|UND_ERR_[A-Z_]+TIMEOUT)$/;

test('headers that never come are cut in time', async () => {
  expect(await refusal(() => undefined, { timeoutMs })).toMatch(timedOut);
});

test('a body that drips is cut in the time of the whole fetch, not of a piece', async () => {
  const drip: RequestListener = (_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(' '), 20);
    response.once('close', () => clearInterval(timer));
  };
  const began = performance.now();
  expect(await refusal(drip, { timeoutMs })).toMatch(timedOut);
  expect(performance.now() - began).toBeLessThan(1_500);
});

test('a look-up that never answers is cut in time', async () => {
  const resolve = () => new Promise<readonly Resolved[]>(() => undefined);
  expect(await outcome(() => fetchJson('https://issuer.test', limits({ resolve, timeoutMs })))).toBe(
    'issuer_unavailable (none): issuer: name not resolved',
  );
});

test('a refused connection is a fault', async () => {
  const { origin, close } = await serve(json('{}'));
  await close();
  expect(await outcome(() => fetchJson(origin, limits({ allowLoopbackOrigins: [origin] })))).toBe(
    'issuer_unavailable (none): issuer: ECONNREFUSED',
  );
});

const resolvedTo = (...addresses: string[]) => ({ resolve: async () => addresses.map(address) });
const fetchResolved = (url: string, addresses: string[], more: Partial<FetchLimits> = {}) =>
  outcome(() => fetchJson(url, limits({ ...resolvedTo(...addresses), ...more })));

test.each([
  [['10.0.0.1'], 'private'],
  [['fd12::1'], 'private'],
  [['127.0.0.1'], 'loopback'],
  [['::1'], 'loopback'],
  [['::ffff:127.0.0.1'], 'loopback'],
  [['169.254.169.254'], 'forbidden'],
  [['fd00:ec2::254'], 'forbidden'],
  [['::ffff:169.254.169.254'], 'forbidden'],
  [['0.0.0.0'], 'forbidden'],
  [['224.0.0.1'], 'forbidden'],
  [['1.1.1.1', '10.0.0.1'], 'private'],
  [['10.0.0.1', '1.1.1.1'], 'private'],
  [['1.1.1.1', '2606:4700::1111', '169.254.169.254'], 'forbidden'],
])('refuses a host at %j', async (addresses, name) => {
  expect(await fetchResolved('https://issuer.test/keys', addresses)).toBe(
    `issuer_unavailable (none): issuer: address is ${name}`,
  );
});

test.each([['169.254.169.254'], ['fd00:ec2::254'], ['0.0.0.0']])(
  'nothing that is allowed opens %s',
  async (one) => {
    const origin = 'https://issuer.test';
    const allowed = { allowLoopbackOrigins: [origin], allowPrivateOrigins: [origin] };
    for (const addresses of [[one], ['10.0.0.1', one], ['127.0.0.1', one]])
      expect(await fetchResolved(`${origin}/keys`, addresses, allowed)).toBe(
        'issuer_unavailable (none): issuer: address is forbidden',
      );
  },
);

test.each([
  'https://other.test',
  'https://issuer.test:8443',
  'http://issuer.test',
  'https://issuer.test.evil.test',
])('a private address is open to the exact origin alone, not to %s', async (origin) => {
  const allowed = { allowPrivateOrigins: [origin], allowLoopbackOrigins: [origin] };
  expect(await fetchResolved('https://issuer.test/keys', ['10.0.0.1'], allowed)).toBe(
    'issuer_unavailable (none): issuer: address is private',
  );
});

test.each([['1.1.1.1'], ['10.0.0.1'], ['169.254.169.254']])(
  'http is refused at %s, also for an allowed origin',
  async (one) => {
    const allowed = {
      allowLoopbackOrigins: ['http://issuer.test'],
      allowPrivateOrigins: ['http://issuer.test'],
    };
    expect(await fetchResolved('http://issuer.test/keys', [one], allowed)).toBe(
      'issuer_unavailable (none): issuer: https is required',
    );
  },
);

test('http on loopback is refused to an origin that is not allowed', async () => {
  const { origin, port, asked } = await server(json('{}'));
  for (const allowed of [
    [],
    ['http://127.0.0.1'],
    [`https://127.0.0.1:${port}`],
    [`http://localhost:${port}`],
  ])
    expect(await outcome(() => fetchJson(origin, limits({ allowLoopbackOrigins: allowed })))).toBe(
      'issuer_unavailable (none): issuer: https is required',
    );
  expect(asked).toEqual([]);
});

test.each([
  ['https://127.0.0.1/', 'loopback'],
  ['https://127.1/', 'loopback'],
  ['https://2130706433/', 'loopback'],
  ['https://0x7f000001/', 'loopback'],
  ['https://0177.0.0.1/', 'loopback'],
  ['https://[::1]/', 'loopback'],
  ['https://[::ffff:127.0.0.1]/', 'loopback'],
  ['https://10.0.0.1/', 'private'],
  ['https://169.254.169.254/latest/meta-data', 'forbidden'],
  ['https://[fd00:ec2::254]/', 'forbidden'],
  ['https://[::ffff:a9fe:a9fe]/', 'forbidden'],
  ['https://0/', 'forbidden'],
])('judges the address of %s itself and asks no look-up about it', async (url, name) => {
  expect(await outcome(() => fetchJson(url, limits()))).toBe(
    `issuer_unavailable (none): issuer: address is ${name}`,
  );
});

test('a host without an address, or whose look-up fails, is a fault', async () => {
  expect(await fetchResolved('https://issuer.test', [])).toBe(
    'issuer_unavailable (none): issuer: no address',
  );
  expect(await outcome(() => fetchJson('https://issuer.test', limits()))).toBe(
    'issuer_unavailable (none): issuer: name not resolved',
  );
});

test.each(['', 'keys', '//issuer.test', 'http://'])('what is no URL is a fault: %j', async (url) => {
  expect(await outcome(() => fetchJson(url, limits()))).toBe('issuer_unavailable (none): issuer: not a URL');
});

test.each(['file:///etc/passwd', 'ftp://issuer.test/', 'data:application/json,{}', 'ws://issuer.test/'])(
  'another scheme is refused: %s',
  async (url) => {
    expect(await fetchResolved(url, ['1.1.1.1'])).toBe(
      'issuer_unavailable (none): issuer: https is required',
    );
  },
);

test('the connection goes to the address that was checked, though the name moves meanwhile', async () => {
  const checked = await server((request, response) => response.end(JSON.stringify(request.headers.host)));
  const moved = await serveOn('127.0.0.2', checked.port);
  const answers = ['127.0.0.1', '127.0.0.2', '127.0.0.2'];
  let asked = 0;
  const resolve = async () => {
    asked += 1;
    return [address(answers[asked - 1] ?? '127.0.0.2')];
  };
  const origin = `http://issuer.test:${checked.port}`;
  const { body } = await fetchJson(origin, limits({ resolve, allowLoopbackOrigins: [origin] }));
  expect(body).toBe(`issuer.test:${checked.port}`);
  expect([asked, moved.asked]).toEqual([1, []]);
});

async function serveOn(host: string, port: number): Promise<TestServer> {
  const started = await serve(json('"moved"'), host, port);
  closing.push(started.close);
  return started;
}

test('each fetch looks the name up again: an address is checked once for one connection', async () => {
  const { port } = await server(json('{}'));
  const origin = `http://issuer.test:${port}`;
  const answers = ['127.0.0.1', '169.254.169.254'];
  const allowed = limits({
    allowLoopbackOrigins: [origin],
    resolve: async () => [address(answers.shift() ?? '')],
  });
  expect(await outcome(() => fetchJson(origin, allowed))).toBe('accepted');
  expect(await outcome(() => fetchJson(origin, allowed))).toBe(
    'issuer_unavailable (none): issuer: https is required',
  );
});

async function tlsServer(answer: RequestListener, certificate = selfSigned()): Promise<string> {
  const tls = createServer(certificate, answer);
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => tls.close(() => resolve())));
  const bound = tls.address();
  return `https://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
}

test('a certificate that nobody trusts is refused', async () => {
  const origin = await tlsServer(json('{}'));
  expect(await outcome(() => fetchJson(origin, limits({ allowLoopbackOrigins: [origin] })))).toBe(
    'issuer_unavailable (none): issuer: DEPTH_ZERO_SELF_SIGNED_CERT',
  );
});

test('with an authority of its own an issuer is believed by that authority alone', async () => {
  const certificate = selfSigned();
  const origin = await tlsServer(json('{}'), certificate);
  const allowed = limits({ allowLoopbackOrigins: [origin] });
  expect(await outcome(() => fetchJson(origin, { ...allowed, ca: certificate.cert }))).toBe('accepted');
  expect(await outcome(() => fetchJson(origin, { ...allowed, ca: selfSigned().cert }))).toMatch(
    /^issuer_unavailable \(none\): issuer: [A-Z_]*(CERT|SIGNATURE)/,
  );
});

test('a document is posted with its bearer, and 201 is an answer to it alone', async () => {
  const seen: unknown[] = [];
  const { origin } = await server((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      seen.push([request.method, request.headers.authorization, request.headers['content-type'], body]);
      response.writeHead(201).end('{}');
    });
  });
  const allowed = limits({ allowLoopbackOrigins: [origin] });
  await fetchJson(origin, { ...allowed, bearer: 'a.b.c', json: { kind: 'TokenReview' } });
  expect(seen).toEqual([['POST', 'Bearer a.b.c', 'application/json', '{"kind":"TokenReview"}']]);
  expect(await outcome(() => fetchJson(origin, allowed))).toBe(
    'issuer_unavailable (none): issuer: answered 201',
  );
});

test('the deadline of the caller ends a fetch before its own', async () => {
  const caller = new AbortController();
  const { origin } = await server(() => caller.abort());
  const allowed = limits({ allowLoopbackOrigins: [origin], timeoutMs: 20_000 });
  expect(await outcome(() => fetchJson(origin, { ...allowed, signal: caller.signal }))).toMatch(
    /^issuer_unavailable \(none\): issuer: AbortError$/,
  );
});
