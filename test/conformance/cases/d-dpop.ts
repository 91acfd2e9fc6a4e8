import { type Case, check, expectIssued, expectRefused } from '../case.ts';
import type { Answer } from '../http.ts';
import {
  at,
  claimsOf,
  newKey,
  type ProofKey,
  type ProofWishes,
  type Suite,
  textOf,
  tokenType,
  type Wishes,
} from '../suite.ts';

const refusal = 'invalid_dpop_proof';
const now = () => Math.floor(Date.now() / 1000);

/** An exchange with a proof; where the server demands a nonce, again with the one that it gave (RFC 9449 section 8). */
async function proven(
  suite: Suite,
  key: ProofKey,
  wishes: Wishes = {},
  proof: ProofWishes = {},
): Promise<Answer> {
  const send = async (claims: object) => {
    const dpop = await key.proof({ ...proof, claims: { ...claims, ...proof.claims } });
    return suite.exchange({ detail: 'dpop', ...wishes, headers: { dpop, ...wishes.headers } });
  };
  const first = await send({});
  const nonce = first.headers['dpop-nonce'];
  return first.body['error'] === 'use_dpop_nonce' &&
    proof.claims?.['nonce'] === undefined &&
    nonce !== undefined
    ? send({ nonce })
    : first;
}

async function refusedProof(suite: Suite, proof: ProofWishes): Promise<void> {
  expectRefused(await proven(suite, await suite.proofKey(), {}, proof), refusal);
}

/** One wrong thing each, in a proof that is right but for it. */
const wrongProofs: readonly (readonly [
  id: string,
  rule: string,
  source: string,
  (s: Suite) => ProofWishes[],
])[] = [
  [
    'D1.c',
    'typ is dpop+jwt',
    '4.3 check 4',
    () => [{ header: { typ: 'JWT' } }, { header: { typ: undefined } }],
  ],
  ['D1.d', 'the algorithm is asymmetric, and not none', '4.3 check 5', () => [{ header: { alg: 'none' } }]],
  [
    'D1.e',
    'jwk is there and holds no private key',
    '4.3 check 7',
    () => [privateJwk(), { header: { jwk: undefined } }],
  ],
  ['D1.f', 'the signature is by the key in jwk', '4.3 check 6', () => [{ signWith: newKey() }]],
  [
    'D1.g',
    'htm is the method',
    '4.3 check 8',
    () => [{ claims: { htm: 'GET' } }, { claims: { htm: 'post' } }],
  ],
  [
    'D1.h',
    'htu is the address of the token endpoint as configured',
    '4.3 check 9',
    ({ tokenUrl }) =>
      ['https://evil.example/token', `${tokenUrl}/`, tokenUrl.replace(/token$/, 'introspect'), 'x'].map(
        (htu) => ({
          claims: { htu },
        }),
      ),
  ],
  [
    'D1.i',
    'iat is within a minute',
    '4.3 check 11',
    () => [{ claims: { iat: now() - 120 } }, { claims: { iat: now() + 120 } }],
  ],
  [
    'D1.j',
    'jti, htm, htu and iat are there',
    '4.2',
    () => ['jti', 'htm', 'htu', 'iat'].map((name) => ({ without: [name] })),
  ],
];

function privateJwk(): ProofWishes {
  const key = newKey();
  return { header: { jwk: key }, signWith: key };
}

