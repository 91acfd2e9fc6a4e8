import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import { compilePattern, Fault, Refusal, type TrustedIssuer } from '@mayfly/core';

/** For tests only: an issuer that signs whatever it is told to, and a server that answers whatever it is told to. */
export interface TestKey {
  readonly alg: string;
  readonly kid: string;
  /** As a key set publishes it. */
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly privateKey: KeyObject;
}

export function makeKey(alg: string, kid: string): TestKey {
  const { publicKey, privateKey } = pairOf(alg);
  return { alg, kid, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, privateKey };
}

function pairOf(alg: string): { publicKey: KeyObject; privateKey: KeyObject } {
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  if (alg === 'ES384') return generateKeyPairSync('ec', { namedCurve: 'P-384' });
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

/** Text, bytes or an object, as one part of a compact JWS. */
export function part(content: unknown): string {
  if (Buffer.isBuffer(content)) return content.toString('base64url');
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)).toString('base64url');
}

/** Signed with the algorithm of the key, whatever the header says. */
export function compact(header: unknown, payload: unknown, key: TestKey): string {
  const signed = `${part(header)}.${part(payload)}`;
  return `${signed}.${part(signatureOf(signed, key))}`;
}

function signatureOf(text: string, { alg, privateKey }: TestKey): Buffer {
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`;
  return sign(hash, Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' });
}

export function trusted(more: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return {
    name: 'prod-k8s',
    issuer: 'https://issuer.test',
    audience: 'https://mayfly.test',
    jwksUri: null,
    jwksFile: 'keys.json',
    algorithms: ['ES256'],
    subjects: [pattern('system:serviceaccount:finance:*')],
    claims: [],
    maxLifetimeSeconds: 3600,
    replay: 'reuse',
    people: false,
    ...more,
  };
}

export function pattern(text: string) {
  const compiled = compilePattern(text);
  if ('problem' in compiled) throw new TypeError(compiled.problem);
  return compiled;
}

/** Reason and detail of a refusal or fault, or `accepted`. */
export async function outcome(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return `${error.reason}: ${error.detail}`;
    if (error instanceof Fault) return `${error.reason} (${error.effect}): ${error.detail}`;
    return `bare error: ${error}`;
  }
}

export interface TestServer {
  readonly origin: string;
  readonly port: number;
  /** Paths asked for, in order. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** A real server on loopback; it counts what it is asked before it answers. */
export async function serve(answer: RequestListener, host = '127.0.0.1', wanted = 0): Promise<TestServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(wanted, host, resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    origin: `http://${host}:${port}`,
    port,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
