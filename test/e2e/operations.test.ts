import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startEmbeddedAsExternal } from './postgres.ts';
import { form, freePort, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { requestTimeout: '400ms' } });
}, 60_000);

afterAll(() => world.stop());

/** What the broker says on a bare socket, until it closes it. */
function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk;
    });
    socket.once('close', () => resolve(answer));
    socket.once('error', reject);
  });
}

const body = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
const host = () => new URL(world.url).host;

test('livez, readyz and metrics stand on their own address and nowhere else', async () => {
  const ops = world.running.opsUrl;
  expect((await fetch(`${ops}/livez`)).status).toBe(200);
  const ready = await fetch(`${ops}/readyz`);
  expect([ready.status, Object(await ready.json()).ready]).toEqual([200, true]);
  await world.exchange(
    form(await world.workload(), { tool: 'nope', task: 'tsk_01K00000000000000000000000' }),
  );
  const metrics = await (await fetch(`${ops}/metrics`)).text();
  expect(metrics).toContain('mayfly_insecure{setting="allowLoopbackIssuers"} 1');
  expect(metrics).toMatch(/mayfly_exchanges_total\{outcome="task_unknown"\} [1-9]/);
  expect((await fetch(`${ops}/v1/whoami`)).status).toBe(404);
  for (const path of ['/livez', '/readyz', '/metrics'])
    expect((await world.api('GET', path)).status).toBe(404);
});

