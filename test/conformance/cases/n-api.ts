import { type Case, check } from '../case.ts';

/** N. The API beside the OAuth endpoints (RFC 9457). */
export const apiCases: readonly Case[] = [
  {
    id: 'N1',
    rule: 'an error of the API is application/problem+json with type, title, status, detail, instance and reason',
    source: 'RFC 9457 section 3',
    must: 'MUST',
    needs: ['api'],
    run: async (suite) => {
      const answer = await suite.send({ path: suite.profile.resource ?? '/' });
      const type = answer.headers['content-type'] ?? '';
      check(answer, type.startsWith('application/problem+json'), 'application/problem+json');
      for (const name of ['type', 'title', 'detail', 'instance', 'reason'])
        check(answer, typeof answer.body[name] === 'string', name);
      check(answer, answer.body['status'] === answer.status, 'status as of the answer');
    },
  },
  {
    id: 'N1.b',
    rule: 'the OAuth endpoints answer no problem+json',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      const { token, introspection, revocation } = suite.profile.endpoints;
      for (const path of [token, introspection, revocation]) {
        const answer = await suite.send({ method: 'POST', path, body: 'x' });
        const type = answer.headers['content-type'] ?? '';
        check(answer, answer.status === 404 || /^application\/json(;|$)/.test(type), 'application/json');
      }
    },
  },
  {
    id: 'N2',
    rule: 'a 401 of the API carries a challenge: no error without credentials, invalid_token with bad ones',
    source: 'RFC 6750 section 3',
    must: 'MUST',
    needs: ['api'],
    run: async (suite) => {
      const path = suite.profile.resource ?? '/';
      const bare = await suite.send({ path });
      const challenge = bare.headers['www-authenticate'] ?? '';
      check(bare, bare.status === 401 && /^Bearer\b/.test(challenge), '401 with a Bearer challenge');
      check(bare, !challenge.includes('error='), 'no error without credentials');
      const bad = await suite.send({ path, headers: { authorization: 'Bearer nonsense' } });
      const said = bad.headers['www-authenticate'] ?? '';
      check(bad, bad.status === 401 && said.includes('error="invalid_token"'), '401 with invalid_token');
    },
  },
];

export const apiUnseen = [
  ...['O1', 'O2', 'O3', 'O4', 'O5', 'O6', 'O7'].map((id) => ({
    id,
    why: 'security events (SSF, CAEP) are not built yet: there is no receiver and no transmitter to talk to',
  })),
] as const;
