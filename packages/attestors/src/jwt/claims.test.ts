import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { compact, makeKey, part, pattern } from '@mayfly/testkit';
import { attestorOptions, outcome, trusted } from '../../test/issuer.ts';
import { createAttestor } from '../create-attestor.ts';

const now = new Date('2026-11-23T12:00:00Z');
const seconds = now.getTime() / 1000;
const skewSeconds = 30;
const key = makeKey('ES256', 'k');
const subject = 'system:serviceaccount:finance:reconciler';
const claims = {
  iss: 'https://issuer.test',
  aud: 'https://mayfly.test',
  sub: subject,
  iat: seconds - 10,
  exp: seconds + 290,
};

const options = attestorOptions({ skewSeconds, readFile: async () => JSON.stringify({ keys: [key.jwk] }) });

interface Attesting {
  readonly issuer?: Partial<TrustedIssuer>;
  readonly at?: Date;
}

function attest(payload: unknown, { issuer = {}, at = now }: Attesting = {}) {
  const attestor = createAttestor(trusted(issuer), options);
  const token = compact({ alg: 'ES256', kid: 'k' }, payload, key);
  return attestor.attest(token, { now: at, signal: new AbortController().signal });
}

const refusal = (payload: unknown, attesting?: Attesting) => outcome(() => attest(payload, attesting));
const without = (name: string) => Object.fromEntries(Object.entries(claims).filter(([one]) => one !== name));

test.each([
  'https://evil.test',
  'https://issuer.test/',
  'HTTPS://issuer.test',
  '',
  7,
  ['https://issuer.test'],
  null,
])('refuses another issuer: %j', async (iss) => {
  expect(await refusal({ ...claims, iss })).toBe('assertion_invalid: iss');
});

test.each([
  ['another', 'https://other.test'],
  ['the token endpoint', 'https://mayfly.test/token'],
  ['a trailing slash', 'https://mayfly.test/'],
  ['a prefix', 'https://mayfly'],
  ['upper case', 'https://MAYFLY.test'],
  ['empty', ''],
  ['an empty list', []],
  ['null', null],
  ['a number', 7],
  ['an object', { 0: 'https://mayfly.test' }],
  ['a list of another', ['https://other.test']],
  ['ours and another', ['https://mayfly.test', 'https://other.test']],
  ['another and ours', ['https://other.test', 'https://mayfly.test']],
  ['ours twice', ['https://mayfly.test', 'https://mayfly.test']],
  ['a list in a list', [['https://mayfly.test']]],
])('refuses an assertion for another audience: %s', async (_, aud) => {
  expect(await refusal({ ...claims, aud })).toBe('assertion_invalid: aud');
});

test('refuses an assertion without an audience', async () => {
  expect(await refusal(without('aud'))).toBe('assertion_invalid: aud');
});

test('takes a list of one audience, as Kubernetes writes it', async () => {
  expect(await refusal({ ...claims, aud: ['https://mayfly.test'] })).toBe('accepted');
});

test.each(['exp', 'iat'])('refuses an assertion without %s', async (name) => {
  expect(await refusal(without(name))).toBe('assertion_invalid: exp and iat are required');
});

test.each([
  String(seconds + 60),
  seconds + 60.5,
  (seconds + 60) * 1000,
  0,
  -1,
  null,
  true,
  [seconds + 60],
  { value: 1 },
])('refuses times that are no whole seconds: %j', async (time) => {
  for (const name of ['exp', 'iat'])
    expect(await refusal({ ...claims, [name]: time })).toBe('assertion_invalid: exp and iat are required');
  expect(await refusal({ ...claims, nbf: time })).toBe('assertion_invalid: nbf');
});

test.each(['exp', 'iat', 'nbf'])('refuses %s beyond every number', async (name) => {
  const text = JSON.stringify({ ...claims, [name]: 'TIME' }).replace('"TIME"', '1e400');
  expect(await refusal(text)).toBe('assertion_invalid: number out of range');
});

test('refuses a life that is not positive', async () => {
  expect(await refusal({ ...claims, iat: seconds, exp: seconds })).toBe('assertion_invalid: lifetime');
  expect(await refusal({ ...claims, iat: seconds, exp: seconds - 1 })).toBe('assertion_invalid: lifetime');
  expect(await refusal({ ...claims, iat: seconds, exp: seconds + 1 })).toBe('accepted');
});

