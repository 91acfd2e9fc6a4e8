import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  createServer as createHttp,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { createWire, type Wire } from '../http.ts';
import type { Profile } from '../profile.ts';
import { createSuite, readCertificate } from '../suite.ts';
import { isTold, type Mutant, type Seen, type Told, type Tools } from './mutant.ts';

export interface Proxy {
  readonly base: string;
  readonly mtlsBase: string;
  /** What went wrong in the proxy itself: then the mutant shows nothing. */
  readonly faults: readonly unknown[];
  stop(): Promise<void>;
}

/** Of one hop only (RFC 9110 section 7.6.1); what is sent on has its own. */
const ofOneHop = new Set(['connection', 'content-length', 'transfer-encoding', 'keep-alive']);

/**
 * A reverse proxy in front of the real server, over TLS too where the profile has it, whose mutant breaks one rule.
 * Host goes on as it came. A client certificate is shown on: the suite holds the keys.
 */
export async function startProxy(profile: Profile, mutant: Mutant, serverKey: string): Promise<Proxy> {
  const suite = createSuite(profile);
  const wires = [createWire(), suite.tls(null), suite.tls(0), suite.tls(1)] as const;
  const faults: unknown[] = [];
  const forwardTo = (isTls: boolean) => async (seen: Seen) => {
    const wire = isTls ? wires[seen.client === null ? 1 : seen.client === 0 ? 2 : 3] : wires[0];
    return forward(seen, wire, isTls ? (profile.mtls?.base ?? '') : profile.issuer);
  };
  const memory = new Map<string, string>();
  const listen = (isTls: boolean) => async (request: IncomingMessage, response: ServerResponse) => {
    const tools: Tools = { profile, suite, memory, forward: forwardTo(isTls) };
    try {
      send(response, await answer(await read(request, profile), mutant, tools));
    } catch (error) {
      faults.push(error);
      response.destroy();
    }
  };
  const plain = createHttp(listen(false));
  const secure = createHttps(
    {
      cert: readFileSync(profile.caFile ?? ''),
      key: readFileSync(serverKey),
      requestCert: true,
      rejectUnauthorized: false,
    },
    listen(true),
  );
  const [port, tlsPort] = [await open(plain), await open(secure)];
  return {
    base: `http://127.0.0.1:${port}`,
    mtlsBase: `https://127.0.0.1:${tlsPort}`,
    faults,
    stop: async () => {
      suite.close();
      wires[0].close();
      await Promise.all([shut(plain), shut(secure)]);
    },
  };
}

async function answer(seen: Seen, { ask, answer: change }: Mutant, tools: Tools): Promise<Told> {
  const asked = ask === undefined ? seen : await ask(seen, tools);
  const told = isTold(asked) ? asked : await tools.forward(asked);
  return change === undefined ? told : change(told, seen, tools);
}

async function forward(seen: Seen, wire: Wire, base: string): Promise<Told> {
  const { method, path, headers, body } = seen;
  const { status, headers: came, text } = await wire.send({ method, url: `${base}${path}`, headers, body });
  return { status, headers: withoutHop(came), body: text };
}

async function read(request: IncomingMessage, profile: Profile): Promise<Seen> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(Buffer.from(piece));
  // Not `headers`: it joins what was sent twice.
  const headers = Object.fromEntries(
    Object.entries(request.headersDistinct).map(([name, values = []]) => [
      name,
      values.length === 1 ? String(values[0]) : values,
    ]),
  );
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    headers: withoutHop(headers),
    body: Buffer.concat(pieces).toString('utf8'),
    client: clientOf(request, profile),
  };
}

function clientOf({ socket }: IncomingMessage, { mtls }: Profile): 0 | 1 | null {
  const shown = (socket as TLSSocket).getPeerX509Certificate?.();
  if (shown === undefined || mtls === undefined) return null;
  const index = mtls.clients.findIndex(
    (files) => new X509Certificate(readCertificate(files).cert).fingerprint256 === shown.fingerprint256,
  );
  return index === 0 || index === 1 ? index : null;
}

function withoutHop(headers: Readonly<Record<string, string | string[] | undefined>>): Told['headers'] {
  const kept = Object.entries(headers).filter(([name]) => !ofOneHop.has(name));
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

function send(response: ServerResponse, { status, headers, body }: Told): void {
  response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
  response.end(body);
}

function open(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}

function shut(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
