import { createLocalJWKSet, errors, type JSONWebKeySet, jwtVerify } from 'jose';
import { type Case, CaseFailed, check } from '../case.ts';
import type { Answer } from '../http.ts';
import { at, claimsOf, decodeHeader, type Suite, textOf, tokenType } from '../suite.ts';

const algorithms = ['ES256', 'RS256'];

/** As a resource server verifies it: by the published keys, typ, issuer and audience exact. */
async function verified(suite: Suite, answer: Answer, audience: string) {
  const jwks = await suite.send({ path: suite.profile.endpoints.jwks });
  const keys = createLocalJWKSet({ keys: [], ...jwks.body } as JSONWebKeySet);
  const { issuer } = suite.profile;
  try {
    return await jwtVerify(textOf(answer, 'access_token'), keys, {
      ...{ typ: 'at+jwt', issuer, audience, algorithms },
      requiredClaims: ['exp', 'sub', 'client_id', 'iat', 'jti'],
    });
  } catch (error) {
    const code = error instanceof errors.JOSEError ? `${error.code} ${error.message}` : 'no JWT';
    throw new CaseFailed(`sent ${answer.sent}; expected a token that verifies; came ${code}`);
  }
}

/** G. The access token (RFC 9068). */
export const accessTokenCases: readonly Case[] = [
  {
    id: 'G1',
    rule: 'the token is an at+jwt with a kid that the JWKS has, and verifies by it',
    source: 'RFC 9068 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      const header = decodeHeader(textOf(answer, 'access_token'));
      check(answer, header['typ'] === 'at+jwt', 'typ at+jwt');
      check(answer, typeof header['kid'] === 'string', 'a kid');
      await verified(suite, answer, suite.profile.resourceServers[0].audience);
    },
  },
  {
    id: 'G1.b',
    rule: 'RS256 is there for resource servers that know nothing else',
    source: 'RFC 9068 section 2.1',
    must: 'MUST',
    needs: ['rs256'],
    run: async (suite) => {
      const answer = await suite.issued({ detail: 'rs256' });
      const header = decodeHeader(textOf(answer, 'access_token'));
      check(answer, header['alg'] === 'RS256', 'alg RS256');
      await verified(suite, answer, suite.profile.resourceServers[1].audience);
    },
  },
  {
    id: 'G2',
    rule: 'iss, exp, aud, sub, client_id, iat and jti are there; iss is the issuer, aud the resource server',
    source: 'RFC 9068 section 2.2',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      const claims = claimsOf(answer);
      for (const name of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'])
        check(answer, claims[name] !== undefined, `the claim ${name}`);
      check(answer, claims['iss'] === suite.profile.issuer, 'iss of the issuer');
      check(
        answer,
        claims['aud'] === suite.profile.resourceServers[0].audience,
        'aud of the resource server',
      );
    },
  },
  {
    id: 'G2.b',
    rule: 'client_id is the workload that presented the subject token',
    source: 'RFC 9068 section 2.2',
    must: 'MUST',
    run: async (suite) => {
      const { agent, other } = suite.profile.subjects;
      for (const subject of [agent, other]) {
        const answer = await suite.issued({ subject });
        for (const name of ['client_id', 'sub'])
          check(answer, String(claimsOf(answer)[name]).endsWith(subject), `${name} of the workload`);
      }
    },
  },
  {
    id: 'G2.c',
    rule: 'with an actor client_id is the actor',
    source: 'RFC 9068 section 2.2',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      const { agent, actor } = suite.profile.subjects;
      const more = {
        actor_token: await suite.assertion({ subject: actor }),
        actor_token_type: tokenType.jwt,
      };
      const answer = await suite.issued({ detail: 'delegated', more });
      check(answer, String(claimsOf(answer)['client_id']).endsWith(actor), 'client_id of the actor');
      check(answer, String(claimsOf(answer)['sub']).endsWith(agent), 'sub of the subject');
    },
  },
  {
    id: 'G2.d',
    rule: 'each token has a jti of its own',
    source: 'RFC 9068 section 2.2',
    must: 'MUST',
    run: async (suite) => {
      const [one, two] = [await suite.issued(), await suite.issued()];
      check(two, claimsOf(one)['jti'] !== claimsOf(two)['jti'], 'another jti');
    },
  },
  {
    id: 'G3',
    rule: 'txn names the task of the grant',
    source: 'RFC 8417 section 2.2',
    must: 'MUST',
    needs: ['issuance'],
    run: async (suite) => {
      const answer = await suite.issued();
      const { txn } = claimsOf(answer);
      check(
        answer,
        typeof txn === 'string' && txn === at(answer.body, 'issuance', 'task'),
        'txn of the task',
      );
    },
  },
  {
    id: 'G3.b',
    rule: 'what else an assertion says of its subject is not passed on',
    source: 'RFC 9068 section 6',
    must: 'MUST',
    run: async (suite) => {
      const claims = { email: 'someone@conformance.example', name: 'Some One', secret: 'zz-conformance-zz' };
      const answer = await suite.issued({ token: await suite.assertion({ claims }) });
      const text = JSON.stringify(claimsOf(answer));
      const leaked = Object.values(claims).some((value) => text.includes(value)) || /"email"/.test(text);
      check(answer, !leaked, 'no claim of the assertion but its subject');
    },
  },
  {
    id: 'G4',
    rule: 'what is not exactly such a token is not active: another typ, an altered one, an assertion',
    source: 'RFC 9068 section 4',
    must: 'MUST',
    needs: ['introspection'],
    run: async (suite) => {
      const issued = await suite.issued();
      const token = textOf(issued, 'access_token');
      const altered = token.replace(
        /\.[^.]+$/,
        (signature) => `.${[...signature.slice(1)].reverse().join('')}`,
      );
      const others = [
        altered,
        await suite.assertion(),
        ...[issued.body['task_token'] ?? []].flat().map(String),
      ];
      for (const other of others) {
        const answer = await suite.introspect(other);
        check(answer, answer.body['active'] === false, 'active false');
      }
    },
  },
];
