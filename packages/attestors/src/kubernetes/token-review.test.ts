import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { attestorOptions, fetchLimits, outcome, serve, type TestServer } from '../../test/issuer.ts';
import { reviewToken } from './token-review.ts';

let answer: unknown;
let posted: unknown;
let server: TestServer;
beforeAll(async () => {
  server = await serve((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      posted = JSON.parse(body);
      response.writeHead(201).end(JSON.stringify(answer));
    });
  });
});
afterAll(() => server.close());

const audience = 'https://mayfly.test';
const username = 'system:serviceaccount:finance:reconciler';
const bound = {
  namespace: 'finance',
  serviceaccount: { name: 'reconciler', uid: 'u1' },
  pod: { name: 'p', uid: 'p1' },
};
const user = { username, uid: 'u1', extra: { 'authentication.kubernetes.io/pod-uid': ['p1'] } };
const good = { authenticated: true, audiences: [audience], user };

function reviewed(status: unknown): Promise<string> {
  answer = { kind: 'TokenReview', status };
  const { origin } = server;
  const options = attestorOptions({
    fetch: fetchLimits({ allowLoopbackOrigins: [origin] }),
    tokenFiles: [{ origin, file: '/token' }],
    readFile: async () => 'broker',
  });
  const review = { server: origin, caFile: null, tokenFile: '/token' };
  const expected = { audience, username, bound };
  const signal = new AbortController().signal;
  return outcome(() => reviewToken('a.b.c', { review, expected, options, signal }));
}

test('the cluster is asked about this token for our audience', async () => {
  expect(await reviewed(good)).toBe('accepted');
  expect(posted).toEqual({
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token: 'a.b.c', audiences: [audience] },
  });
});

test.each([
  ['not authenticated', { ...good, authenticated: false }, 'not authenticated'],
  ['nothing said', {}, 'not authenticated'],
  ['no user', { ...good, user: undefined }, 'not authenticated'],
  ['no audiences, as of a server that knows none', { ...good, audiences: undefined }, 'audience'],
  ['another audience', { ...good, audiences: ['https://kubernetes.default.svc'] }, 'audience'],
  ['another name', { ...good, user: { ...user, username: `${username}2` } }, 'another user'],
  ['an account made anew', { ...good, user: { ...user, uid: 'u2' } }, 'another user'],
  ['no uid', { ...good, user: { username } }, 'another user'],
  [
    'another pod',
    { ...good, user: { ...user, extra: { 'authentication.kubernetes.io/pod-uid': ['p2'] } } },
    'another pod',
  ],
])('refuses an answer with %s', async (_, status, detail) => {
  expect(await reviewed(status)).toBe(`assertion_invalid: token review: ${detail}`);
});

test('a server that says nothing of pods is believed in the rest', async () => {
  expect(await reviewed({ ...good, user: { username, uid: 'u1' } })).toBe('accepted');
});

test.each([null, 'x', { authenticated: 'true' }, { ...good, audiences: 'x' }])(
  'an answer of another form is a fault: %j',
  async (status) => {
    expect(await reviewed(status)).toBe('issuer_unavailable (none): issuer: token review malformed');
  },
);
