import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Mayfly, type Transport } from '@mayfly/sdk';
import * as oauth from 'oauth4webapi';
import { type ProofMaker, proofMaker } from './dpop.ts';
import { startReplica } from './replica.ts';
import { type Answer, accessTokenType, form, opening, startWorld, type World } from './world.ts';

let world: World;
let client: ProofMaker;
let replica: Awaited<ReturnType<typeof startReplica>>;

/** The tool demands a DPoP proof; the rest is as in examples/. */
const edit = (text: string) =>
  text.replace('      effects: [write]\n', '      effects: [write]\n      proof: dpop\n');
const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

beforeAll(async () => {
  world = await startWorld({ edit });
  replica = await startReplica(world);
  client = await proofMaker();
}, 60_000);

afterAll(async () => {
  await replica.stop();
  await world.stop();
});

const tokenUrl = () => `${world.url}/token`;
const proofForToken = (claims: object = {}) => client.proof({ url: tokenUrl(), claims });

async function posting(headers: Record<string, string>, ref: string = randomUUID()): Promise<Answer> {
  return world.exchange(form(await world.workload(), { ...report, ...opening(ref) }), headers);
}

const replayKeys = async () =>
  (await world.sql<{ n: number }>('select count(*)::int as n from replay'))[0]?.n;

describe('a tool token', () => {
  test('is bound to the key of the proof, says so at introspection, and is no bearer token', async () => {
    const { status, body } = await posting({ dpop: await proofForToken() });
    expect([status, body.token_type]).toEqual([200, 'DPoP']);
    const as = { issuer: world.url, jwks_uri: `${world.url}/jwks` };
    const request = async (scheme: string, headers: object = {}) =>
      oauth.validateJwtAccessToken(
        as,
        new Request('https://reports.example/mcp', {
          headers: { authorization: `${scheme} ${body.access_token}`, ...headers },
        }),
        'https://reports.example/mcp',
        { [oauth.allowInsecureRequests]: true },
      );
    const url = 'https://reports.example/mcp';
    const dpop = await client.proof({ url, method: 'GET', accessToken: body.access_token });
    expect(await request('DPoP', { dpop })).toMatchObject({ cnf: { jkt: client.jkt } });
    await expect(request('Bearer')).rejects.toThrow();
    const introspected = await fetch(`${world.url}/introspect`, {
      method: 'POST',
      body: new URLSearchParams({ token: body.access_token }),
      headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
    });
    expect(await introspected.json()).toMatchObject({
      active: true,
      token_type: 'DPoP',
      cnf: { jkt: client.jkt },
    });
  });

  test('is not given without the proof that its template demands; nothing is used up', async () => {
    const before = await replayKeys();
    const { status, body } = await posting({});
    expect([status, body.error, body.reason]).toEqual([400, 'invalid_dpop_proof', 'proof_required']);
    expect(await replayKeys()).toBe(before);
  });
});

test('of twenty uses of one proof over two replicas, one wins', async () => {
  const dpop = await proofForToken();
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const body = new URLSearchParams(form(await world.workload(), { ...report, ...opening(randomUUID()) }));
      const url = index % 2 === 0 ? world.url : replica.url;
      const answer = await fetch(`${url}/token`, { method: 'POST', body, headers: { dpop } });
      return ((await answer.json()) as { reason?: string }).reason ?? 'delivered';
    }),
  );
  expect(answers.sort()).toEqual(['delivered', ...Array(19).fill('dpop_replayed')]);
});

test('of twenty uses of one once-only assertion over two replicas, one wins', async () => {
  const assertion = await world.workload();
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const body = new URLSearchParams(form(assertion, opening(randomUUID())));
      const url = index % 2 === 0 ? world.url : replica.url;
      const answer = await fetch(`${url}/token`, { method: 'POST', body });
      return ((await answer.json()) as { reason?: string }).reason ?? 'delivered';
    }),
  );
  expect(answers.sort()).toEqual([...Array(19).fill('assertion_replayed'), 'delivered']);
});

