import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { invalid } from '../jwt/compact.ts';
import { fetchJson } from '../jwt/fetch-json.ts';
import { createKeySet, type KeySource } from '../jwt/key-set.ts';
import { accessTo, readJson } from '../jwt/key-source.ts';
import { type TokenRules, verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';
import { trustDomainOf } from './id.ts';
import { fetchJwtBundle } from './workload-api.ts';

/** JWT-SVID sections 2 and 3 (standards.md P1): no EdDSA; `iss` and `iat` may be missing. */
const svidRules: TokenRules = {
  types: ['JWT', 'JOSE'],
  algorithms: new Set([
    ...['ES256', 'ES384', 'ES512'],
    ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ]),
  needsIssAndIat: false,
};

/** JWT-SVIDs of one trust domain, by the keys of its bundle and no others. */
export function createSpiffeAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(bundleKeys(issuer, options));
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) => {
      const verified = await verifyJwt(assertion, { issuer, keys, options, now, rules: svidRules });
      // Keys of one trust domain say nothing about another.
      if (trustDomainOf(verified.subject) !== issuer.issuer) throw invalid('sub of another trust domain');
      return workloadOf(verified, issuer);
    },
  };
}

function bundleKeys(issuer: TrustedIssuer, options: AttestorOptions): KeySource {
  const { bundleFile, bundleUrl } = issuer;
  const limits = options.keys;
  // A bundle holds X.509 authorities too; only these sign tokens (JWT-SVID section 6).
  const isUsed = (use: string | undefined) => use === 'jwt-svid';
  if (bundleFile !== null)
    return { load: () => readJson({ file: bundleFile, says: 'bundleFile' }, options), isUsed, limits };
  if (bundleUrl !== null) {
    const load = async () => fetchJson(bundleUrl, await accessTo(bundleUrl, issuer, options));
    return { load, isUsed, limits };
  }
  return {
    load: () => fetchJwtBundle(issuer.issuer, options),
    // SPIRE's agent leaves `use` out here: this call answers JWT authorities and nothing else.
    isUsed: (use) => use === undefined || use === 'jwt-svid',
    limits,
  };
}