test('refuses a life above the maximum of the issuer, by one second', async () => {
  const issuer = { maxLifetimeSeconds: 300 };
  expect(await refusal({ ...claims, iat: seconds, exp: seconds + 300 }, { issuer })).toBe('accepted');
  expect(await refusal({ ...claims, iat: seconds, exp: seconds + 301 }, { issuer })).toBe(
    'assertion_invalid: lifetime',
  );
});

test('an expired assertion is taken within the skew and refused from its last second on', async () => {
  const at = (offset: number) => new Date((claims.exp + offset) * 1000);
  expect(await refusal(claims, { at: at(0) })).toBe('accepted');
  expect(await refusal(claims, { at: new Date(at(skewSeconds).getTime() - 1) })).toBe('accepted');
  expect(await refusal(claims, { at: at(skewSeconds) })).toBe('assertion_invalid: expired');
  expect(await refusal(claims, { at: at(86_400) })).toBe('assertion_invalid: expired');
});

test.each(['iat', 'nbf'])(
  '%s in the future is taken to the skew and refused one second beyond',
  async (name) => {
    const at = (offset: number) => ({ ...claims, [name]: seconds + offset });
    expect(await refusal(at(0))).toBe('accepted');
    expect(await refusal(at(skewSeconds))).toBe('accepted');
    expect(await refusal(at(skewSeconds + 1))).toBe('assertion_invalid: not yet valid');
  },
);

test('nbf may be missing or past', async () => {
  expect(await refusal({ ...claims, nbf: 1 })).toBe('accepted');
  expect(await refusal(claims)).toBe('accepted');
});

test.each(['', 7, null, [subject], { sub: subject }, `system:serviceaccount:finance:${'x'.repeat(1024)}`])(
  'refuses a subject that is none: %.40j',
  async (sub) => {
    expect(await refusal({ ...claims, sub })).toBe('assertion_invalid: sub');
  },
);

test('refuses an assertion without a subject', async () => {
  expect(await refusal(without('sub'))).toBe('assertion_invalid: sub');
});

test('takes a subject of 1024 characters', async () => {
  const sub = `system:serviceaccount:finance:${'x'.repeat(1024)}`.slice(0, 1024);
  expect(await refusal({ ...claims, sub })).toBe('accepted');
});

test.each([
  'system:serviceaccount:hr:reconciler',
  'system:serviceaccount:finance:a:b',
  'system:serviceaccount:finance:a/b',
  'xsystem:serviceaccount:finance:a',
  'SYSTEM:serviceaccount:finance:a',
  'system:serviceaccount:finance',
])('refuses a subject outside the namespaces of its issuer: %s', async (sub) => {
  expect(await refusal({ ...claims, sub })).toBe(
    'assertion_invalid: subject outside the namespaces of its issuer',
  );
});

test('an issuer without namespaces speaks for nobody', async () => {
  expect(await refusal(claims, { issuer: { subjects: [] } })).toBe(
    'assertion_invalid: subject outside the namespaces of its issuer',
  );
  expect(await refusal(claims, { issuer: { subjects: [pattern('other'), pattern(subject)] } })).toBe(
    'accepted',
  );
});

test('keeps the claims that the issuer document names, and always sub', async () => {
  const payload = { ...claims, groups: ['a', 'b'], ref: 'main', email: 'x@example.test', note: 'y' };
  const issuer = { claims: ['groups', 'ref', 'missing'] };
  expect((await attest(payload, { issuer })).claims).toEqual({
    sub: subject,
    groups: ['a', 'b'],
    ref: 'main',
  });
  expect((await attest(payload)).claims).toEqual({ sub: subject });
});

test('a claim named sub is the subject itself', async () => {
  expect((await attest(claims, { issuer: { claims: ['sub'] } })).claims).toEqual({ sub: subject });
});

test.each([
  ['text', 'x', 'x'],
  ['empty text', '', ''],
  ['a whole number', 42, '42'],
  ['true', true, 'true'],
  ['false', false, 'false'],
  ['a list', ['a', 1, true], ['a', '1', 'true']],
  ['an empty list', [], []],
  ['1024 characters', 'x'.repeat(1024), 'x'.repeat(1024)],
  ['128 elements', Array.from({ length: 128 }, () => 'x'), Array.from({ length: 128 }, () => 'x')],
])('keeps a claim of %s', async (_, given, kept) => {
  expect((await attest({ ...claims, c: given }, { issuer: { claims: ['c'] } })).claims['c']).toEqual(kept);
});