test('a nonce of one replica is known to the other, and comes with every answer to a proof', async () => {
  const first = await posting({ dpop: await proofForToken() });
  const nonce = first.headers.get('dpop-nonce') ?? '';
  const body = new URLSearchParams(form(await world.workload(), { ...report, ...opening(randomUUID()) }));
  const dpop = await proofForToken({ nonce, iat: 5 });
  const answer = await fetch(`${replica.url}/token`, { method: 'POST', body, headers: { dpop } });
  expect([answer.status, answer.headers.get('dpop-nonce')?.length]).toEqual([200, nonce.length]);
});

describe('a wrong proof is refused, audited once, and uses nothing up', () => {
  test.each<readonly [string, () => Promise<string>, string]>([
    [
      'for the host that the request names',
      () => client.proof({ url: 'http://evil.test/token' }),
      'dpop_invalid',
    ],
    ['for another method', () => client.proof({ url: tokenUrl(), method: 'GET' }), 'dpop_invalid'],
    ['too old', () => proofForToken({ iat: 5 }), 'dpop_invalid'],
    ['with a foreign nonce', () => proofForToken({ nonce: 'foreign' }), 'dpop_nonce_needed'],
    ['sent twice', async () => `${await proofForToken()}, ${await proofForToken()}`, 'dpop_invalid'],
    ['of another kind', () => world.workload(), 'dpop_invalid'],
  ])('%s', async (_, make, reason) => {
    const [keys, [before]] = [await replayKeys(), await audited(reason)];
    const answer = await posting({ dpop: await make() });
    expect([answer.status, answer.body.reason]).toEqual([400, reason]);
    expect(answer.headers.get('dpop-nonce')).not.toBeNull();
    expect(await replayKeys()).toBe(keys);
    expect((await audited(reason))[0]?.n).toBe((before?.n ?? 0) + 1);
  });
});

const audited = (reason: string) =>
  world.sql<{ n: number }>(
    `select count(*)::int as n from mayfly_audit_v1 where type = 'exchange.refused' and body->'body'->>'reason' = $1`,
    [reason],
  );

describe('a task token', () => {
  test('of a task opened with a proof is worth nothing without that key', async () => {
    const opened = await posting({ dpop: await proofForToken() });
    const token: string = opened.body.task_token;
    const use = (headers: Record<string, string>) =>
      world.exchange(form(token, report, { subject_token_type: accessTokenType }), headers);
    expect((await use({})).body.reason).toBe('proof_required');
    const thief = await proofMaker();
    expect((await use({ dpop: await thief.proof({ url: tokenUrl() }) })).body.reason).toBe('proof_required');
    expect((await use({ dpop: await proofForToken() })).status).toBe(200);
  });

  test('under /v1 needs the scheme DPoP, a proof for this very route, and the digest of the token', async () => {
    const opened = await posting({ dpop: await proofForToken() });
    const accessToken: string = opened.body.task_token;
    const path = `/v1/tasks/${opened.body.issuance.task}/heartbeat`;
    const call = (scheme: string, dpop?: string, to = path) =>
      world.api('POST', to, {
        headers: { authorization: `${scheme} ${accessToken}`, ...(dpop === undefined ? {} : { dpop }) },
      });
    const url = `${world.url}${path}`;
    const good = await client.proof({ url, accessToken });
    const answers = [
      await call('Bearer'),
      await call('Bearer', await client.proof({ url, accessToken })),
      await call('DPoP'),
      await call('DPoP', await client.proof({ url })),
      await call('DPoP', await client.proof({ url: tokenUrl(), accessToken })),
      await call('DPoP', good),
      await call('DPoP', good),
    ];
    expect(answers.map(({ status, body }) => `${status} ${body.reason ?? body.state}`)).toEqual([
      '401 proof_required',
      '401 proof_required',
      '401 proof_required',
      '401 dpop_invalid',
      '401 dpop_invalid',
      '200 open',
      '401 dpop_replayed',
    ]);
    expect(answers[2]?.headers.get('www-authenticate')).toMatch(
      /^DPoP .*error="invalid_dpop_proof".*algs="ES256 /,
    );
    // The fresh token of a heartbeat is bound to the same key.
    const fresh: string = answers[5]?.body.taskToken;
    const again = await world.api('POST', path, { bearer: fresh });
    expect(again.body.reason).toBe('proof_required');
  });

  test('of a task opened at /v1 with a proof is bound as well', async () => {
    const assertion = await world.workload();
    const url = `${world.url}/v1/tasks`;
    const dpop = await client.proof({ url, accessToken: assertion });
    const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
    const opened = await world.api('POST', '/v1/tasks', {
      json,
      headers: { authorization: `DPoP ${assertion}`, dpop },
    });
    expect(opened.status).toBe(201);
    const used = await world.exchange(
      form(opened.body.taskToken, report, { subject_token_type: accessTokenType }),
    );
    expect(used.body.reason).toBe('proof_required');
  });
});

