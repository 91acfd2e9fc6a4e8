import { type Case, check, expectAnswer, expectIssued, expectRefused } from '../case.ts';
import { at, claimsOf, textOf, tokenType } from '../suite.ts';

/** JWTs that are something else than an assertion (RFC 8725 section 3.11). */
const otherTypes = ['at+jwt', 'dpop+jwt', 'secevent+jwt', 'logout+jwt', 'txntoken+jwt'];

/** `expires_in` counts from the answer, which may have taken a moment. */
const answerSecondsMax = 5;

/** B1 to B9, B13. Token exchange (RFC 8693). */
export const exchangeCases: readonly Case[] = [
  {
    id: 'B1',
    rule: 'a grant type that is not served is unsupported_grant_type',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      for (const grant_type of ['password', 'client_credentials', 'token-exchange', 'urn:x'])
        expectRefused(await suite.exchange({ more: { grant_type } }), 'unsupported_grant_type');
    },
  },
  {
    id: 'B1.b',
    rule: 'grant_type is required',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: { grant_type: '' } }), 'invalid_request');
    },
  },
  {
    id: 'B2',
    rule: 'subject_token is required',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: { subject_token: '' } }), 'invalid_request');
    },
  },
  {
    id: 'B2.b',
    rule: 'subject_token_type is required',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: { subject_token_type: '' } }), 'invalid_request');
    },
  },
  {
    id: 'B3',
    rule: 'actor_token without actor_token_type is refused',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      const more = { actor_token: await suite.assertion({ subject: suite.profile.subjects.actor }) };
      expectRefused(await suite.exchange({ more }), 'invalid_request');
    },
  },
  {
    id: 'B3.b',
    rule: 'actor_token_type without actor_token is refused',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: { actor_token_type: tokenType.jwt } }), 'invalid_request');
    },
  },
  {
    id: 'B4',
    rule: 'an assertion is taken as :jwt and as :id_token',
    source: 'RFC 8693 section 3',
    must: 'MUST',
    run: async (suite) => {
      for (const subject_token_type of [tokenType.jwt, tokenType.idToken])
        await suite.issued({ more: { subject_token_type } });
    },
  },
  {
    id: 'B4.b',
    rule: 'any other subject_token_type is refused',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      for (const subject_token_type of [tokenType.saml2, tokenType.refreshToken, 'jwt', 'urn:x'])
        expectRefused(await suite.exchange({ more: { subject_token_type } }), 'invalid_request');
    },
  },
  {
    id: 'B4.c',
    rule: 'a JWT that is typed as something else is no assertion',
    source: 'RFC 8725 section 3.11',
    must: 'MUST',
    run: async (suite) => {
      for (const typ of otherTypes) {
        const token = await suite.assertion({ header: { typ } });
        expectRefused(await suite.exchange({ token }), 'invalid_request');
      }
    },
  },
  {
    id: 'B4.d',
    rule: 'an assertion is not taken as :access_token',
    source: 'RFC 8693 section 3',
    must: 'MUST',
    run: async (suite) => {
      const more = { subject_token_type: tokenType.accessToken };
      expectRefused(await suite.exchange({ more }), 'invalid_request');
    },
  },
  {
    id: 'B4.e',
    rule: 'an access token made for a resource server is no subject token by itself',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      const token = textOf(await suite.issued(), 'access_token');
      for (const subject_token_type of [tokenType.accessToken, tokenType.jwt])
        expectRefused(await suite.exchange({ token, more: { subject_token_type } }), 'invalid_request');
    },
  },
  {
    id: 'B5',
    rule: 'requested_token_type may name what the grant gives',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      await suite.issued({ more: { requested_token_type: tokenType.accessToken } });
    },
  },
  {
    id: 'B5.b',
    rule: 'requested_token_type that the grant does not give is refused',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      for (const requested_token_type of [tokenType.saml2, tokenType.refreshToken, 'urn:x'])
        expectRefused(await suite.exchange({ more: { requested_token_type } }), 'invalid_request');
    },
  },
  {
    id: 'B6',
    rule: 'more than one target is invalid_target',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      const { audience } = suite.profile.resourceServers[0];
      for (const name of ['resource', 'audience']) {
        const again = [
          [name, audience],
          [name, 'https://elsewhere.example'],
        ] as const;
        expectRefused(await suite.exchange({ again }), 'invalid_target');
      }
    },
  },
  {
    id: 'B7',
    rule: 'a success has access_token, issued_token_type, token_type and expires_in',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      const { issued_token_type, token_type, expires_in } = answer.body;
      check(answer, issued_token_type === tokenType.accessToken, 'issued_token_type :access_token');
      check(answer, typeof token_type === 'string', 'token_type');
      check(answer, Number.isInteger(expires_in) && Number(expires_in) > 0, 'expires_in, whole seconds');
    },
  },
  {
    id: 'B7.b',
    rule: 'no refresh_token is issued',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      check(answer, !Object.hasOwn(answer.body, 'refresh_token'), 'no refresh_token');
    },
  },
  {
    id: 'B7.c',
    rule: 'scope is said whenever it differs from what was asked for',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    run: async (suite) => {
      const { granted, ignored } = suite.profile.scope;
      for (const scope of [ignored, '']) {
        const answer = await suite.issued({ more: { scope } });
        check(answer, answer.body['scope'] === granted, 'the granted scope');
      }
      const same = await suite.issued({ more: { scope: granted } });
      check(same, [undefined, granted].includes(at(same.body, 'scope') as string), 'no other scope');
    },
  },
  {
    id: 'B7.d',
    rule: 'expires_in is what is left of the life of the token',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      const { iat, exp } = claimsOf(answer);
      const difference = Number(exp) - Number(iat) - Number(answer.body['expires_in']);
      check(answer, Math.abs(difference) <= answerSecondsMax, 'expires_in that agrees with the token');
    },
  },
  {
    id: 'B8',
    rule: 'an access token that is bound to no key is of token_type Bearer',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      check(answer, String(answer.body['token_type']).toLowerCase() === 'bearer', 'token_type Bearer');
    },
  },
  {
    id: 'B8.b',
    rule: 'what is no OAuth access token is of token_type N_A, and of a type of its own',
    source: 'RFC 8693 section 2.2.1',
    must: 'MUST',
    needs: ['clouds'],
    run: async (suite) => {
      const answer = await suite.issued({ detail: 'cloud' });
      check(answer, answer.body['token_type'] === 'N_A', 'token_type N_A');
      const type = answer.body['issued_token_type'];
      check(
        answer,
        type !== tokenType.accessToken && String(type).includes(':'),
        'another issued_token_type',
      );
    },
  },
  {
    id: 'B9',
    rule: 'an invalid subject token is invalid_request, never invalid_grant',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      const elsewhere = { ...suite.profile.issuers.main, issuer: 'https://elsewhere.example' };
      for (const token of ['nonsense', await suite.assertion({ issuer: elsewhere })])
        expectRefused(await suite.exchange({ token }), 'invalid_request');
    },
  },
  {
    id: 'B9.b',
    rule: 'a subject that policy refuses is invalid_request, never invalid_grant',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      const { nobody } = suite.profile.subjects;
      expectRefused(await suite.exchange({ subject: nobody }), 'invalid_request');
    },
  },
  {
    id: 'B9.c',
    rule: 'a target that is not served is invalid_target',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ detail: 'outside' }), 'invalid_target');
      const more = { resource: 'https://elsewhere.example' };
      expectRefused(await suite.exchange({ more }), 'invalid_target');
    },
  },
  {
    id: 'B13',
    rule: 'the life that was asked for is kept, and the default without',
    source: 'RFC 6749 section 5.1',
    must: 'MUST',
    needs: ['issuance'],
    run: async (suite) => {
      const { ttl } = suite.profile;
      const half = Math.ceil(ttl.default / 2);
      for (const [asked, life] of [
        [half, half],
        [undefined, ttl.default],
      ]) {
        const answer = await suite.issued(asked === undefined ? {} : { detailMore: { ttl: asked } });
        const left = Number(answer.body['expires_in']);
        check(
          answer,
          left <= Number(life) && left > Number(life) - answerSecondsMax,
          `expires_in of about ${life}`,
        );
      }
    },
  },
  {
    id: 'B13.b',
    rule: 'a life above the maximum is refused, not shortened in silence',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    needs: ['issuance'],
    run: async (suite) => {
      const answer = await suite.exchange({ detailMore: { ttl: suite.profile.ttl.max + 1 } });
      expectRefused(answer, 'invalid_authorization_details');
    },
  },
  {
    id: 'B13.c',
    rule: 'a nearer deadline shortens the life, and the answer says which',
    source: 'RFC 9396 section 7',
    must: 'MUST',
    needs: ['issuance'],
    run: async (suite) => {
      const answer = expectIssued(await suite.exchange({ detail: 'short' }));
      const seconds = Number(answer.body['expires_in']);
      check(answer, seconds > 0 && seconds < suite.profile.ttl.default, 'less than the default life');
      const by = at(answer.body, 'issuance', 'limited_by');
      check(answer, typeof by === 'string' && by !== 'ttl', 'issuance.limited_by that names the deadline');
      expectAnswer(answer, { status: 200 });
    },
  },
];
