import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { attestorOptions, outcome, serve, trusted } from '../../test/issuer.ts';
import { createTransmitter, transmitterOf } from './transmitter.ts';

const caep = 'https://schemas.openid.net/secevent/caep/event-type/';
const now = new Date('2026-11-23T12:00:00Z');
const seconds = now.getTime() / 1000;
const subject = 'system:serviceaccount:finance:reconciler';
const key = await generateKeyPair('RS256', { extractable: true });
const stranger = await generateKeyPair('RS256', { extractable: true });
const jwks = { keys: [{ ...(await exportJWK(key.publicKey)), kid: 'k1', use: 'sig', alg: 'RS256' }] };

const events: NonNullable<TrustedIssuer['events']> = {
  ...{ transmitter: 'https://issuer.test/ssf', audience: 'https://mayfly.test', algorithms: ['RS256'] },
  ...{ jwksUri: null, jwksFile: 'events.json', caFile: null, endsPerMinute: 10 },
};
const issuer = trusted({ claims: ['groups', 'tier'], events });
const readFile = async () => JSON.stringify(jwks);
const options = attestorOptions({ readFile });

const about = { format: 'iss_sub', iss: 'https://issuer.test', sub: subject };
const revoked = { [`${caep}session-revoked`]: { event_timestamp: seconds - 5 } };
const claims = {
  ...{ iss: events.transmitter, aud: events.audience, iat: seconds - 1, jti: 'event-1' },
  ...{ sub_id: about, events: revoked },
};

async function sign(
  payload: JWTPayload = claims,
  {
    header = {},
    by = key.privateKey,
  }: { header?: Record<string, unknown>; by?: Parameters<SignJWT['sign']>[0] } = {},
): Promise<string> {
  const protectedHeader = { alg: 'RS256', kid: 'k1', typ: 'secevent+jwt', ...header };
  return new SignJWT(payload).setProtectedHeader(protectedHeader).sign(by);
}

const verify = async (payload: JWTPayload, how: Parameters<typeof sign>[1] = {}) =>
  createTransmitter(issuer, options).verify(await sign(payload, how), now);
const refusal = (payload: JWTPayload, how: Parameters<typeof sign>[1] = {}) =>
  outcome(() => verify(payload, how));
const only = (type: string, event: object) => ({ ...claims, events: { [`${caep}${type}`]: event } });

test('a session that was revoked, by issuer and subject', async () => {
  expect(await verify(claims)).toEqual({
    id: expect.stringMatching(/^[0-9a-f]{64}$/),
    ...{ jti: 'event-1', type: `${caep}session-revoked`, effect: 'end', subject, claims: {} },
    at: new Date((seconds - 5) * 1000),
  });
});

test.each([
  ['the issuer’s own id', { format: 'opaque', id: subject }],
  ['the user of a session', { format: 'complex', user: about, session: { format: 'opaque', id: 's' } }],
])('a subject by %s', async (_, sub_id) => {
  expect((await verify({ ...claims, sub_id })).subject).toBe(subject);
});

test.each([
  ['seconds', seconds - 7, seconds - 7],
  ['milliseconds', (seconds - 7) * 1000, seconds - 7],
  ['nothing: then when it was issued', undefined, seconds - 1],
])('a time in %s', async (_, event_timestamp, at) => {
  const { at: when } = await verify(only('session-revoked', { event_timestamp }));
  expect(when.getTime()).toBe(at * 1000);
});

test.each([
  ['credential-change', { change_type: 'revoke' }, 'end'],
  ['credential-change', { change_type: 'delete' }, 'end'],
  ['credential-change', { change_type: 'update' }, 'none'],
  ['credential-change', { change_type: 'create' }, 'none'],
  ['token-claims-change', { claims: {} }, 'reevaluate'],
  ['assurance-level-change', {}, 'none'],
])('%s with %j: %s', async (type, event, effect) => {
  expect((await verify(only(type, event))).effect).toBe(effect);
});

test('new claims are kept as those of an assertion are; one that could not be kept is none', async () => {
  const changed = { groups: ['a'], tier: { nested: true }, role: 'admin', sub: 'another' };
  const { claims: kept } = await verify(only('token-claims-change', { claims: changed }));
  expect(kept).toEqual({ groups: ['a'], tier: null });
});

test('a verification of the stream, and types that mean nothing here, name no subject', async () => {
  const type = 'https://schemas.openid.net/secevent/ssf/event-type/verification';
  const verification = {
    ...claims,
    sub_id: { format: 'opaque', id: 'stream-1' },
    events: { [type]: { state: 'x' } },
  };
  expect(await verify(verification)).toMatchObject({ type, effect: 'none', subject: null });
});