test('where nonces are required, oauth4webapi asks for one and goes on', async () => {
  const strict = await startReplica(world, { dpopNonce: 'required' });
  const issuer = new URL(world.url);
  const options = { [oauth.allowInsecureRequests]: true, algorithm: 'oauth2' } as const;
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
  expect(as.dpop_signing_alg_values_supported).toContain('ES256');
  const toReplica = (url: string, init: RequestInit) => fetch(url.replace(world.url, strict.url), init);
  const keys = await oauth.generateKeyPair('ES256');
  const handle = oauth.DPoP({}, keys);
  const ask = async () => {
    const { grant_type: grantType, ...parameters } = form(await world.workload(), {
      ...report,
      ...opening(randomUUID()),
    });
    const answer = await oauth.genericTokenEndpointRequest(
      as,
      { client_id: 'any' },
      oauth.None(),
      grantType ?? '',
      new URLSearchParams(parameters),
      { ...options, DPoP: handle, [oauth.customFetch]: toReplica as typeof fetch },
    );
    return oauth.processGenericTokenEndpointResponse(as, { client_id: 'any' }, answer);
  };
  try {
    const asked = await ask().catch((error: unknown) => error);
    expect(oauth.isDPoPNonceError(asked)).toBe(true);
    expect((await ask()).token_type).toBe('dpop');
  } finally {
    await strict.stop();
  }
});

test('the sdk proves its key with everything, a nonce asked for included, and its tool tokens are bound', async () => {
  const strict = await startReplica(world, { dpopNonce: 'required' });
  // To the replica, under the one issuer that proofs are made for.
  const transport: Transport = {
    send: async ({ method, url, headers, body }) => {
      const to = String(url).replace(world.url, strict.url);
      const answer = await fetch(to, { method, headers, ...(body === undefined ? {} : { body }) });
      return {
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        body: await answer.text(),
      };
    },
  };
  const mayfly = new Mayfly({
    ...{ server: world.url, env: {}, transport, proof: 'dpop' },
    assertion: () => world.workload(),
  });
  try {
    const state = await mayfly.run(
      { template: 'invoice-reconcile', params: { quarter: '2026q3' } },
      async (task) => {
        const url = 'https://reports.example/2026q3';
        const headers = await task.headers('report.post', url, { method: 'POST' });
        const as = { issuer: world.url, jwks_uri: `${world.url}/jwks` };
        const request = new Request(url, { method: 'POST', headers });
        return oauth.validateJwtAccessToken(as, request, 'https://reports.example/mcp', {
          [oauth.allowInsecureRequests]: true,
        });
      },
    );
    expect(state.cnf?.['jkt']).toMatch(/^[A-Za-z0-9_-]{43}$/);
  } finally {
    await strict.stop();
  }
});
