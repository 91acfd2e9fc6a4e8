import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';

export interface ProofWishes {
  readonly url: URL;
  readonly method: string;
  /** The token that goes along in the Authorization header. */
  readonly accessToken?: string | undefined;
  readonly nonce?: string | undefined;
}

/** A key that lives as long as this process, and proofs by it (RFC 9449 section 4.2). It is written nowhere. */
export interface ProofKey {
  prove(wishes: ProofWishes, now: Date): string;
}

export function createProofKey(): ProofKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const header = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicKey.export({ format: 'jwk' }) });
  return {
    prove: ({ url, method, accessToken, nonce }, now) => {
      const claims = {
        jti: randomUUID(),
        htm: method,
        htu: `${url.origin}${url.pathname}`,
        iat: Math.floor(now.getTime() / 1000),
        ...(accessToken === undefined ? {} : { ath: digest(accessToken) }),
        ...(nonce === undefined ? {} : { nonce }),
      };
      const input = `${header}.${encode(claims)}`;
      const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${input}.${signature.toString('base64url')}`;
    },
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