test('one of several receivers', async () => {
  expect(await refusal({ ...claims, aud: ['https://other.test', events.audience] })).toBe('accepted');
});

test.each([
  ['another receiver', { aud: 'https://other.test' }, 'event_audience_wrong'],
  ['another transmitter', { iss: 'https://issuer.test' }, 'event_issuer_unknown'],
  [
    'a subject of another issuer',
    { sub_id: { ...about, iss: 'https://other.test' } },
    'event_subject_foreign',
  ],
  [
    'a subject that its issuer may not speak for',
    { sub_id: { ...about, sub: 'system:serviceaccount:hr:a' } },
    'event_subject_foreign',
  ],
  ['a subject by e-mail', { sub_id: { format: 'email', email: 'a@b.example' } }, 'event_malformed'],
  ['no subject', { sub_id: undefined }, 'event_malformed'],
  ['`sub`, as a token of access has it', { sub: subject }, 'event_malformed'],
  ['`exp`, as a token of access has it', { exp: seconds + 60 }, 'event_malformed'],
  ['no jti', { jti: undefined }, 'event_malformed'],
  ['a jti without end', { jti: 'x'.repeat(1025) }, 'event_malformed'],
  ['a jti that no table holds', { jti: 'a\u0000b' }, 'event_malformed'],
  ['no iat', { iat: undefined }, 'event_malformed'],
  ['an iat of a week ago', { iat: seconds - 7 * 86_400 - 1 }, 'event_malformed'],
  ['an iat in the future', { iat: seconds + 31 }, 'event_malformed'],
  ['two events', { events: { ...revoked, [`${caep}other`]: {} } }, 'event_malformed'],
  ['no event', { events: {} }, 'event_malformed'],
  ['an event that is none', { events: { [`${caep}session-revoked`]: 'x' } }, 'event_malformed'],
  [
    'an event of tomorrow',
    { events: { [`${caep}session-revoked`]: { event_timestamp: seconds + 31 } } },
    'event_malformed',
  ],
  ['an unknown change', { events: { [`${caep}credential-change`]: {} } }, 'event_malformed'],
])('%s is refused', async (_, change, reason) => {
  expect(await refusal({ ...claims, ...change } as JWTPayload)).toMatch(new RegExp(`^${reason}: `));
});

test.each([
  ['an assertion', { typ: 'JWT' }, 'event_malformed'],
  ['no type', { typ: undefined }, 'event_malformed'],
  ['a shared secret', { alg: 'HS256' }, 'event_key_unknown'],
  ['an unknown key', { kid: 'k2' }, 'event_key_unknown'],
])('%s is refused', async (_, header, reason) => {
  const by = 'alg' in header ? new Uint8Array(32) : key.privateKey;
  expect(await refusal(claims, { header, by })).toMatch(new RegExp(`^${reason}: `));
});

test('a signature of somebody else is refused, and one without any', async () => {
  expect(await refusal(claims, { by: stranger.privateKey })).toMatch(/^event_not_authentic/);
  const [head, body] = (await sign()).split('.');
  const none = `${head}.${body}.AAAA`;
  expect(await outcome(() => createTransmitter(issuer, options).verify(none, now))).toMatch(
    /^event_not_authentic/,
  );
});

test('what is no token at all is refused before anything is asked', async () => {
  for (const set of ['', 'x', 'a.b.c', '{}'])
    expect(await outcome(() => transmitterOf(set, options.token))).toMatch(/^event_malformed/);
  expect(transmitterOf(await sign(), options.token)).toBe(events.transmitter);
});

test('keys by the SSF configuration of the transmitter, which must be its own', async () => {
  let names = '';
  const server = await serve((request, response) => {
    const body = request.url === '/keys' ? jwks : { issuer: names, jwks_uri: `${server.origin}/keys` };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  });
  try {
    const transmitter = `${server.origin}/tenant`;
    const found = trusted({ ...issuer, events: { ...events, transmitter, jwksFile: null } });
    const { fetch, ...rest } = attestorOptions({ readFile });
    const reached = {
      ...rest,
      fetch: {
        ...fetch,
        allowLoopbackOrigins: [server.origin],
        resolve: async () => [{ address: '127.0.0.1', family: 4 as const }],
      },
    };
    const set = await sign({ ...claims, iss: transmitter });
    const ask = () => outcome(() => createTransmitter(found, reached).verify(set, now));
    names = server.origin;
    expect(await ask()).toMatch(/^issuer_unavailable/);
    names = transmitter;
    expect(await ask()).toBe('accepted');
    expect(server.asked.slice(-2)).toEqual(['/.well-known/ssf-configuration/tenant', '/keys']);
  } finally {
    await server.close();
  }
});
