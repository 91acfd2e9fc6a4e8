import { expect, test } from '@jest/globals';
import { compilePattern, Refusal, type TrustedIssuer } from '@mayfly/core';
import { parsePerson, personInForce } from './person.ts';

const pattern = (text: string) => {
  const compiled = compilePattern(text);
  if ('problem' in compiled) throw new TypeError(compiled.problem);
  return compiled;
};
const issuer: TrustedIssuer = {
  name: 'corp-sso',
  ...({ type: 'oidc', bundleUrl: null, bundleFile: null, caFile: null } as const),
  ...({ tokenFile: null, tokenReview: null, pullRequests: 'refuse' } as const),
  issuer: 'https://sso.example',
  audience: 'https://mayfly.example',
  jwksUri: null,
  jwksFile: null,
  algorithms: ['ES256'],
  subjects: [pattern('*@corp.example')],
  claims: ['groups', 'team'],
  maxLifetimeSeconds: 3600,
  replay: 'once',
  people: true,
  events: null,
};
const jane = {
  issuerName: 'corp-sso',
  iss: 'https://sso.example',
  subject: 'jane@corp.example',
  claims: { sub: 'jane@corp.example', groups: ['audit'], team: 'finance' },
};

function seen(change: Partial<TrustedIssuer> | null, person = jane, name = 'corp-sso'): unknown {
  const issuers = new Map(change === null ? [] : [[issuer.issuer, { ...issuer, ...change }]]);
  try {
    return personInForce(person, { policy: { issuers }, name });
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : error;
  }
}

test('a person is whom the issuer named, with the claims that it keeps now', () => {
  expect(seen({})).toEqual({
    issuer: 'https://sso.example',
    issuerName: 'corp-sso',
    subject: 'jane@corp.example',
    claims: jane.claims,
  });
  expect(seen({ claims: ['team'] })).toMatchObject({
    claims: { sub: 'jane@corp.example', team: 'finance' },
  });
  expect(seen({ claims: [] })).toMatchObject({ claims: { sub: 'jane@corp.example' } });
});

test.each([
  ['is gone', null, 'no TrustedIssuer of that name'],
  ['has another name', { name: 'other' }, 'no TrustedIssuer of that name'],
  ['speaks for people no more', { people: false }, 'the TrustedIssuer does not speak for people'],
  ['trusts another iss', { issuer: 'https://other.example' }, 'signed in through another issuer'],
  ['has no subjects', { subjects: [] }, 'subject outside the namespaces of its issuer'],
  [
    'has narrower subjects',
    { subjects: [pattern('*@other.example')] },
    'subject outside the namespaces of its issuer',
  ],
] as const)('nobody is a person of an issuer that %s', (_, change, detail) => {
  expect(seen(change)).toBe(`sign_in_person_refused: ${detail}`);
});

test('somebody of another issuer than the configured one is nobody', () => {
  expect(seen({}, { ...jane, issuerName: 'other' })).toBe(
    'sign_in_person_refused: signed in through another issuer',
  );
  expect(seen({}, jane, 'other')).toBe('sign_in_person_refused: no TrustedIssuer of that name');
});

test('a stored person is exactly of the form that was stored', () => {
  expect(parsePerson(jane)).toEqual(jane);
  for (const wrong of [{}, { ...jane, roles: ['admin'] }, { ...jane, claims: { groups: [{}] } }, null])
    expect(() => parsePerson(wrong)).toThrow();
});