test('a request for another host, with two hosts or with none is refused before anything is read', async () => {
  const line = 'GET /jwks HTTP/1.1\r\n';
  const ours = await raw(world.url, `${line}host: ${host()}\r\nconnection: close\r\n\r\n`);
  expect(ours).toMatch(/^HTTP\/1.1 200 /);
  for (const headers of ['host: evil.example', `host: ${host()}\r\nhost: evil.example`, 'x-nothing: 1'])
    expect(await raw(world.url, `${line}${headers}\r\nconnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 400 [\s\S]*"reason":"host_unknown"/,
    );
  // Forwarded hosts change nothing: URLs come from the configured issuer.
  const forwarded = await world.api('GET', '/.well-known/oauth-authorization-server', {
    headers: { 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' },
  });
  expect(JSON.stringify(forwarded.body)).not.toContain('evil.example');
});

test('a request that is too slow gets 408, one with too large headers 431, a broken one 400: all in JSON', async () => {
  const head = `POST /token HTTP/1.1\r\nhost: ${host()}\r\ncontent-type: application/x-www-form-urlencoded\r\n`;
  const slowBody = await raw(world.url, `${head}content-length: 100\r\n\r\ngrant_type=`);
  expect(slowBody).toMatch(/^HTTP\/1.1 408 /);
  expect(body(slowBody)).toMatchObject({ error: 'invalid_request', reason: 'request_timeout', status: 408 });
  expect(await raw(world.url, 'POST /token HT')).toMatch(/^HTTP\/1.1 408 /);
  const large = await raw(
    world.url,
    `GET /jwks HTTP/1.1\r\nhost: ${host()}\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
  );
  expect(large).toMatch(/^HTTP\/1.1 431 /);
  expect(body(large).reason).toBe('malformed_request');
  const broken = await raw(world.url, 'NONSENSE\r\n\r\n');
  expect([broken.slice(0, 12), body(broken).error]).toEqual(['HTTP/1.1 400', 'invalid_request']);
  expect((await fetch(`${world.url}/jwks`)).status).toBe(200);
});

test('a body above its limit is refused whether it announces its length or not', async () => {
  const filler = 'x'.repeat(70_000);
  const announced = await world.exchange(`grant_type=x&filler=${filler}`);
  expect([announced.status, announced.body.reason]).toEqual([413, 'body_too_large']);
  const chunked = await raw(
    world.url,
    `POST /token HTTP/1.1\r\nhost: ${host()}\r\ncontent-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${filler.length.toString(16)}\r\n${filler}\r\n0\r\n\r\n`,
  );
  expect(chunked).toMatch(/^HTTP\/1.1 413 /);
  const api = await world.api('POST', '/v1/apply?set=big', {
    bearer: await world.person(),
    yaml: `# ${'x'.repeat(1_100_000)}`,
  });
  expect([api.status, api.body.reason]).toEqual([413, 'body_too_large']);
});

test('answers carry no-store, nosniff and no trace of what serves them', async () => {
  const { headers } = await world.api('GET', '/v1/whoami', { bearer: await world.person() });
  expect([headers.get('cache-control'), headers.get('x-content-type-options')]).toEqual([
    'no-store',
    'nosniff',
  ]);
  expect([headers.get('x-powered-by'), headers.get('server'), headers.get('etag')]).toEqual([
    null,
    null,
    null,
  ]);
  const jwks = await world.api('GET', '/jwks');
  expect(jwks.headers.get('cache-control')).toBe('public, max-age=300');
  expect(JSON.stringify(jwks.body)).not.toMatch(/"(d|p|q|k)":/);
});

test('load above the limit is shed from the token endpoint, and never from the end of a task', async () => {
  const small = await startWorld({ settings: { requestsInFlight: 1 } });
  try {
    const opened = await small.api('POST', '/v1/tasks', {
      bearer: await small.workload(),
      json: { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
    });
    const release = small.clouds.aws.faults.arm({ action: 'AssumeRoleWithWebIdentity', mode: 'hold' });
    const held = small.exchange(form(await small.workload(), { task: opened.body.id }));
    const started = async () =>
      (await small.sql(`select from work where kind = 'issuance' and state = 'intended'`)).length > 0;
    while (!(await started())) await new Promise((resolve) => setImmediate(resolve));
    const shed = await small.exchange(form(await small.workload(), { task: opened.body.id }));
    expect([shed.status, shed.body.error, shed.body.reason]).toEqual([
      503,
      'temporarily_unavailable',
      'overloaded',
    ]);
    expect(shed.headers.get('retry-after')).toBe('1');
    const end = await small.api('POST', `/v1/tasks/${opened.body.id}/end`, { bearer: opened.body.taskToken });
    expect([end.status, end.body.state]).toEqual([200, 'completed']);
    release();
    expect((await held).body.reason).toBe('not_delivered');
  } finally {
    await small.stop();
  }
}, 60_000);

test('behind a trusted proxy a request must have come over TLS, and other peers are refused', async () => {
  const proxied = await startWorld({ settings: { trustedProxies: ['127.0.0.1/32'] } });
  try {
    const plain = await proxied.api('GET', '/jwks');
    expect([plain.status, plain.body.reason]).toEqual([400, 'insecure_transport']);
    const lying = await proxied.api('GET', '/jwks', { headers: { 'x-forwarded-proto': 'http' } });
    expect(lying.body.reason).toBe('insecure_transport');
    const tls = await proxied.api('GET', '/jwks', { headers: { 'x-forwarded-proto': 'https' } });
    expect(tls.status).toBe(200);
  } finally {
    await proxied.stop();
  }
}, 60_000);

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) console.log('skipped: openssl is not installed, so no certificate can be made for TLS');

(hasOpenssl ? test : test.skip)(
  'speaks TLS with its own certificate, 1.2 at least, and takes a renewed one',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mayfly-tls-'));
    const files = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
    const make = (name: string) =>
      spawnSync('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
        ...['-keyout', files.key, '-out', files.cert, '-subj', `/CN=${name}`],
        ...['-addext', 'subjectAltName=IP:127.0.0.1'],
      ]);
    make('first');
    const port = await freePort();
    const tls = await startWorld({
      listen: `127.0.0.1:${port}`,
      settings: { tlsCert: files.cert, tlsKey: files.key, issuer: `https://127.0.0.1:${port}` },
    });
    const subject = (options: object = {}) =>
      new Promise<string>((resolve, reject) => {
        const ca = readFileSync(files.cert);
        const call = httpsRequest(
          `https://127.0.0.1:${port}/jwks`,
          { ca, agent: false, ...options },
          (answer) => {
            const peer = Reflect.get(answer.socket, 'getPeerCertificate');
            resolve(`${answer.statusCode} ${Object(Object(peer.call(answer.socket)).subject).CN}`);
            answer.resume();
          },
        );
        call.once('error', reject).end();
      });
    try {
      expect(await subject()).toBe('200 first');
      await expect(subject({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow();
      expect(await raw(`http://127.0.0.1:${port}`, 'GET /jwks HTTP/1.1\r\n\r\n')).not.toContain('200');
      make('second');
      const deadline = Date.now() + 20_000;
      let seen = '';
      while (!seen.endsWith('second') && Date.now() < deadline) {
        seen = await subject().catch(() => '');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(seen).toBe('200 second');
    } finally {
      await tls.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  },
  60_000,
);

/** A TCP relay that can be cut: the database is away, and comes back. */
async function startRelay(target: URL) {
  const sockets = new Set<Socket>();
  let open = true;
  const server = createServer((client) => {
    if (!open) return client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    for (const one of [client, upstream]) {
      sockets.add(one);
      one
        .on('error', () => undefined)
        .on('close', () => {
          client.destroy();
          upstream.destroy();
        });
    }
    client.pipe(upstream).pipe(client);
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut: () => {
      open = false;
      for (const one of sockets) one.destroy();
    },
    mend: () => {
      open = true;
    },
    close: () => {
      for (const one of sockets) one.destroy();
      server.close();
    },
  };
}

test('with the database away nothing is issued and answers are quick 503s; it comes back by itself', async () => {
  const database = await startEmbeddedAsExternal();
  const { migrate } = await import('@mayfly/store');
  await migrate(database.ownerUrl);
  const url = new URL(database.appUrl);
  const relay = await startRelay(new URL(url));
  url.port = String(relay.port);
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-kek-'));
  const { writeFileSync } = await import('node:fs');
  writeFileSync(join(dir, 'kek'), Buffer.alloc(32, 7).toString('base64'));
  const relayed = await startWorld({ databaseUrl: url.href, keyEncryptionKey: join(dir, 'kek') });
  try {
    const { task_token: token, issuance } = (
      await relayed.exchange(form(await relayed.workload(), opening('before')))
    ).body;
    relay.cut();
    const started = performance.now();
    const answers = [
      await relayed.exchange(form(await relayed.workload(), opening('during'))),
      await relayed.api('GET', '/v1/tasks', { bearer: await relayed.person() }),
      await relayed.api('POST', `/v1/tasks/${issuance.task}/end`, { bearer: token }),
      await relayed.api('POST', '/revoke', {
        bearer: token,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        yaml: `token=${issuance.id}`,
      }),
    ];
    for (const { status, body: refused, headers } of answers) {
      expect([status, refused.reason]).toEqual([503, 'database_unavailable']);
      expect(headers.get('retry-after')).toBe('1');
    }
    expect(performance.now() - started).toBeLessThan(10_000);
    expect((await fetch(`${relayed.running.opsUrl}/readyz`)).status).toBe(503);
    expect((await fetch(`${relayed.running.opsUrl}/livez`)).status).toBe(200);
    relay.mend();
    const again = await relayed.exchange(form(await relayed.workload(), opening('during')));
    expect(again.status).toBe(200);
    // Connections that an administrator ends are news for the log only.
    await relayed
      .sql(
        'select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()',
      )
      .catch(() => undefined);
    const after = await relayed.exchange(form(await relayed.workload(), opening('after')));
    expect([200, 503]).toContain(after.status);
    expect((await relayed.exchange(form(await relayed.workload(), opening('later')))).status).toBe(200);
    expect((await fetch(`${relayed.running.opsUrl}/readyz`)).status).toBe(200);
  } finally {
    await relayed.stop();
    relay.close();
    await database.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}, 60_000);

test('with the cloud away the exchange is a 503 that mints nothing, and the next one works', async () => {
  for (const mode of ['cut', 'applied_and_cut', 'refuse', 'applied_and_failed'] as const) {
    world.clouds.aws.faults.arm({ action: 'GetScopedCredentials', mode, times: 1 });
    const failed = await world.exchange(form(await world.workload(), opening(`cloud-${mode}`)));
    expect([mode, failed.status, failed.body.error]).toEqual([mode, 503, 'temporarily_unavailable']);
    expect(failed.body.access_token).toBeUndefined();
    expect((await world.exchange(form(await world.workload(), opening(`cloud-${mode}`)))).status).toBe(200);
  }
});

test('SIGTERM: not ready at once, the mint in flight is answered, new ones are refused, the exit is 0', async () => {
  const script = fileURLToPath(new URL('./drain-child.ts', import.meta.url));
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-drain-'));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => lines.push(...chunk.trim().split('\n')));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  rmSync(dir, { recursive: true, force: true });
  expect([code, lines]).toEqual([
    0,
    ['held', 'draining 503', 'new 503 overloaded', 'in flight 200', 'stopped'],
  ]);
}, 60_000);