/** D. DPoP at the token endpoint (RFC 9449). */
export const dpopCases: readonly Case[] = [
  {
    id: 'D1',
    rule: 'a good proof is taken',
    source: 'RFC 9449 section 5',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      expectIssued(await proven(suite, await suite.proofKey()));
    },
  },
  {
    id: 'D1.b',
    rule: 'two DPoP headers are refused, and so is what is no JWT',
    source: 'RFC 9449 section 4.3 checks 1 and 2',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const pair = [await key.proof(), await key.proof()];
      for (const dpop of [pair, 'nonsense'])
        expectRefused(await suite.exchange({ detail: 'dpop', headers: { dpop } }), refusal);
    },
  },
  ...wrongProofs.map(
    ([id, rule, section, wishes]): Case => ({
      ...{
        id,
        rule: `of a proof: ${rule}`,
        source: `RFC 9449 section ${section}`,
        must: 'MUST',
        needs: ['dpop'],
      },
      run: async (suite) => {
        for (const wish of wishes(suite)) await refusedProof(suite, wish);
      },
    }),
  ),
  {
    id: 'D1.k',
    rule: 'query and fragment of htu are left out of the comparison',
    source: 'RFC 9449 section 4.3 check 9',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const claims = { htu: `${suite.tokenUrl}?a=b#c` };
      expectIssued(await proven(suite, await suite.proofKey(), {}, { claims }));
    },
  },
  {
    id: 'D1.l',
    rule: 'a proof for another host is refused when Host names it too',
    source: 'RFC 9449 section 4.3 check 9',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' };
      for (const htu of ['http://evil.example/token', 'https://evil.example/token']) {
        const answer = await proven(suite, await suite.proofKey(), { headers }, { claims: { htu } });
        check(answer, answer.status >= 400, 'a refusal');
      }
    },
  },
  {
    id: 'D2',
    rule: 'a proof is taken once',
    source: 'RFC 9449 section 11.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const claims = { jti: crypto.randomUUID() };
      expectIssued(await proven(suite, key, {}, { claims }));
      expectRefused(await proven(suite, key, {}, { claims }), refusal);
    },
  },
  {
    id: 'D2.b',
    rule: 'of many uses of one proof at the same time one wins',
    source: 'RFC 9449 section 11.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const nonce = (await proven(suite, key)).headers['dpop-nonce'];
      const dpop = await key.proof({ claims: { ...(nonce === undefined ? {} : { nonce }) } });
      const forms = await Promise.all(Array.from({ length: 12 }, () => suite.form({ detail: 'dpop' })));
      const answers = await Promise.all(forms.map((fields) => suite.token(fields, { headers: { dpop } })));
      const [winner, ...others] = answers.toSorted((left, right) => left.status - right.status);
      if (winner !== undefined) expectIssued(winner);
      for (const answer of others) expectRefused(answer, refusal);
    },
  },
  {
    id: 'D3',
    rule: 'a nonce that is not the server’s is answered by use_dpop_nonce and a DPoP-Nonce header',
    source: 'RFC 9449 section 8',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const answer = await proven(suite, await suite.proofKey(), {}, { claims: { nonce: 'foreign' } });
      expectRefused(answer, 'use_dpop_nonce');
      check(
        answer,
        /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(String(answer.headers['dpop-nonce'] ?? '')),
        'DPoP-Nonce',
      );
    },
  },
  {
    id: 'D3.b',
    rule: 'the nonce that was given is taken, whatever the clock of the client says',
    source: 'RFC 9449 section 8',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const first = await proven(suite, key, {}, { claims: { nonce: 'foreign' } });
      const claims = { nonce: String(first.headers['dpop-nonce']), iat: now() - 3600 };
      expectIssued(await proven(suite, key, {}, { claims }));
    },
  },
  {
    id: 'D4',
    rule: 'an answer that asks for a nonce uses up no assertion',
    source: 'RFC 9449 section 8',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const token = await suite.assertion();
      const first = await proven(suite, key, { token }, { claims: { nonce: 'foreign' } });
      expectRefused(first, 'use_dpop_nonce');
      const nonce = String(first.headers['dpop-nonce']);
      expectIssued(await proven(suite, key, { token }, { claims: { nonce } }));
    },
  },
  {
    id: 'D5',
    rule: 'a bound token is of token_type DPoP and holds cnf.jkt of the key',
    source: 'RFC 9449 sections 5 and 6.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const answer = expectIssued(await proven(suite, key));
      check(answer, answer.body['token_type'] === 'DPoP', 'token_type DPoP');
      check(answer, at(claimsOf(answer), 'cnf', 'jkt') === key.jkt, 'cnf.jkt of the key of the proof');
    },
  },
  {
    id: 'D5.b',
    rule: 'introspection answers cnf.jkt and token_type DPoP',
    source: 'RFC 9449 section 6.2',
    must: 'MUST',
    needs: ['dpop', 'introspection'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const issued = expectIssued(await proven(suite, key));
      const answer = await suite.introspect(textOf(issued, 'access_token'));
      check(answer, at(answer.body, 'cnf', 'jkt') === key.jkt, 'cnf.jkt');
      check(answer, answer.body['token_type'] === 'DPoP', 'token_type DPoP');
    },
  },
  {
    id: 'D6',
    rule: 'the metadata lists the algorithms of proofs, none of them symmetric',
    source: 'RFC 9449 section 5.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const answer = await suite.metadata();
      const listed = [answer.body['dpop_signing_alg_values_supported'] ?? []].flat().map(String);
      check(answer, listed.includes('ES256'), 'ES256 listed');
      check(answer, !listed.some((alg) => alg === 'none' || alg.startsWith('HS')), 'none symmetric');
    },
  },
  {
    id: 'D7',
    rule: 'without the proof that a grant demands nothing is given',
    source: 'RFC 9449 section 5',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      expectRefused(await suite.exchange({ detail: 'dpop' }), refusal);
    },
  },
  {
    id: 'D8',
    rule: 'a bound subject token is taken with a proof by its key alone',
    source: 'RFC 9449 section 7.1',
    must: 'MUST',
    needs: ['dpop', 'task-tokens'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const first = expectIssued(await proven(suite, key));
      const token = textOf(first, 'task_token');
      const { task } = Object([first.body['authorization_details']].flat()[0]);
      const again = { token, detailMore: { task }, more: { subject_token_type: tokenType.accessToken } };
      expectRefused(await suite.exchange({ detail: 'dpop', ...again }), [refusal, 'invalid_request']);
      const stolen = await proven(suite, await suite.proofKey(), again, { accessToken: token });
      expectRefused(stolen, [refusal, 'invalid_request']);
      expectIssued(await proven(suite, key, again, { accessToken: token }));
    },
  },
  {
    id: 'D8.c',
    rule: 'an assertion that its issuer bound to a key is taken with a proof by that key alone',
    source: 'RFC 7800 section 3.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      const key = await suite.proofKey();
      const bound = () => suite.assertion({ claims: { cnf: { jkt: key.jkt } } });
      const either = [refusal, 'invalid_request'];
      expectRefused(await suite.exchange({ token: await bound() }), either);
      expectRefused(await proven(suite, await suite.proofKey(), { token: await bound() }), either);
      expectIssued(await proven(suite, key, { token: await bound() }));
    },
  },
  {
    id: 'D8.d',
    rule: 'an assertion that is bound in a way that the server does not know is refused',
    source: 'RFC 7800 section 3.1',
    must: 'MUST',
    needs: ['dpop'],
    run: async (suite) => {
      for (const cnf of [{ kid: 'conformance' }, {}]) {
        const answer = await suite.exchange({ token: await suite.assertion({ claims: { cnf } }) });
        expectRefused(answer, [refusal, 'invalid_request']);
      }
    },
  },
  {
    id: 'D9',
    rule: 'a resource server challenges by WWW-Authenticate: DPoP with error and algs',
    source: 'RFC 9449 section 7.1',
    must: 'MUST',
    needs: ['dpop', 'api'],
    run: async (suite) => {
      const headers = { authorization: `DPoP ${await suite.assertion()}` };
      const answer = await suite.send({ path: suite.profile.resource ?? '/', headers });
      check(answer, answer.status === 401, '401');
      const challenge = answer.headers['www-authenticate'] ?? '';
      check(
        answer,
        /^DPoP /.test(challenge) && /error="[a-z_]+"/.test(challenge),
        'a DPoP challenge with error',
      );
      check(answer, /algs="[^"]*ES256/.test(challenge), 'algs');
    },
  },
];

export const dpopUnseen = [
  {
    id: 'D3.c',
    why: 'that replicas share nonces needs the addresses of two; test/e2e/proofs.test.ts has them',
  },
  { id: 'D8.b', why: 'ath at the token endpoint: RFC 9449 asks for it only beside an Authorization header' },
] as const;
