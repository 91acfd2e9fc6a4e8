import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { startReplica } from '../e2e/replica.ts';
import { redirectUri } from '../e2e/sign-in.ts';
import { caep, eventType } from '../e2e/transmitter.ts';
import { type Answer, startWorld, type World } from '../e2e/world.ts';
import { agentsTransmitter, type Changes, matrixDocuments } from './documents.ts';

export const agentsIssuer = 'https://agents.matrix.example';
export const staffIssuer = 'https://staff.matrix.example';

/** Two replicas over one database, and issuers whose documents this test may change. */
export interface Scene {
  readonly world: World;
  /** Both replicas, the second one first: it hears of nothing but by the database. */
  readonly urls: readonly string[];
  agent(subject: string): Promise<string>;
  staff(subject: 'olga' | 'orla'): Promise<string>;
  /** From here on assertions are as old as if made now; false: each is new again. */
  holdAssertions(held: boolean): void;
  /** Tells the first replica, as the transmitter of the agents' issuer. */
  sessionRevoked(subject: string): Promise<void>;
  /** Puts other documents in force, by the API of the first replica. */
  apply(changes?: Changes): Promise<void>;
  post(url: string, path: string, options: PostOptions): Promise<Answer>;
  stop(): Promise<void>;
}

export interface PostOptions {
  readonly form?: Record<string, string>;
  readonly json?: unknown;
  readonly bearer?: string;
  readonly headers?: Record<string, string>;
}

export async function startScene(): Promise<Scene> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-matrix-'));
  const signer = await makeSigner(join(dir, 'jwks.json'));
  await makeSigner(join(dir, 'other-jwks.json'));
  const settings = { reapInterval: '1h', refusalRowsPerSecond: 10_000 };
  const world = await startWorld({ settings: { ...settings, signInRedirectUris: [redirectUri] } });
  const replica = await startReplica(world, settings).catch((error: unknown) => stopAfter(error, world));
  const apply = async (changes: Changes = {}) => {
    const yaml = matrixDocuments(dir, changes);
    const bearer = await world.person();
    const answer = await world.api('POST', '/v1/apply?set=matrix&prune=true', { bearer, yaml });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  };
  await apply().catch((error: unknown) => stopAfter(error, replica, world));
  let heldAt: number | undefined;
  const sign = (iss: string, sub: string) => {
    const iat = heldAt ?? seconds();
    return signer({ iss, sub, aud: world.url, iat, exp: iat + 120 });
  };
  return {
    world,
    urls: [replica.url, world.url],
    agent: (subject) => sign(agentsIssuer, subject),
    staff: (subject) => sign(staffIssuer, subject),
    holdAssertions: (held) => {
      heldAt = held ? seconds() : undefined;
    },
    sessionRevoked: async (subject) => {
      const event = {
        ...{ iss: agentsTransmitter, aud: world.url, iat: seconds() },
        sub_id: { format: 'iss_sub', iss: agentsIssuer, sub: subject },
        events: { [`${caep}session-revoked`]: {} },
      };
      const body = await signer(event, 'secevent+jwt');
      const headers = { 'content-type': eventType };
      const answer = await fetch(`${world.url}/v1/events`, { method: 'POST', body, headers });
      if (answer.status !== 202) throw new Error(await answer.text());
    },
    apply,
    post,
    stop: async () => {
      await replica.stop();
      await world.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** What was started must not keep the tests from ending. */
async function stopAfter(error: unknown, ...started: readonly { stop(): Promise<void> }[]): Promise<never> {
  for (const one of started) await one.stop();
  throw error;
}

async function makeSigner(file: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const kid = randomUUID();
  writeFileSync(file, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256' }] }));
  return (claims: JWTPayload, typ = 'JWT') =>
    new SignJWT({ ...claims, jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256', kid, typ })
      .sign(privateKey);
}

const seconds = () => Math.floor(Date.now() / 1000);

async function post(
  url: string,
  path: string,
  { form, json, bearer, headers = {} }: PostOptions,
): Promise<Answer> {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    body: form === undefined ? JSON.stringify(json ?? {}) : new URLSearchParams(form),
    headers: {
      'content-type': form === undefined ? 'application/json' : 'application/x-www-form-urlencoded',
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...headers,
    },
  });
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}
