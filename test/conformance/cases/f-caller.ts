import { createServer } from 'node:http';
import type { JWK } from 'jose';
import { type Case, check, expectIssued, expectRefused } from '../case.ts';
import { type AssertionWishes, newKey, publicOf, type Suite } from '../suite.ts';

const now = () => Math.floor(Date.now() / 1000);
const bearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const spiffe = 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe';

async function refused(suite: Suite, wishes: AssertionWishes): Promise<void> {
  const detail = wishes.issuer === suite.profile.issuers.reuse ? 'reuse' : 'plain';
  const token = await suite.assertion(wishes);
  expectRefused(await suite.exchange({ token, detail }), 'invalid_request');
}

type Wrong = readonly [
  id: string,
  rule: string,
  source: string,
  (suite: Suite) => readonly AssertionWishes[],
];

/** One wrong thing each, in an assertion that is right but for it. */
const wrongAssertions: readonly Wrong[] = [
  [
    'F2',
    'the audience is the server’s issuer',
    'RFC 7523 section 3',
    ({ profile }) =>
      [`${profile.issuer}/`, 'https://elsewhere.example', ''].map((aud) => ({ claims: { aud } })),
  ],
  [
    'F2.b',
    'the audience is the only one',
    'rfc7523bis section 3',
    ({ profile }) => [{ claims: { aud: [profile.issuers.main.audience, 'https://elsewhere.example'] } }],
  ],
  [
    'F2.c',
    'the address of the token endpoint is no audience',
    'rfc7523bis',
    ({ tokenUrl }) => [{ claims: { aud: tokenUrl } }],
  ],
  [
    'F3',
    'an issuer’s own audience is exact, and replaces the usual one',
    'RFC 7523 section 3',
    ({ profile }) => [{ issuer: profile.issuers.reuse, claims: { aud: profile.issuer } }],
  ],
  ['F5', 'exp is required', 'RFC 7523 section 3', () => [{ without: ['exp'] }]],
  ['F5.b', 'iat is required', 'RFC 7523 section 3', () => [{ without: ['iat'] }]],
  [
    'F5.c',
    'a longer life than the issuer’s maximum is refused',
    'RFC 7523 section 3',
    ({ profile }) => [{ claims: { exp: now() + profile.issuers.main.lifetimeSecondsMax + 60 } }],
  ],
  ['F5.d', 'nbf is honoured', 'RFC 7519 section 4.1.5', () => [{ claims: { nbf: now() + 90 } }]],
  [
    'F5.e',
    'an expired one is refused',
    'RFC 7519 section 4.1.4',
    () => [{ claims: { iat: now() - 400, exp: now() - 100 } }],
  ],
  [
    'F5.f',
    'one made in the future is refused',
    'RFC 7523 section 3',
    () => [{ claims: { iat: now() + 90 } }],
  ],
  ['F6.c', 'where a token is taken once it needs a jti', 'RFC 7523 section 3', () => [{ without: ['jti'] }]],
  ['F7', 'alg none is refused', 'RFC 8725 section 3.1', () => [{ header: { alg: 'none' } }]],
  [
    'F7.b',
    'HMAC with the public key as secret is refused',
    'RFC 8725 section 3.1',
    ({ profile }) => [{ header: { alg: 'HS256' }, key: publicOf(profile.issuers.main.key) }],
  ],
  [
    'F7.c',
    'crit and b64 are refused',
    'RFC 7515 section 4.1.11',
    () => [
      { header: { crit: ['conformance'], conformance: true } },
      { header: { crit: ['b64'], b64: true } },
    ],
  ],
  [
    'F7.d',
    'jku, x5u, jwk and x5c are refused',
    'RFC 8725 section 3.10',
    ({ profile }) => [
      { header: { jku: 'https://elsewhere.example/jwks' } },
      { header: { x5u: 'https://elsewhere.example/cert' } },
      { header: { jwk: publicOf(profile.issuers.main.key) } },
      { header: { x5c: ['AA=='] } },
    ],
  ],
  ['F8', 'a key that the issuer does not publish is refused', 'RFC 8725 section 3.8', () => strangers()],
  [
    'F8.b',
    'an issuer that is not configured is refused, whoever signed',
    'RFC 8725 section 3.8',
    () => [{ claims: { iss: 'https://elsewhere.example' } }, { without: ['iss'] }],
  ],
];

function strangers(): readonly AssertionWishes[] {
  return [{ key: newKey() }, { key: newKey('conformance-unknown') }];
}

