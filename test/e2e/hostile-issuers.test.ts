import { createServer, type RequestListener, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { form, freePort, opening, startWorld, type World } from './world.ts';

interface Hostile {
  readonly name: string;
  readonly answer: RequestListener;
}

const key = await generateKeyPair('ES256');
const jwk = { ...(await exportJWK(key.publicKey)), kid: 'k', alg: 'ES256', use: 'sig' };
const keys =
  (list: readonly unknown[]): RequestListener =>
  (_, response) =>
    response.end(JSON.stringify({ keys: list }));

/** What answers at `jwksUri`; `honest` shows that the others fail for what they do. */
const issuers: readonly Hostile[] = [
  { name: 'honest', answer: keys([jwk]) },
  { name: 'silent', answer: () => undefined },
  {
    name: 'dripping',
    answer: (_, response) => {
      const timer = setInterval(() => response.write(' '), 20);
      response.once('close', () => clearInterval(timer));
    },
  },
  { name: 'huge', answer: (_, response) => response.end(`{"keys":[],"x":"${'x'.repeat(5_000)}"}`) },
  {
    name: 'redirecting',
    answer: (_, response) => response.writeHead(302, { location: `http://127.0.0.1:${ports[0]}/` }).end(),
  },
  { name: 'doubled', answer: keys([jwk, { ...jwk, x: jwk.y }]) },
  { name: 'crowded', answer: keys(Array.from({ length: 5 }, (_, index) => ({ ...jwk, kid: `k${index}` }))) },
  { name: 'broken', answer: (_, response) => response.end('<html>') },
  { name: 'failing', answer: (_, response) => response.writeHead(500).end() },
];
/** Where no connection may ever go. */
const forbidden = {
  metadata: 'https://169.254.169.254/keys',
  private: 'https://10.255.255.1/keys',
  loopback: 'https://127.0.0.1/keys',
};

let world: World;
let ports: readonly number[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  ports = await Promise.all(issuers.map(async ({ answer }) => listen(createServer(answer))));
  world = await startWorld({
    allowLoopbackIssuers: ports.map((port) => `http://127.0.0.1:${port}`),
    settings: { issuerTimeout: '300ms', issuerBodyMax: 2_000, issuerKeysMax: 4, assertionMax: 2_000 },
  });
  const places = [
    ...issuers.map(({ name }, index) => [name, `http://127.0.0.1:${ports[index]}/keys`] as const),
    ...Object.entries(forbidden),
  ];
  const yaml = places.map(([name, jwksUri]) => trustedIssuer(name, jwksUri)).join('---\n');
  const applied = await world.api('POST', '/v1/apply?set=hostile', { bearer: await world.person(), yaml });
  expect([applied.status, applied.body.reason]).toEqual([200, undefined]);
}, 60_000);

afterAll(async () => {
  await world.stop();
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listen(server: Server): Promise<number> {
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  servers.push(server);
  return port;
}

const trustedIssuer = (name: string, jwksUri: string) => `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ${name} }
spec: { type: oidc, issuer: "https://${name}.example", jwksUri: "${jwksUri}", subjects: [reconciler] }
`;

async function exchange(name: string, claims: object = {}) {
  const now = Math.floor(Date.now() / 1000);
  const registered = { iss: `https://${name}.example`, sub: 'reconciler', aud: world.url };
  const payload = { ...registered, iat: now, exp: now + 60, jti: crypto.randomUUID(), ...claims };
  const token = await new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(key.privateKey);
  const began = performance.now();
  const { status, body, headers } = await world.exchange(form(token, opening(name)));
  return { status, reason: body.reason, headers, tookMs: performance.now() - began };
}

test('an honest issuer is believed: its workload is merely no one that a template knows', async () => {
  expect(await exchange('honest')).toMatchObject({ status: 400, reason: 'workload_not_matched' });
});

// First: an issuer that has just failed is not asked again, and would answer at once.
test('one hostile issuer does not keep another from being believed', async () => {
  const said: unknown[] = [];
  await Promise.all(
    ['silent', 'honest'].map(async (name) => {
      said.push((await exchange(name)).reason);
    }),
  );
  expect(said).toEqual(['workload_not_matched', 'issuer_unavailable']);
});

test.each(issuers.slice(1).map(({ name }) => name))('a %s issuer is down to us, and soon', async (name) => {
  const answer = await exchange(name);
  expect(answer).toMatchObject({ status: 503, reason: 'issuer_unavailable' });
  expect(answer.headers.get('retry-after')).toMatch(/^[0-9]+$/);
  expect(answer.tookMs).toBeLessThan(2_000);
});

test.each(Object.keys(forbidden))('no connection is made to a %s address', async (name) => {
  const answer = await exchange(name);
  expect(answer).toMatchObject({ status: 503, reason: 'issuer_unavailable' });
  const [last] = await world.sql<{ body: unknown }>(
    `select convert_from(body, 'UTF8') body from audit_entry order by seq desc limit 1`,
  );
  expect(String(last?.body)).toMatch(/address is (forbidden|private|loopback)/);
});

test('an assertion beyond the limit of this installation is refused', async () => {
  expect(await exchange('honest', { note: 'x'.repeat(100) })).toMatchObject({
    reason: 'workload_not_matched',
  });
  expect(await exchange('honest', { note: 'x'.repeat(2_000) })).toMatchObject({
    reason: 'assertion_invalid',
  });
});
