import { decodeProtectedHeader } from 'jose';
import type { Claims } from '../suite.ts';
import {
  claimsIn,
  dropFields,
  editForm,
  editJson,
  fieldsOf,
  onPath,
  refusal,
  refuseWhen,
  resign,
  setStatus,
} from './moves.ts';
import type { Ask, Mutant, Seen } from './mutant.ts';
import { blindTo, blindToClaims } from './repair.ts';

const now = () => Math.floor(Date.now() / 1000);
const client = ['client_assertion', 'client_assertion_type', 'client_secret', 'client_id'];
const subjectIn = (seen: Seen) => fieldsOf(seen).get('subject_token') ?? '';

function refuseClaims(when: (claims: Claims) => boolean): Ask {
  return refuseWhen((_, fields) => when(claimsIn(fields, 'subject_token')));
}

/** A subject token that was there before is made anew, with the same claims. */
const forgets: Ask = async (seen, tools) => {
  const token = subjectIn(seen);
  if (!tools.memory.has(token)) {
    tools.memory.set(token, '');
    return seen;
  }
  return editForm(async (fields, _, { suite }) => fields.set('subject_token', await suite.assertion()))(
    seen,
    tools,
  );
};

/** A subject token that was there before is refused. */
const uses: Ask = (seen, { memory }) => {
  if (memory.has(subjectIn(seen))) return refusal('invalid_request');
  memory.set(subjectIn(seen), '');
  return seen;
};

const blind: readonly (readonly [string, string, readonly string[]])[] = [
  ['F2', 'does not look at aud', ['aud']],
  ['F2.b', 'takes its audience among others', ['aud list']],
  ['F2.c', 'takes the token endpoint as audience', ['aud']],
  ['F3', 'takes its own name beside the issuer’s audience', ['aud']],
  ['F5', 'needs no exp', ['no exp']],
  ['F5.b', 'needs no iat', ['no iat']],
  ['F5.c', 'takes any life', ['lifetime']],
  ['F5.d', 'does not look at nbf', ['nbf']],
  ['F5.e', 'does not look at exp', ['exp']],
  ['F5.f', 'does not look at iat', ['iat']],
  ['F6.c', 'needs no jti', ['no jti']],
  ['F7', 'takes alg none', ['alg']],
  ['F7.b', 'takes any alg', ['alg']],
  ['F7.c', 'does not look at crit', ['header']],
  ['F7.d', 'does not look at keys in the header', ['header']],
  ['F8', 'takes any key', ['signature']],
  ['F8.b', 'takes any issuer', ['iss']],
  ['P1.b', 'takes another trust domain', ['trust domain']],
  ['P1.c', 'needs no exp of an SVID', ['no exp']],
  ['P1.d', 'takes any key of the bundle', ['signature']],
  ['P2.b', 'takes a token without end', ['no exp', 'no iat']],
];

const platforms: readonly (readonly [string, string, string, readonly string[]])[] = [
  ['P2.b', 'takes a token of a Secret', 'kubernetes', ['kubernetes.io/serviceaccount/namespace']],
  ['P2.c', 'does not look at the account', 'kubernetes', ['kubernetes.io']],
  ['P3', 'does not look at repository_id', 'github', ['repository_id']],
  ['P3', 'does not look at repository_owner_id', 'github', ['repository_owner_id']],
  ['P3.b', 'takes jobs of pull requests', 'github', ['event_name']],
  ['P4', 'does not look at ref_protected', 'gitlab', ['ref_protected']],
  ['P4', 'does not look at project_id', 'gitlab', ['project_id']],
  ['P4.b', 'takes jobs of merge requests', 'gitlab', ['pipeline_source']],
];

