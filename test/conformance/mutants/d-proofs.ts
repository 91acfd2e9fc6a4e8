import { objectOf } from '../http.ts';
import { tokenType } from '../suite.ts';
import {
  dropHeader,
  dropMember,
  editJson,
  fieldsOf,
  onMetadata,
  onPath,
  onSuccess,
  onToken,
  refusal,
  refuseWhen,
  resign,
  setError,
  setHeader,
  succeed,
  type When,
} from './moves.ts';
import type { Ask, Mutant, Seen } from './mutant.ts';
import { blindTo, blindToProof, faultsOfProof, withProof } from './repair.ts';

const issued: When = (seen, told) => onToken(seen, told) && onSuccess(seen, told);
const withDpop = ({ headers }: Seen) => headers['dpop'] !== undefined;
const wantsNonce: When = (_, told) => objectOf(told.body)['error'] === 'use_dpop_nonce';
const chained = (seen: Seen) => fieldsOf(seen).get('subject_token_type') === tokenType.accessToken;
const proofClaims = ({ headers }: Seen) =>
  objectOf(Buffer.from(String(headers['dpop']).split('.')[1] ?? '', 'base64url').toString());

/** What a proof is told apart by, and one that was there before is made anew. */
function forgets(nameOf: (seen: Seen) => string): Ask {
  return async (seen, tools) => {
    if (!withDpop(seen)) return seen;
    const name = nameOf(seen);
    if (tools.memory.has(name)) return withProof(seen, tools);
    tools.memory.set(name, '');
    return seen;
  };
}

const blind: readonly (readonly [string, string, readonly string[]])[] = [
  ['D1.b', 'takes the second of two headers', ['two headers']],
  ['D1.b', 'takes what it cannot read', ['form']],
  ['D1.c', 'does not look at typ', ['typ']],
  ['D1.d', 'takes alg none', ['alg']],
  ['D1.e', 'takes a private key', ['private']],
  ['D1.e', 'takes no key', ['no jwk', 'signature']],
  ['D1.f', 'does not verify', ['signature']],
  ['D1.g', 'does not look at htm', ['htm']],
  ['D1.h', 'does not look at htu', ['htu']],
  ['D1.i', 'does not look at iat', ['iat']],
  ['D1.j', 'needs no claims', ['claims']],
];

