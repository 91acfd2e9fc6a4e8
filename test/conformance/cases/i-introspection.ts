import { type Case, check, expectAnswer } from '../case.ts';
import { claimsOf, textOf } from '../suite.ts';

const needs = ['introspection'] as const;

/** I. Introspection (RFC 7662). */
export const introspectionCases: readonly Case[] = [
  {
    id: 'I1',
    rule: 'the caller is authorized: nobody, and a workload that is no resource server, get 401',
    source: 'RFC 7662 section 2.1',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const token = textOf(await suite.issued(), 'access_token');
      const agent = `Bearer ${await suite.assertion()}`;
      for (const authorization of [null, 'Bearer nonsense', agent]) {
        const answer = expectAnswer(await suite.introspect(token, { authorization }), { status: 401 });
        check(answer, answer.headers['www-authenticate'] !== undefined, 'WWW-Authenticate');
        check(answer, answer.body['active'] === undefined, 'nothing about the token');
      }
    },
  },
  {
    id: 'I1.b',
    rule: 'a resource server hears of a token for another audience {"active":false} alone',
    source: 'RFC 7662 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const token = textOf(await suite.issued(), 'access_token');
      const [, { subject }] = suite.profile.resourceServers;
      const answer = expectAnswer(await suite.introspect(token, { subject }), { status: 200 });
      check(answer, JSON.stringify(answer.body) === '{"active":false}', '{"active":false} alone');
    },
  },
  {
    id: 'I1.c',
    rule: 'of what is no token it is told {"active":false} alone',
    source: 'RFC 7662 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      for (const token of ['nonsense', 'a.b.c', await suite.assertion()]) {
        const answer = expectAnswer(await suite.introspect(token), { status: 200 });
        check(answer, JSON.stringify(answer.body) === '{"active":false}', '{"active":false} alone');
      }
    },
  },
  {
    id: 'I2',
    rule: 'of a live token it is told active, sub, aud, exp, iat, jti, client_id and txn, as they stand in it',
    source: 'RFC 7662 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const issued = await suite.issued();
      const answer = await suite.introspect(textOf(issued, 'access_token'));
      check(answer, answer.body['active'] === true, 'active true');
      for (const name of ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'client_id', 'txn'])
        check(answer, answer.body[name] === claimsOf(issued)[name], `${name} of the token`);
    },
  },
  {
    id: 'I2.b',
    rule: 'the answer is JSON that nobody caches',
    source: 'RFC 7662 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const answer = await suite.introspect('nonsense');
      check(answer, /^application\/json(;|$)/.test(answer.headers['content-type'] ?? ''), 'application/json');
      check(answer, answer.headers['cache-control'] === 'no-store', 'Cache-Control: no-store');
    },
  },
  {
    id: 'I3',
    rule: 'when its task has ended a token is not active at once',
    source: 'RFC 7662 section 2.2',
    must: 'MUST',
    needs: ['introspection', 'revocation', 'task-tokens'],
    run: async (suite) => {
      const issued = await suite.issued();
      const token = textOf(issued, 'access_token');
      const before = await suite.introspect(token);
      check(before, before.body['active'] === true, 'active true');
      const task = textOf(issued, 'task_token');
      expectAnswer(await suite.revoke(task, { bearer: task }), { status: 200 });
      const after = await suite.introspect(token);
      check(after, JSON.stringify(after.body) === '{"active":false}', '{"active":false} alone');
    },
  },
];

export const introspectionUnseen = [
  { id: 'I4', why: 'signed answers of introspection (RFC 9701) are not built yet' },
] as const;
