import { type Case, check, expectAnswer, expectIssued, expectRefused } from '../case.ts';
import { tokenType } from '../suite.ts';

const form = 'application/x-www-form-urlencoded';
/** What RFC 6749 section 5.2 lets stand in an error_description. */
const described = /^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/;
/** Stands in requests where an answer must not repeat it. */
const marker = 'zz-conformance-marker-zz';

/** A. Transport and form (RFC 6749 sections 3.2, 5.1 and 5.2). */
export const transportCases: readonly Case[] = [
  {
    id: 'A1',
    rule: 'the token endpoint takes POST only: any other method is 405',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH'])
        expectAnswer(await suite.send({ method, path: suite.tokenUrl }), { status: 405 });
    },
  },
  {
    id: 'A1.b',
    rule: 'a 405 says Allow: POST',
    source: 'RFC 9110 section 15.5.6',
    must: 'MUST',
    run: async (suite) => {
      const answer = expectAnswer(await suite.send({ path: suite.tokenUrl }), { status: 405 });
      check(answer, answer.headers.allow === 'POST', 'Allow: POST');
    },
  },
  {
    id: 'A2',
    rule: 'a body of another media type than a form is refused as invalid_request',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x']) {
        const answer = await suite.exchange({ headers: { 'content-type': type } });
        expectRefused(answer, 'invalid_request');
      }
    },
  },
  {
    id: 'A3',
    rule: 'a body above the limit is 413, in the JSON of every other error',
    source: 'RFC 9110 section 15.5.14',
    must: 'MUST',
    run: async (suite) => {
      const filler = 'x'.repeat(suite.profile.bodyBytesMax);
      expectRefused(await suite.exchange({ more: { filler } }), 'invalid_request', 413);
    },
  },
  {
    id: 'A4',
    rule: 'a parameter that is sent twice is refused, whether or not the values are equal',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      const names = ['grant_type', 'subject_token', 'subject_token_type', 'authorization_details'];
      for (const name of names) {
        const fields = await suite.form();
        fields.append(name, fields.get(name) ?? '');
        expectRefused(await suite.token(fields), 'invalid_request');
      }
      for (const name of ['scope', 'client_id', 'requested_token_type']) {
        const value = name === 'requested_token_type' ? tokenType.accessToken : suite.profile.scope.granted;
        const again = [
          [name, value],
          [name, value],
        ] as const;
        expectRefused(await suite.exchange({ again }), 'invalid_request');
      }
    },
  },
  {
    id: 'A4.b',
    rule: 'resource and audience may be repeated',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      const { audience } = suite.profile.resourceServers[0];
      for (const name of ['resource', 'audience'])
        await suite.issued({
          again: [
            [name, audience],
            [name, audience],
          ],
        });
    },
  },
  {
    id: 'A5',
    rule: 'a parameter without value counts as not sent',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      const names = [
        'scope',
        'actor_token',
        'actor_token_type',
        'resource',
        'audience',
        'requested_token_type',
      ];
      await suite.issued({ again: names.map((name) => [name, ''] as const) });
    },
  },
  {
    id: 'A5.b',
    rule: 'an unknown parameter is ignored',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      await suite.issued({ again: [['conformance_unknown', 'x']] });
    },
  },
  {
    id: 'A5.c',
    rule: 'a required parameter without value is missing',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      for (const name of ['subject_token', 'subject_token_type', 'grant_type']) {
        const fields = await suite.form();
        fields.set(name, '');
        expectRefused(await suite.token(fields), 'invalid_request');
      }
    },
  },
  {
    id: 'A6',
    rule: 'parameters in the query are never read',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      const path = `${suite.tokenUrl}?${await suite.form()}`;
      const headers = { 'content-type': form };
      expectRefused(await suite.send({ method: 'POST', path, headers }), 'invalid_request');
    },
  },
  {
    id: 'A6.b',
    rule: 'a query in the address of the token endpoint is tolerated',
    source: 'RFC 6749 section 3.2',
    must: 'MUST',
    run: async (suite) => {
      const body = String(await suite.form());
      const path = `${suite.tokenUrl}?grant_type=password&source=library`;
      expectIssued(await suite.send({ method: 'POST', path, body, headers: { 'content-type': form } }));
    },
  },
  {
    id: 'A7',
    rule: 'success and error are application/json, whatever Accept says',
    source: 'RFC 6749 sections 5.1 and 5.2',
    must: 'MUST',
    run: async (suite) => {
      for (const more of [{}, { subject_token: 'x' }] as const) {
        const answer = await suite.exchange({ more, headers: { accept: 'text/html' } });
        const type = answer.headers['content-type'] ?? '';
        check(answer, /^application\/json(;|$)/.test(type), 'application/json');
        check(answer, Object.keys(answer.body).length > 0, 'a JSON object');
      }
    },
  },
  {
    id: 'A7.b',
    rule: 'success and error say Cache-Control: no-store',
    source: 'RFC 6749 section 5.1',
    must: 'MUST',
    run: async (suite) => {
      for (const more of [{}, { subject_token: 'x' }, { grant_type: 'password' }] as const) {
        const answer = await suite.exchange({ more });
        check(answer, answer.headers['cache-control'] === 'no-store', 'Cache-Control: no-store');
      }
    },
  },
  {
    id: 'A7.c',
    rule: 'success and error say Pragma: no-cache',
    source: 'RFC 6749 section 5.1',
    must: 'MUST',
    run: async (suite) => {
      for (const more of [{}, { subject_token: 'x' }] as const) {
        const answer = await suite.exchange({ more });
        check(answer, answer.headers.pragma === 'no-cache', 'Pragma: no-cache');
      }
    },
  },
  {
    id: 'A8',
    rule: 'error_description holds only the characters that RFC 6749 lets it',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      for (const more of [{ grant_type: 'é"\\' }, { subject_token: '"\n' }, { scope: '"é' }] as const) {
        const answer = expectAnswer(await suite.exchange({ more }), { status: 400 });
        const text = answer.body['error_description'] ?? '';
        check(answer, typeof text === 'string' && described.test(text), 'plain characters');
      }
    },
  },
  {
    id: 'A8.b',
    rule: 'an error repeats nothing of the request',
    source: 'RFC 6749 section 10.14',
    must: 'MUST',
    run: async (suite) => {
      const texts = [
        { grant_type: marker },
        { subject_token: marker },
        { subject_token_type: marker },
      ] as const;
      const more = [
        ...texts,
        { scope: marker },
        { resource: marker },
        { requested_token_type: marker },
      ] as const;
      for (const wishes of [...more.map((one) => ({ more: one })), { detailMore: { [marker]: marker } }]) {
        const answer = expectAnswer(await suite.exchange(wishes), { status: 400 });
        check(answer, !answer.text.includes(marker), 'nothing of the request in the answer');
      }
    },
  },
  {
    id: 'A9',
    rule: 'what is wrong with a subject token is no 401',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      for (const token of ['x', 'a.b.c', await suite.assertion({ claims: { exp: 1 } })])
        expectRefused(await suite.exchange({ token }), 'invalid_request');
    },
  },
  {
    id: 'A9.b',
    rule: 'client authentication that fails by Authorization header is 401 invalid_client with a challenge',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.exchange({ headers: { authorization: 'Basic eDp5' } });
      expectRefused(answer, 'invalid_client', 401);
      const challenge = answer.headers['www-authenticate'] ?? '';
      check(answer, /^Basic\b/i.test(challenge), 'WWW-Authenticate with the scheme that was tried');
    },
  },
  {
    id: 'A10',
    rule: 'too many requests are 429 temporarily_unavailable with Retry-After in seconds',
    source: 'RFC 6585 section 4',
    must: 'MUST',
    needs: ['rate'],
    run: async (suite) => {
      let answer = await suite.exchange({ detail: 'rate' });
      // The first may be the one too many already, and the second may be the first of another minute; not the third.
      for (let more = 0; more < 2 && answer.status !== 429; more += 1)
        answer = await suite.exchange({ detail: 'rate' });
      expectRefused(answer, 'temporarily_unavailable', 429);
      check(answer, /^[1-9][0-9]*$/.test(answer.headers['retry-after'] ?? ''), 'Retry-After in seconds');
    },
  },
  {
    id: 'A11',
    rule: 'addresses in answers come from the configured issuer, never from Host or X-Forwarded-*',
    source: 'RFC 9700 section 2.6',
    must: 'MUST',
    run: async (suite) => {
      const evil = 'evil.example';
      const attempts = [
        { host: evil },
        { 'x-forwarded-host': evil, 'x-forwarded-proto': 'https', forwarded: `host=${evil};proto=https` },
      ] as const;
      for (const headers of attempts) {
        const answer = await suite.send({ path: '/.well-known/oauth-authorization-server', headers });
        check(answer, answer.status === 200 || answer.status >= 400, 'the document or a refusal');
        check(answer, !answer.text.includes(evil), 'no address made of a request header');
      }
    },
  },
  {
    id: 'A12',
    rule: 'the token endpoint is closed to other origins, or exposes what a client needs to read',
    source: 'RFC 9449 section 8, Fetch standard',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.exchange({ headers: { origin: 'https://app.example' } });
      const exposed = String(answer.headers['access-control-expose-headers'] ?? '').toLowerCase();
      const isClosed = answer.headers['access-control-allow-origin'] === undefined;
      const isOpen = exposed.includes('dpop-nonce') && exposed.includes('www-authenticate');
      check(answer, isClosed || isOpen, 'no CORS, or DPoP-Nonce and WWW-Authenticate exposed');
    },
  },
];

export const transportUnseen = [
  { id: 'A10.b', why: '503 and 500 need a dependency of the server to fail' },
] as const;
