import { type Case, check, expectAnswer } from '../case.ts';
import type { Answer } from '../http.ts';
import { at, type Suite, textOf } from '../suite.ts';

async function isActive(suite: Suite, token: string): Promise<boolean> {
  return expectAnswer(await suite.introspect(token), { status: 200 }).body['active'] === true;
}

async function live(suite: Suite): Promise<{ issued: Answer; token: string }> {
  const issued = await suite.issued();
  const token = textOf(issued, 'access_token');
  check(issued, await isActive(suite, token), 'a token that is active');
  return { issued, token };
}

const needs = ['revocation', 'introspection'] as const;

/** H. Revocation (RFC 7009). */
export const revocationCases: readonly Case[] = [
  {
    id: 'H1',
    rule: 'the caller proves who it is: without, 401',
    source: 'RFC 7009 section 2.1',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const { token } = await live(suite);
      for (const bearer of [null, 'nonsense']) {
        const answer = expectAnswer(await suite.revoke(token, { bearer }), { status: 401 });
        check(answer, answer.headers['www-authenticate'] !== undefined, 'WWW-Authenticate');
        check(answer, await isActive(suite, token), 'a token that is still active');
      }
    },
  },
  {
    id: 'H1.b',
    rule: 'a token that its workload revokes is not active from the answer on',
    source: 'RFC 7009 section 2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const { token } = await live(suite);
      const answer = expectAnswer(await suite.revoke(token), { status: 200 });
      check(answer, !(await isActive(suite, token)), 'a token that is not active');
    },
  },
  {
    id: 'H1.c',
    rule: 'a hint that is wrong or unknown changes nothing',
    source: 'RFC 7009 section 2.1',
    must: 'MUST',
    needs,
    run: async (suite) => {
      for (const hint of ['refresh_token', 'conformance']) {
        const { token } = await live(suite);
        const answer = expectAnswer(await suite.revoke(token, { hint }), { status: 200 });
        check(answer, !(await isActive(suite, token)), 'a token that is not active');
      }
    },
  },
  {
    id: 'H1.d',
    rule: 'token is required',
    source: 'RFC 7009 section 2.1',
    must: 'MUST',
    needs,
    run: async (suite) => {
      expectAnswer(await suite.revoke(''), { status: 400, error: 'invalid_request' });
    },
  },
  {
    id: 'H2',
    rule: 'an unknown, malformed or dead token is 200, with the same bytes',
    source: 'RFC 7009 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const { token } = await live(suite);
      const first = expectAnswer(await suite.revoke(token), { status: 200 });
      for (const other of [token, 'nonsense', 'a.b.c', await suite.assertion()]) {
        const answer = expectAnswer(await suite.revoke(other), { status: 200 });
        check(answer, answer.text === first.text, 'the same bytes as for a token that is revoked');
      }
    },
  },
  {
    id: 'H2.b',
    rule: 'a token of another workload is 200 with the same bytes, and stays',
    source: 'RFC 7009 section 2.1',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const { token } = await live(suite);
      const bearer = await suite.assertion({ subject: suite.profile.subjects.other });
      const answer = expectAnswer(await suite.revoke(token, { bearer }), { status: 200 });
      const unknown = await suite.revoke('nonsense', { bearer });
      check(answer, answer.text === unknown.text, 'the same bytes as for an unknown token');
      check(answer, await isActive(suite, token), 'a token that is still active');
    },
  },
  {
    id: 'H3',
    rule: 'an issuance id names what it issued',
    source: 'RFC 7009 section 2.1',
    must: 'MUST',
    needs: [...needs, 'issuance'],
    run: async (suite) => {
      const { issued, token } = await live(suite);
      const answer = expectAnswer(await suite.revoke(String(at(issued.body, 'issuance', 'id'))), {
        status: 200,
      });
      check(answer, !(await isActive(suite, token)), 'a token that is not active');
    },
  },
  {
    id: 'H4',
    rule: '200 comes when the end is durable, not before',
    source: 'RFC 7009 section 2.2',
    must: 'MUST',
    needs,
    run: async (suite) => {
      for (let round = 0; round < 5; round += 1) {
        const { token } = await live(suite);
        const answer = expectAnswer(await suite.revoke(token), { status: 200 });
        const seen = await Promise.all([isActive(suite, token), isActive(suite, token)]);
        check(answer, !seen.includes(true), 'no introspection after the answer that still says active');
      }
    },
  },
];

export const revocationUnseen = [
  {
    id: 'H1.e',
    why: 'who operates a server and may revoke is its own matter; test/e2e/revoke.test.ts has roles',
  },
  { id: 'H2.c', why: 'that all take the same time needs statistics that a busy machine makes false' },
  {
    id: 'H3.b',
    why: 'a deferral code is cancelled the same way; approvals are not built, so there is none to send',
  },
  { id: 'H5', why: '503 needs a database that is away' },
] as const;
