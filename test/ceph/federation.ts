import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { federationDocument } from '@mayfly/broker';
import { createIds } from '../../apps/broker/src/ids.ts';
import { Keyring, makeSigningKey, type StoredKey } from '../../apps/broker/src/keys/keyring.ts';
import { createTokens, type Tokens } from '../../apps/broker/src/tokens.ts';

/** The broker's federation issuer without the broker: its keys, its assertions and the two documents, on loopback. */
export interface Federation {
  readonly issuer: string;
  readonly sign: Tokens['signFederation'];
  /** SHA-1 of the published certificates, as CreateOpenIDConnectProvider takes them. */
  thumbprints(): string[];
  /** Another key signs from now on; the one before stays published. */
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export async function startFederation(): Promise<Federation> {
  const kek = randomBytes(32);
  const keys: StoredKey[] = [];
  const make = async () => {
    const now = new Date();
    keys.push(await makeSigningKey('federation', { kek, now, activeFrom: now }));
  };
  await make();
  const keyring = () => new Keyring(keys, kek);
  const jwks = () => keyring().jwks('federation', new Date());
  const server = createServer((request, response) => {
    const document = request.url?.endsWith('/jwks') ? jwks() : federationDocument(issuer);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const issuer = `http://127.0.0.1:${port}/federation`;
  const now = () => new Date();
  const own = `http://127.0.0.1:${port}`;
  const tokens = createTokens({ issuer: own, federationIssuer: issuer, keyring, now, newId: createIds(now) });
  return {
    issuer,
    sign: tokens.signFederation,
    thumbprints: () =>
      jwks().keys.map(({ x5c }) =>
        createHash('sha1')
          .update(Buffer.from(x5c?.[0] ?? '', 'base64'))
          .digest('hex')
          .toUpperCase(),
      ),
    rotate: make,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