export const callerMutants: readonly Mutant[] = [
  ...blind.map(([breaks, says, faults]) => ({ breaks, says, ask: blindTo(faults) })),
  ...platforms.map(([breaks, says, platform, names]) => ({
    breaks,
    says,
    ask: blindToClaims(platform, names),
  })),
  {
    breaks: 'F1',
    says: 'wants clients registered',
    ask: refuseWhen((_, fields) => fields.has('client_id'), 'invalid_client'),
  },
  { breaks: 'F2.d', says: 'takes no list', ask: refuseClaims(({ aud }) => Array.isArray(aud)) },
  {
    breaks: 'F4',
    says: 'takes no client assertion',
    ask: refuseWhen((_, fields) => fields.has('client_assertion')),
  },
  { breaks: 'F4.b', says: 'does not look whose it is', ask: dropFields(...client) },
  { breaks: 'F4.b', says: 'answers 400', answer: setStatus(400, (_, { status }) => status === 401) },
  { breaks: 'F4.c', says: 'ignores it', ask: dropFields(...client) },
  { breaks: 'F4.c', says: 'takes an expired one', ask: blindTo(['exp', 'lifetime'], 'client_assertion') },
  { breaks: 'F4.e', says: 'ignores it', ask: dropFields(...client) },
  {
    breaks: 'F4.e',
    says: 'does not know the type',
    ask: refuseWhen(
      (_, fields) => (fields.get('client_assertion_type') ?? '').endsWith('spiffe'),
      'invalid_client',
    ),
  },
  { breaks: 'F4.d', says: 'ignores a secret', ask: dropFields(...client) },
  { breaks: 'F5.g', says: 'allows for no skew', ask: refuseClaims(({ iat }) => Number(iat) > now() + 5) },
  {
    breaks: 'F5.g',
    says: 'allows for no skew at the end',
    ask: refuseClaims(({ exp }) => Number(exp) < now() - 5),
  },
  { breaks: 'F6', says: 'remembers no assertion', ask: forgets },
  { breaks: 'F6.b', says: 'remembers an assertion too late', ask: forgets },
  { breaks: 'F6.d', says: 'uses up what it refuses', ask: uses },
  { breaks: 'F6.e', says: 'takes every token once', ask: uses },
  {
    breaks: 'F8.c',
    says: 'fetches jku',
    ask: async (seen) => {
      const { jku } = headerOf(subjectIn(seen));
      if (typeof jku === 'string') await fetch(jku);
      return seen;
    },
  },
  {
    breaks: 'F8.c',
    says: 'fetches what iss names',
    ask: async (seen) => {
      const { iss } = claimsIn(fieldsOf(seen), 'subject_token');
      if (String(iss).startsWith('http://127.0.0.1')) await fetch(`${iss}/.well-known/openid-configuration`);
      return seen;
    },
  },
  {
    breaks: 'G1',
    says: 'leaves typ at JWT',
    ...resign((_, header) => Object.assign(header, { typ: 'JWT' })),
  },
  {
    breaks: 'G1',
    says: 'leaves kid out',
    ...resign((_, header) => Object.assign(header, { kid: undefined })),
  },
  {
    breaks: 'G1',
    says: 'signs by a key that it does not publish',
    ...resign(() => undefined, { publish: false }),
  },
  { breaks: 'G1.b', says: 'signs by ES256 always', ...resign(() => undefined) },
  ...['client_id', 'iat', 'jti'].map((name) => ({
    breaks: 'G2',
    says: `leaves ${name} out`,
    ...resign((claims) => Reflect.deleteProperty(claims, name)),
  })),
  {
    breaks: 'G2',
    says: 'is for everybody',
    ...resign((claims) => Object.assign(claims, { aud: claims['iss'] })),
  },
  {
    breaks: 'G2.b',
    says: 'says one name for all',
    ...resign((claims) => Object.assign(claims, { client_id: 'main/agent' })),
  },
  {
    breaks: 'G2.c',
    says: 'says the subject’s name',
    ...resign((claims) => Object.assign(claims, { client_id: claims['sub'] })),
  },
  {
    breaks: 'G2.d',
    says: 'says one jti for all',
    ...resign((claims) => Object.assign(claims, { jti: 'x' })),
  },
  {
    breaks: 'G4',
    says: 'calls everything active',
    answer: editJson(onPath('/introspect'), (body) => Object.assign(body, { active: true })),
  },
  {
    breaks: 'P1',
    says: 'needs iat of an SVID',
    ask: refuseClaims(({ iat, sub }) => iat === undefined && String(sub).startsWith('spiffe:')),
  },
  {
    breaks: 'P1',
    says: 'does not know typ JOSE',
    ask: refuseWhen((seen) => headerOf(subjectIn(seen)).typ === 'JOSE'),
  },
  { breaks: 'P2', says: 'takes no list', ask: refuseClaims(({ aud }) => Array.isArray(aud)) },
];

function headerOf(token: string): { readonly typ?: unknown; readonly jku?: unknown } {
  try {
    return decodeProtectedHeader(token);
  } catch {
    return {};
  }
}
