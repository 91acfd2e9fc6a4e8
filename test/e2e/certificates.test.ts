import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { selfSigned } from '../../packages/sdk/src/testing/self-signed.ts';
import { accessTokenType, form, freePort, opening, startWorld, type World } from './world.ts';

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const edit = (text: string) =>
  text.replace('      effects: [write]\n', '      effects: [write]\n      proof: mtls\n');
const thumbprintOf = (pem: string) =>
  createHash('sha256').update(new X509Certificate(pem).raw).digest('base64url');
const [one, two] = [selfSigned(), selfSigned()];

interface Said {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of any route; each test asserts what it reads
  readonly body: any;
}

describe('our own TLS that asks for certificates', () => {
  let world: World;
  let dir: string;
  const server = selfSigned();

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mayfly-mtls-'));
    const files = { tlsCert: join(dir, 'cert.pem'), tlsKey: join(dir, 'key.pem') };
    writeFileSync(files.tlsCert, server.cert);
    writeFileSync(files.tlsKey, server.key);
    const port = await freePort();
    const issuer = `https://127.0.0.1:${port}`;
    const settings = { ...files, issuer, tlsClientCertificates: 'request' };
    world = await startWorld({ listen: `127.0.0.1:${port}`, settings, edit });
  }, 60_000);

  afterAll(async () => {
    await world.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const call = (path: string, options: { body?: string; headers?: object; by?: typeof one | undefined }) =>
    new Promise<Said>((resolve, reject) => {
      const { body = '', headers = {}, by } = options;
      const call_ = httpsRequest(
        `${world.url}${path}`,
        {
          method: 'POST',
          agent: false,
          ca: server.cert,
          ...by,
          headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        },
        async (answer) => {
          const text = await answer.setEncoding('utf8').toArray();
          resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text.join('')) });
        },
      );
      call_.once('error', reject).end(body);
    });
  const exchange = (parameters: Record<string, string>, by?: typeof one, headers: object = {}) =>
    call('/token', { body: new URLSearchParams(parameters).toString(), by, headers });
  const assertion = () => world.clouds.workloads.assertion({ subject: 'reconciler', audience: world.url });
  const posting = async () => form(await assertion(), { ...report, ...opening(randomUUID()) });

  test('binds a tool token to the certificate where its template demands one', async () => {
    const { status, body } = await exchange(await posting(), one);
    expect([status, body.token_type]).toEqual([200, 'Bearer']);
    expect(decodeJwt(body.access_token)['cnf']).toEqual({ 'x5t#S256': thumbprintOf(one.cert) });
  });

  test('gives none without a certificate, nor for the word of a header', async () => {
    const headers = { 'client-cert': `:${new X509Certificate(one.cert).raw.toString('base64')}:` };
    for (const more of [{}, headers]) {
      const { status, body } = await exchange(await posting(), undefined, more);
      expect([status, body.error, body.reason]).toEqual([400, 'invalid_dpop_proof', 'proof_required']);
    }
  });

  test('binds the task token to it, at /token and under /v1', async () => {
    const { body } = await exchange(await posting(), one);
    const again = form(body.task_token, report, { subject_token_type: accessTokenType });
    expect((await exchange(again, two)).body.reason).toBe('proof_required');
    expect((await exchange(again)).body.reason).toBe('proof_required');
    expect((await exchange(again, one)).status).toBe(200);
    const path = `/v1/tasks/${body.issuance.task}/heartbeat`;
    const headers = { authorization: `Bearer ${body.task_token}`, 'content-type': 'application/json' };
    expect((await call(path, { headers, by: two })).status).toBe(401);
    expect((await call(path, { headers, by: one })).status).toBe(200);
  });

  test('says so in its metadata', async () => {
    const metadata = await new Promise<Said['body']>((resolve, reject) => {
      httpsRequest(
        `${world.url}/.well-known/oauth-authorization-server`,
        { ca: server.cert },
        async (answer) => resolve(JSON.parse((await answer.setEncoding('utf8').toArray()).join(''))),
      )
        .once('error', reject)
        .end();
    });
    expect(metadata.tls_client_certificate_bound_access_tokens).toBe(true);
  });
});

describe('a proxy that hands on the certificate of its client', () => {
  let world: World;
  beforeAll(async () => {
    const settings = { trustedProxies: ['127.0.0.1/32'], clientCertificateHeader: 'x-client-cert' };
    world = await startWorld({ settings, edit });
  }, 60_000);
  afterAll(() => world.stop());

  test('is believed, under the one header that is configured', async () => {
    const exchange = async (headers: Record<string, string>) =>
      world.exchange(
        form(await world.clouds.workloads.assertion({ subject: 'reconciler', audience: world.url }), {
          ...report,
          ...opening(randomUUID()),
        }),
        { 'x-forwarded-proto': 'https', ...headers },
      );
    const pem = encodeURIComponent(one.cert);
    const good = await exchange({ 'x-client-cert': pem });
    expect(decodeJwt(good.body.access_token)['cnf']).toEqual({ 'x5t#S256': thumbprintOf(one.cert) });
    expect((await exchange({ 'client-cert': pem })).body.reason).toBe('proof_required');
    const broken = await exchange({ 'x-client-cert': 'CN=agent' });
    expect([broken.status, broken.body.reason]).toEqual([400, 'malformed_request']);
  });
});