/** F. Who the caller is (RFC 7521, 7523, 8725). */
export const callerCases: readonly Case[] = [
  ...wrongAssertions.map(
    ([id, rule, source, wishes]): Case => ({
      ...{ id, rule: `of an assertion: ${rule}`, source, must: 'MUST' },
      run: async (suite) => {
        for (const wish of wishes(suite)) await refused(suite, wish);
      },
    }),
  ),
  {
    id: 'F1',
    rule: 'no client is registered: client_id is ignored',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    run: async (suite) => {
      await suite.issued({ more: { client_id: 'conformance' } });
    },
  },
  {
    id: 'F2.d',
    rule: 'a list of the one audience is that audience',
    source: 'RFC 7519 section 4.1.3',
    must: 'MUST',
    run: async (suite) => {
      const claims = { aud: [suite.profile.issuers.main.audience] };
      await suite.issued({ token: await suite.assertion({ claims }) });
    },
  },
  {
    id: 'F4',
    rule: 'a client assertion of the same workload is taken beside the subject',
    source: 'RFC 7523 section 2.2',
    must: 'MUST',
    run: async (suite) => {
      const more = { client_assertion: await suite.assertion(), client_assertion_type: bearer };
      await suite.issued({ more });
    },
  },
  {
    id: 'F4.b',
    rule: 'a client assertion of another workload is invalid_client',
    source: 'RFC 7521 section 4.2.1',
    must: 'MUST',
    run: async (suite) => {
      const client_assertion = await suite.assertion({ subject: suite.profile.subjects.other });
      const answer = await suite.exchange({ more: { client_assertion, client_assertion_type: bearer } });
      expectRefused(answer, 'invalid_client', 401);
    },
  },
  {
    id: 'F4.c',
    rule: 'a client assertion that is not valid, or of an unknown type, is invalid_client',
    source: 'RFC 7521 section 4.2.1',
    must: 'MUST',
    run: async (suite) => {
      const good = await suite.assertion();
      const expired = await suite.assertion({ claims: { exp: 1 } });
      for (const more of [
        { client_assertion: expired, client_assertion_type: bearer },
        { client_assertion: good, client_assertion_type: 'urn:x' },
      ])
        expectRefused(await suite.exchange({ more }), 'invalid_client', 401);
    },
  },
  {
    id: 'F4.d',
    rule: 'a client secret is refused, never ignored',
    source: 'RFC 6749 section 5.2',
    must: 'MUST',
    run: async (suite) => {
      const more = { client_id: 'x', client_secret: 'y' };
      expectRefused(await suite.exchange({ more }), 'invalid_client', 401);
    },
  },
  {
    id: 'F4.e',
    rule: 'jwt-spiffe is for JWT-SVIDs alone',
    source: 'draft-ietf-oauth-spiffe-client-auth',
    must: 'MUST',
    needs: ['spiffe'],
    run: async (suite) => {
      const issuer = suite.profile.issuers.spiffe ?? suite.profile.issuers.main;
      const claims = suite.profile.platformClaims['spiffe'] ?? {};
      const [token, svid] = [
        await suite.assertion({ issuer, claims }),
        await suite.assertion({ issuer, claims }),
      ];
      const more = { client_assertion_type: spiffe };
      await suite.issued({ detail: 'spiffe', token, more: { ...more, client_assertion: svid } });
      const other = await suite.exchange({ more: { ...more, client_assertion: await suite.assertion() } });
      expectRefused(other, 'invalid_client', 401);
    },
  },
  {
    id: 'F5.g',
    rule: 'clocks may differ by twenty seconds',
    source: 'RFC 7519 section 4.1.4',
    must: 'SHOULD',
    run: async (suite) => {
      for (const claims of [
        { iat: now() + 20, exp: now() + 80 },
        { iat: now() - 80, exp: now() - 20 },
      ])
        await suite.issued({ token: await suite.assertion({ claims }) });
    },
  },
  {
    id: 'F6',
    rule: 'an assertion that is taken once is refused the second time',
    source: 'RFC 7523 section 3',
    must: 'MUST',
    run: async (suite) => {
      const token = await suite.assertion();
      await suite.issued({ token });
      expectRefused(await suite.exchange({ token }), 'invalid_request');
    },
  },
  {
    id: 'F6.b',
    rule: 'of many uses at the same time one wins',
    source: 'RFC 7523 section 3',
    must: 'MUST',
    run: async (suite) => {
      const token = await suite.assertion();
      const answers = await Promise.all(Array.from({ length: 12 }, () => suite.exchange({ token })));
      const [winner, ...others] = answers.toSorted((left, right) => left.status - right.status);
      if (winner !== undefined) expectIssued(winner);
      for (const answer of others) expectRefused(answer, 'invalid_request');
    },
  },
  {
    id: 'F6.d',
    rule: 'a refused exchange uses up no assertion',
    source: 'RFC 7523 section 3',
    must: 'MUST',
    run: async (suite) => {
      const token = await suite.assertion();
      expectRefused(await suite.exchange({ token, detail: 'outside' }), 'invalid_target');
      await suite.issued({ token });
    },
  },
  {
    id: 'F6.e',
    rule: 'where tokens are cached by their platform one is taken again',
    source: 'JWT-SVID section 4',
    must: 'MUST',
    run: async (suite) => {
      const token = await suite.assertion({ issuer: suite.profile.issuers.reuse });
      await suite.issued({ token, detail: 'reuse' });
      await suite.issued({ token, detail: 'reuse' });
    },
  },
  {
    id: 'F8.c',
    rule: 'no address in a token is ever fetched',
    source: 'RFC 8725 section 3.10',
    must: 'MUST',
    run: async (suite) => {
      const trap = await openTrap();
      try {
        const key: JWK = newKey('conformance-trap');
        const header = { jku: trap.url, x5u: trap.url };
        for (const wishes of [
          { key, header },
          { key, claims: { iss: trap.url } },
        ]) {
          const answer = await suite.exchange({ token: await suite.assertion(wishes) });
          expectRefused(answer, 'invalid_request');
          check(answer, !trap.wasReached(), 'no request to an address of the token');
        }
      } finally {
        trap.close();
      }
    },
  },
];

/** Listens on loopback, where a server on this machine could reach it. */
async function openTrap() {
  let reached = false;
  const server = createServer((_, response) => {
    reached = true;
    response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}/keys`, wasReached: () => reached, close: () => server.close() };
}

export const callerUnseen = [
  {
    id: 'F6.f',
    why: 'that replicas share what was used needs the addresses of two; test/e2e/proofs.test.ts has them',
  },
  {
    id: 'F8.d',
    why: 'one refetch in 30 s for an unknown kid needs an issuer on the network; the suite’s keys are files',
  },
] as const;
