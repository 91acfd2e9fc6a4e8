import { createHash, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';

/** A client's key and the proofs that it makes (RFC 9449 section 4.2). */
export interface ProofMaker {
  readonly jkt: string;
  proof(wishes: { url: string; method?: string; accessToken?: string; claims?: object }): Promise<string>;
}

export async function proofMaker(): Promise<ProofMaker> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    jkt: await calculateJwkThumbprint(jwk),
    proof: ({ url, method = 'POST', accessToken, claims = {} }) => {
      const ath =
        accessToken === undefined
          ? {}
          : { ath: createHash('sha256').update(accessToken).digest('base64url') };
      const iat = Math.floor(Date.now() / 1000);
      return new SignJWT({ jti: randomUUID(), htm: method, htu: url, iat, ...ath, ...claims })
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
        .sign(privateKey);
    },
  };
}
