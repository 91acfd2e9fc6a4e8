import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { benchIssuer } from './documents.ts';
import { encode, signed } from './identities.ts';

/** Signs many assertions ahead, each with a jti of its own: the generator shall not pay for them during a run. */
export interface AssertionMaker {
  readonly jwks: { readonly keys: readonly object[] };
  make(subject: string): string;
}

const lifeSeconds = 3_500;

export function createAssertionMaker(audience: string): AssertionMaker {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const header = encode({ alg: 'ES256', kid: 'bench', typ: 'JWT' });
  return {
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'ES256', use: 'sig' }] },
    make: (sub) => {
      const iat = Math.floor(Date.now() / 1000);
      const claims = { iss: benchIssuer, sub, aud: audience, iat, exp: iat + lifeSeconds, jti: randomUUID() };
      return signed(`${header}.${encode(claims)}`, privateKey);
    },
  };
}