export const proofMutants: readonly Mutant[] = [
  ...blind.map(([breaks, says, faults]) => ({ breaks, says, ask: blindToProof(faults) })),
  { breaks: 'D1', says: 'knows no DPoP', ask: refuseWhen(withDpop, 'invalid_dpop_proof') },
  {
    breaks: 'D1.k',
    says: 'compares the query of htu',
    ask: refuseWhen((seen) => String(proofClaims(seen)['htu']).includes('?'), 'invalid_dpop_proof'),
  },
  {
    breaks: 'D1.l',
    says: 'compares htu with Host',
    ask: async (seen, tools) => {
      const { host, 'x-forwarded-host': _, ...headers } = seen.headers;
      if (!String(proofClaims(seen)['htu']).endsWith(`://${String(host)}/token`)) return seen;
      return withProof({ ...seen, headers }, tools);
    },
  },
  { breaks: 'D2', says: 'remembers no proof', ask: forgets((seen) => String(proofClaims(seen)['jti'])) },
  {
    breaks: 'D2.b',
    says: 'remembers a proof too late',
    ask: forgets(({ headers }) => String(headers['dpop'])),
  },
  {
    breaks: 'D3',
    says: 'calls a wrong nonce a wrong proof',
    answer: setError('invalid_dpop_proof', wantsNonce),
  },
  { breaks: 'D3', says: 'gives no nonce', answer: dropHeader('dpop-nonce', wantsNonce) },
  {
    breaks: 'D3.b',
    says: 'gives a nonce that it does not know',
    answer: setHeader('dpop-nonce', 'stale', withDpop),
  },
  {
    breaks: 'D4',
    says: 'uses the assertion up',
    ask: (seen, { memory }) =>
      memory.has(fieldsOf(seen).get('subject_token') ?? '') ? refusal('invalid_request') : seen,
    answer: (told, seen, { memory }) => {
      if (wantsNonce(seen, told)) memory.set(fieldsOf(seen).get('subject_token') ?? '', '');
      return told;
    },
  },
  {
    breaks: 'D5',
    says: 'calls a bound token Bearer',
    answer: editJson(issued, (body) => Object.assign(body, { token_type: 'Bearer' })),
  },
  { breaks: 'D5', says: 'does not bind', ...resign((claims) => Reflect.deleteProperty(claims, 'cnf')) },
  {
    breaks: 'D5',
    says: 'binds to another key',
    ...resign((claims) => Object.assign(claims, { cnf: { jkt: 'x'.repeat(43) } })),
  },
  { breaks: 'D5.b', says: 'does not say the key', answer: dropMember('cnf', onPath('/introspect')) },
  {
    breaks: 'D5.b',
    says: 'calls a bound token Bearer',
    answer: editJson(onPath('/introspect'), (body) => Object.assign(body, { token_type: 'Bearer' })),
  },
  {
    breaks: 'D6',
    says: 'lists no algorithm',
    answer: dropMember('dpop_signing_alg_values_supported', onMetadata),
  },
  {
    breaks: 'D6',
    says: 'lists a symmetric one',
    answer: editJson(onMetadata, (body) =>
      Object.assign(body, { dpop_signing_alg_values_supported: ['ES256', 'HS256'] }),
    ),
  },
  {
    breaks: 'D7',
    says: 'demands no proof',
    ask: async (seen, tools) =>
      (await faultsOfProof(seen.headers['dpop'], tools.profile)).includes('missing')
        ? withProof(seen, tools)
        : seen,
  },
  {
    breaks: 'D8',
    says: 'needs no proof for a bound token',
    answer: succeed((seen) => chained(seen) && !withDpop(seen)),
  },
  {
    breaks: 'D8',
    says: 'takes any key for a bound token',
    answer: succeed((seen) => chained(seen) && withDpop(seen)),
  },
  ...['D8.c', 'D8.d', 'E1.d'].map((breaks) => ({
    breaks,
    says: 'does not look at cnf',
    ask: blindTo(['cnf']),
  })),
  {
    breaks: 'D9',
    says: 'challenges for Bearer',
    answer: setHeader('www-authenticate', 'Bearer error="invalid_token"', onPath('/v1/whoami')),
  },
  {
    breaks: 'D9',
    says: 'does not say which algorithms',
    answer: setHeader('www-authenticate', 'DPoP error="invalid_dpop_proof"', onPath('/v1/whoami')),
  },
  { breaks: 'E1', says: 'does not bind', ...resign((claims) => Reflect.deleteProperty(claims, 'cnf')) },
  {
    breaks: 'E1',
    says: 'binds to another certificate',
    ...resign((claims) => Object.assign(claims, { cnf: { 'x5t#S256': 'x'.repeat(43) } })),
  },
  { breaks: 'E1.b', says: 'demands no certificate', ask: (seen) => ({ ...seen, client: seen.client ?? 0 }) },
  ...['client-cert', 'x-client-cert', 'ssl-client-cert', 'x-forwarded-client-cert'].map((name) => ({
    breaks: 'E2',
    says: `believes the header ${name}`,
    ask: (seen: Seen): Seen =>
      seen.headers[name] !== undefined && seen.client === null ? { ...seen, client: 0 } : seen,
  })),
  {
    breaks: 'E2.b',
    says: 'believes a header more than the connection',
    ask: (seen) => (seen.headers['client-cert'] === undefined ? seen : { ...seen, client: 0 }),
  },
  {
    breaks: 'E3',
    says: 'does not say so',
    answer: dropMember('tls_client_certificate_bound_access_tokens', onMetadata),
  },
  {
    breaks: 'E4',
    says: 'looks at the first request of a connection alone',
    ask: (seen) => (chained(seen) && seen.client === 1 ? { ...seen, client: 0 } : seen),
  },
];
