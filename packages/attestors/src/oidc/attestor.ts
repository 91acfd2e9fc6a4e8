import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { createKeySet } from '../jwt/key-set.ts';
import { publishedKeys } from '../jwt/key-source.ts';
import { verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';

/** Any issuer of OpenID Connect: people's sign-in, Google, Entra, AWS `GetWebIdentityToken`. */
export function createOidcAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(publishedKeys(issuer, options));
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) =>
      workloadOf(await verifyJwt(assertion, { issuer, keys, options, now }), issuer),
  };
}