test.each([
  ['null', null],
  ['an object', { a: 'x' }],
  ['a list with an object', ['x', {}]],
  ['a list with null', ['x', null]],
  ['a list in a list', [['x']]],
  ['1025 characters', 'x'.repeat(1025)],
  ['an element of 1025 characters', ['x', 'x'.repeat(1025)]],
  ['129 elements', Array.from({ length: 129 }, () => 'x')],
  ['a fraction', 1.5],
])('drops a claim of %s whole', async (_, given) => {
  expect((await attest({ ...claims, c: given }, { issuer: { claims: ['c'] } })).claims).toEqual({
    sub: subject,
  });
});

test('two ids beyond 2^53 never become the same text', async () => {
  const kept = async (id: string) => {
    const text = JSON.stringify({ ...claims, id: 'ID' }).replace('"ID"', id);
    return (await attest(text, { issuer: { claims: ['id'] } })).claims['id'];
  };
  expect(await kept('9007199254740991')).toBe('9007199254740991');
  expect(await kept('9007199254740992')).toBeUndefined();
  expect(await kept('9007199254740993')).toBeUndefined();
});

test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
  'a claim named %s is a claim like any other, and absent when it is absent',
  async (name) => {
    const issuer = { claims: [name] };
    const text = `${JSON.stringify(claims).slice(0, -1)},"${name}":"x"}`;
    const present = await attest(text, { issuer });
    expect(Object.entries(present.claims)).toEqual([
      ['sub', subject],
      [name, 'x'],
    ]);
    expect(Object.getPrototypeOf(present.claims)).toBe(Object.prototype);
    expect(Object.entries((await attest(claims, { issuer })).claims)).toEqual([['sub', subject]]);
  },
);

test('replay once needs a jti, and says that the request is at fault', async () => {
  const issuer = { replay: 'once' } as const;
  expect(await refusal(claims, { issuer })).toBe('malformed_request: replay: once needs a jti');
  expect(await refusal({ ...claims, jti: 'j1' }, { issuer })).toBe('accepted');
});

test.each(['', 7, null, ['j'], 'x'.repeat(1025)])('refuses a jti that is none: %.40j', async (jti) => {
  expect(await refusal({ ...claims, jti })).toBe('assertion_invalid: jti');
});

const idOf = async (payload: unknown, issuer: Partial<TrustedIssuer> = {}) =>
  (await attest(payload, { issuer })).assertionId;

test('the assertion id is that of (iss, jti), whatever else the token says', async () => {
  const first = await idOf({ ...claims, jti: 'j1' });
  expect(await idOf({ ...claims, jti: 'j1', exp: claims.exp - 1, note: 'x' })).toBe(first);
  expect(await idOf({ ...claims, jti: 'j2' })).not.toBe(first);
  const other = { issuer: 'https://other.test' };
  expect(await idOf({ ...claims, iss: 'https://other.test', jti: 'j1' }, other)).not.toBe(first);
});

test('issuer and jti do not run together', async () => {
  const at = (iss: string, jti: string) => idOf({ ...claims, iss, jti }, { issuer: iss });
  expect(await at('https://a.test/x', 'y')).not.toBe(await at('https://a.test/', 'xy'));
  expect(await at('https://a.test","b', 'c')).not.toBe(await at('https://a.test', 'b","c'));
});

test('without a jti the id is that of the signed bytes', async () => {
  expect(await idOf(claims)).toBe(await idOf(claims));
  expect(await idOf({ ...claims, note: 'x' })).not.toBe(await idOf(claims));
  expect(await idOf({ ...claims, note: 'x' })).not.toBe(await idOf({ ...claims, note: 'y' }));
});

test('ECDSA malleability: (r, n - s) verifies and is the same assertion', async () => {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const attestor = createAttestor(trusted(), options);
  const context = { now, signal: new AbortController().signal };
  for (const payload of [claims, { ...claims, jti: 'j1' }]) {
    const token = compact({ alg: 'ES256', kid: 'k' }, payload, key);
    const raw = Buffer.from(token.split('.')[2] ?? '', 'base64url');
    const s = BigInt(`0x${raw.subarray(32).toString('hex')}`);
    const mirrored = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex');
    const twin = token.replace(/[^.]+$/, part(Buffer.concat([raw.subarray(0, 32), mirrored])));
    expect(twin).not.toBe(token);
    const [first, second] = [await attestor.attest(token, context), await attestor.attest(twin, context)];
    expect(second.assertionId).toBe(first.assertionId);
  }
});
