import { objectOf } from '../http.ts';
import { decodeHeader, tokenType } from '../suite.ts';
import {
  claimsIn,
  dropFields,
  dropMember,
  dropSecond,
  editForm,
  editJson,
  onSuccess,
  onToken,
  refuseWhen,
  resign,
  setError,
  succeed,
  type When,
} from './moves.ts';
import type { Mutant, Tools } from './mutant.ts';
import { blindTo, faultsOfAssertion } from './repair.ts';

const issued: When = (seen, told) => onToken(seen, told) && onSuccess(seen, told);
const because =
  (error: string): When =>
  (seen, told) =>
    onToken(seen, told) && objectOf(told.body)['error'] === error;

function typOf(token: string | null): unknown {
  try {
    return decodeHeader(token ?? '')['typ'];
  } catch {
    return undefined;
  }
}

/** Changes the one detail of a request. */
export function editDetail(edit: (detail: Record<string, unknown>, tools: Tools) => unknown) {
  return editForm((fields, _, tools) => {
    const details: unknown[] = JSON.parse(fields.get('authorization_details') ?? '[]');
    for (const detail of details) edit(Object(detail), tools);
    fields.set('authorization_details', JSON.stringify(details));
  });
}

export const exchangeMutants: readonly Mutant[] = [
  {
    breaks: 'B2',
    says: 'needs no subject token',
    ask: editForm(async (fields, _, { suite }) => {
      if (!fields.has('subject_token')) fields.set('subject_token', await suite.assertion());
    }),
  },
  {
    breaks: 'B2.b',
    says: 'guesses the type of a subject token',
    ask: editForm(
      (fields) => !fields.has('subject_token_type') && fields.set('subject_token_type', tokenType.jwt),
    ),
  },
  {
    breaks: 'B3',
    says: 'leaves an actor without type out',
    ask: editForm((fields) => !fields.has('actor_token_type') && fields.delete('actor_token')),
  },
  {
    breaks: 'B3.b',
    says: 'leaves a type without actor out',
    ask: editForm((fields) => !fields.has('actor_token') && fields.delete('actor_token_type')),
  },
  ...[tokenType.jwt, tokenType.idToken].map((type) => ({
    breaks: 'B4',
    says: `does not know ${type}`,
    ask: refuseWhen((_, fields) => fields.get('subject_token_type') === type),
  })),
  {
    breaks: 'B4.b',
    says: 'takes any type for a JWT',
    ask: editForm((fields) => fields.set('subject_token_type', tokenType.jwt)),
  },
  {
    breaks: 'B4.b',
    says: 'takes a refresh token’s type',
    ask: editForm(
      (fields) =>
        fields.get('subject_token_type') === tokenType.refreshToken &&
        fields.set('subject_token_type', tokenType.jwt),
    ),
  },
  { breaks: 'B4.c', says: 'does not look at typ', ask: blindTo(['typ']) },
  {
    breaks: 'B4.d',
    says: 'takes an assertion for an access token',
    ask: editForm(async (fields, _, { profile }) => {
      const faults = await faultsOfAssertion(fields.get('subject_token') ?? '', profile);
      if (faults.length === 0) fields.set('subject_token_type', tokenType.jwt);
    }),
  },
  {
    breaks: 'B4.e',
    says: 'takes the token of a resource server',
    ask: editForm(async (fields, _, { suite }) => {
      if (typOf(fields.get('subject_token')) !== 'at+jwt') return;
      fields.set('subject_token', await suite.assertion());
      fields.set('subject_token_type', tokenType.jwt);
    }),
  },
  {
    breaks: 'B5',
    says: 'refuses any requested type',
    ask: refuseWhen((_, fields) => fields.has('requested_token_type')),
  },
  { breaks: 'B5.b', says: 'ignores the requested type', ask: dropFields('requested_token_type') },
  { breaks: 'B6', says: 'takes the first of two targets', ask: editForm(dropSecond) },
  { breaks: 'B6', says: 'calls it invalid_request', answer: setError('invalid_request', onToken) },
  ...['issued_token_type', 'token_type', 'expires_in'].map((name) => ({
    breaks: 'B7',
    says: `leaves ${name} out`,
    answer: dropMember(name, issued),
  })),
  {
    breaks: 'B7',
    says: 'says expires_in as text',
    answer: editJson(issued, (body) => Object.assign(body, { expires_in: String(body['expires_in']) })),
  },
  {
    breaks: 'B7.b',
    says: 'gives a refresh token',
    answer: editJson(issued, (body) => Object.assign(body, { refresh_token: 'x' })),
  },
  { breaks: 'B7.c', says: 'does not say the scope', answer: dropMember('scope', issued) },
  {
    breaks: 'B7.d',
    says: 'says a longer life than the token has',
    answer: editJson(issued, (body) => Object.assign(body, { expires_in: Number(body['expires_in']) + 60 })),
  },
  {
    breaks: 'B8',
    says: 'calls a bearer token N_A',
    answer: editJson(issued, (body) => Object.assign(body, { token_type: 'N_A' })),
  },
  {
    breaks: 'B8.b',
    says: 'calls keys of a cloud a bearer token',
    answer: editJson(issued, (body) => Object.assign(body, { token_type: 'Bearer' })),
  },
  {
    breaks: 'B8.b',
    says: 'calls keys of a cloud an access token',
    answer: editJson(issued, (body) => Object.assign(body, { issued_token_type: tokenType.accessToken })),
  },
  {
    breaks: 'B9',
    says: 'calls it invalid_grant',
    answer: setError('invalid_grant', because('invalid_request')),
  },
  {
    breaks: 'B9.b',
    says: 'calls it invalid_grant',
    answer: setError('invalid_grant', because('invalid_request')),
  },
  {
    breaks: 'B9.b',
    says: 'serves every workload of an issuer',
    ask: editForm(async (fields, _, { suite, profile }) => {
      if (claimsIn(fields, 'subject_token')['sub'] === profile.subjects.nobody)
        fields.set('subject_token', await suite.assertion());
    }),
  },
  {
    breaks: 'B9.c',
    says: 'calls it invalid_request',
    answer: setError('invalid_request', because('invalid_target')),
  },
  {
    breaks: 'B9.c',
    says: 'serves what lies outside',
    ask: editDetail((detail, { profile }) =>
      Object.assign(detail, { identifier: profile.details['plain']?.['identifier'] }),
    ),
  },
  {
    breaks: 'B10',
    says: 'leaves the actor out of the token',
    ...resign((claims) => Reflect.deleteProperty(claims, 'act')),
  },
  {
    breaks: 'B10',
    says: 'makes the actor the subject',
    ...resign((claims) => Object.assign(claims, { sub: claims['client_id'] })),
  },
  {
    breaks: 'B10',
    says: 'does not say whose the actor is',
    ...resign((claims) => Reflect.deleteProperty(Object(claims['act']), 'iss')),
  },
  {
    breaks: 'B10.b',
    says: 'forgets who acted before',
    ...resign((claims) => Reflect.deleteProperty(Object(claims['act']), 'act')),
  },
  {
    breaks: 'B10.b',
    says: 'nests the chain the wrong way round',
    ...resign((claims) => {
      const { act: inner, ...outer } = Object(claims['act']);
      if (inner !== undefined) claims['act'] = { ...inner, act: outer };
    }),
  },
  { breaks: 'B10.c', says: 'takes a chain of any length', answer: succeed() },
  {
    breaks: 'B11',
    says: 'does not look at may_act',
    ask: editForm(async (fields, _, { suite }) => {
      const { may_act, jti, ...claims } = claimsIn(fields, 'subject_token');
      if (may_act !== undefined) fields.set('subject_token', await suite.assertion({ claims }));
    }),
  },
  {
    breaks: 'B11',
    says: 'compares sub of may_act alone',
    ask: editForm(async (fields, _, { suite, profile }) => {
      const { may_act, jti, ...claims } = claimsIn(fields, 'subject_token');
      if (Object(may_act).sub === profile.subjects.actor)
        fields.set('subject_token', await suite.assertion({ claims }));
    }),
  },
  {
    breaks: 'B11.b',
    says: 'refuses any may_act',
    ask: refuseWhen((_, fields) => claimsIn(fields, 'subject_token')['may_act'] !== undefined),
  },
  {
    breaks: 'B11.c',
    says: 'lets anybody act',
    ask: editForm(async (fields, _, { suite, profile }) => {
      if (claimsIn(fields, 'actor_token')['sub'] === profile.subjects.stranger)
        fields.set('actor_token', await suite.assertion({ subject: profile.subjects.actor }));
    }),
  },
  {
    breaks: 'B11.d',
    says: 'leaves an actor out that it cannot read',
    ask: editForm(async (fields, _, { profile }) => {
      const faults = await faultsOfAssertion(fields.get('actor_token') ?? '', profile);
      if (faults.includes('form'))
        for (const name of ['actor_token', 'actor_token_type']) fields.delete(name);
    }),
  },
  { breaks: 'B11.d', says: 'takes an expired actor token', ask: blindTo(['exp', 'lifetime'], 'actor_token') },
  { breaks: 'B12', says: 'leaves the actor out', ask: dropFields('actor_token', 'actor_token_type') },
  { breaks: 'B12.b', says: 'does not look at act', ask: blindTo(['act']) },
  {
    breaks: 'B13',
    says: 'gives the default life',
    ask: editDetail((detail) => Reflect.deleteProperty(detail, 'ttl')),
  },
  {
    breaks: 'B13',
    says: 'gives the longest life',
    ask: editDetail((detail, { profile }) => Object.assign(detail, { ttl: profile.ttl.max })),
  },
  {
    breaks: 'B13.b',
    says: 'shortens in silence',
    ask: editDetail((detail, { profile }) => Object.assign(detail, { ttl: profile.ttl.max })),
  },
  {
    breaks: 'B13.c',
    says: 'does not say what shortened it',
    answer: editJson(issued, (body) => Object.assign(Object(body['issuance']), { limited_by: 'ttl' })),
  },
  {
    breaks: 'B13.c',
    says: 'does not shorten',
    answer: editJson(issued, (body) => Object.assign(body, { expires_in: 60 })),
  },
];
