import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import Provider from 'oidc-provider';
import { type Accounts, type IssuerClient, peopleConfiguration, servePeople } from './people.ts';

export interface AssertionRequest {
  readonly subject: string;
  readonly audience: string;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly lifetimeSeconds?: number;
  readonly jti?: string | null;
  readonly alg?: 'ES256' | 'RS256';
  /** Over the usual header, for tokens that only look like assertions. */
  readonly header?: Readonly<Record<string, unknown>>;
}

export interface LocalIssuer {
  /** Also the base URL. */
  readonly issuer: string;
  /** A fresh assertion, as a platform would hand it to a workload. */
  assertion(request: AssertionRequest): Promise<string>;
  close(): Promise<void>;
}

export interface IssuerOptions {
  readonly port?: number;
  /** Lets other processes of this machine ask for assertions at `POST /dev/assertion` with this bearer. */
  readonly assertionBearer?: string;
  /** Programs that may have people sign in here, by the authorization code flow; none: only assertions. */
  readonly clients?: readonly IssuerClient[];
}

interface Signer {
  readonly alg: 'ES256' | 'RS256';
  readonly kid: string;
  readonly privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
  readonly jwk: JWK;
}

const bodyBytesMax = 16_384;
const lifetimeSecondsMax = 3_600;

/** An issuer on loopback: discovery, keys and people's sign-in are a real oidc-provider's, assertions signed with its keys. */
export async function startIssuer(options: IssuerOptions = {}): Promise<LocalIssuer> {
  const { port = 0, assertionBearer, clients = [] } = options;
  const signers = [await makeSigner('ES256'), await makeSigner('RS256')];
  const server = createServer();
  const bound = await listen(server, port);
  const issuer = `http://127.0.0.1:${bound}`;
  const accounts: Accounts = new Map();
  const provider = new Provider(issuer, {
    jwks: { keys: signers.map(({ jwk }) => jwk) },
    responseTypes: ['code'],
    features: { devInteractions: { enabled: false } },
    cookies: { keys: [randomUUID()] },
    ...peopleConfiguration(clients, accounts),
  });
  const serve = provider.callback();
  const assertion = (request: AssertionRequest) => sign(request, { issuer, signers });
  const allows = (key: string) => assertionBearer === undefined || sameText(key, assertionBearer);
  const people = { provider, accounts, allows, readText };
  server.on('request', (request, response) => {
    if (request.url === '/dev/assertion')
      void answerAssertion(request, response, { assertion, assertionBearer });
    else if (!servePeople(request, response, people)) void serve(request, response);
  });
  return {
    issuer,
    assertion,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function makeSigner(alg: 'ES256' | 'RS256'): Promise<Signer> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = randomUUID();
  return { alg, kid, privateKey, jwk: { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' } };
}

async function sign(
  request: AssertionRequest,
  { issuer, signers }: { issuer: string; signers: readonly Signer[] },
): Promise<string> {
  const { subject, audience, claims = {}, lifetimeSeconds = 300, alg = 'ES256' } = request;
  const signer = signers.find((one) => one.alg === alg);
  if (signer === undefined) throw new RangeError(`no key for ${alg}`);
  const iat = Math.floor(Date.now() / 1000);
  const jti = request.jti === null ? {} : { jti: request.jti ?? randomUUID() };
  const payload = {
    ...claims,
    ...jti,
    iss: issuer,
    sub: subject,
    aud: audience,
    iat,
    exp: iat + lifetimeSeconds,
  };
  return new SignJWT(payload)
    .setProtectedHeader({ ...request.header, alg, kid: signer.kid })
    .sign(signer.privateKey);
}

interface Answering {
  readonly assertion: (request: AssertionRequest) => Promise<string>;
  readonly assertionBearer: string | undefined;
}

async function answerAssertion(
  request: IncomingMessage,
  response: ServerResponse,
  { assertion, assertionBearer }: Answering,
): Promise<void> {
  const refuse = (status: number) => response.writeHead(status).end();
  const stated = request.headers.authorization ?? '';
  if (request.method !== 'POST') return void refuse(405);
  if (assertionBearer === undefined || !sameText(stated, `Bearer ${assertionBearer}`))
    return void refuse(401);
  try {
    const asked = readAsked(await readText(request));
    const token = await assertion(asked);
    response
      .writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      .end(JSON.stringify({ assertion: token }));
  } catch {
    refuse(400);
  }
}

function readAsked(text: string): AssertionRequest {
  const value: unknown = JSON.parse(text);
  const get = (name: string): unknown => Reflect.get(Object(value), name);
  const [subject, audience, claims, lifetime] = [
    get('subject'),
    get('audience'),
    get('claims') ?? {},
    get('lifetimeSeconds') ?? 300,
  ];
  if (
    typeof subject !== 'string' ||
    typeof audience !== 'string' ||
    typeof claims !== 'object' ||
    claims === null
  )
    throw new TypeError('malformed');
  if (typeof lifetime !== 'number' || lifetime < 1 || lifetime > lifetimeSecondsMax)
    throw new RangeError('lifetime');
  return { subject, audience, claims: { ...claims }, lifetimeSeconds: Math.floor(lifetime) };
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > bodyBytesMax) throw new RangeError('too large');
  }
  return text;
}

function sameText(left: string, right: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
