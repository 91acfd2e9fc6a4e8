import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import type { World } from './world.ts';

export const caep = 'https://schemas.openid.net/secevent/caep/event-type/';
export const eventType = 'application/secevent+jwt';

/** Transmitters of security events for the issuers of the development bundle, with keys in a file. */
export interface TestTransmitter {
  /** Names them in the documents of a world. */
  edit(text: string): string;
  /** A security event token about a subject; `change` over its usual claims. */
  set(world: World, about: About, change?: JWTPayload): Promise<string>;
  close(): void;
}

export interface About {
  readonly from?: 'local' | 'people';
  readonly type?: string;
  readonly event?: object;
  readonly subject: string;
}

const names = { local: 'https://workloads.example/ssf', people: 'https://people.example/ssf' };

export async function startTransmitter({
  endsPerMinute,
}: {
  endsPerMinute: number;
}): Promise<TestTransmitter> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-events-'));
  const key = await generateKeyPair('RS256', { extractable: true });
  const jwksFile = join(dir, 'events.json');
  writeFileSync(jwksFile, JSON.stringify({ keys: [{ ...(await exportJWK(key.publicKey)), kid: 'e1' }] }));
  let events = 0;
  const told = (name: 'local' | 'people') =>
    `\n  events: { transmitter: "${names[name]}", jwksFile: ${jwksFile}, endsPerMinute: ${endsPerMinute} }`;
  return {
    edit: (text) =>
      text
        .replace(/(metadata: \{ name: local \}\nspec:)/, `$1${told('local')}`)
        .replace(/(metadata: \{ name: people \}\nspec:)/, `$1${told('people')}`),
    set: (world, { from = 'local', type = 'session-revoked', event = {}, subject }, change = {}) => {
      events += 1;
      const iss = from === 'local' ? world.file.workloads : world.file.people;
      const iat = Math.floor(Date.now() / 1000);
      const payload = {
        ...{ iss: names[from], aud: world.url, iat, jti: `event-${events}` },
        ...{ sub_id: { format: 'iss_sub', iss, sub: subject }, events: { [`${caep}${type}`]: event } },
        ...change,
      };
      const header = { alg: 'RS256', kid: 'e1', typ: 'secevent+jwt' };
      return new SignJWT(payload).setProtectedHeader(header).sign(key.privateKey);
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}
