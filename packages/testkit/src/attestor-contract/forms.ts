import { createHmac } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { part } from '../signer.ts';
import type { AttestorScene } from './scene.ts';

type Make = (more?: Partial<TrustedIssuer>) => AttestorScene;

const invalid = 'assertion_invalid';

/** What a token must look like before anything in it is believed. */
export function describeForms(make: Make): void {
  describeTypes(make);
  describeHeaders(make);
  describeSpellings(make);
}

function describeTypes(make: Make): void {
  test.each([
    ...['at+jwt', 'application/at+jwt', 'dpop+jwt', 'mayfly-task+jwt', 'secevent+jwt', 'logout+jwt'],
    ...['txntoken+jwt', 'token-introspection+jwt', 'oauth-client-attestation+jwt', 'JWE', '', 7, null],
  ])('a token of another type is no assertion: %j', async (typ) => {
    const scene = make();
    expect(await scene.outcome(scene.token({ header: { typ } }))).toBe(invalid);
  });

  test('typ JWT is taken in any case, and none at all', async () => {
    const scene = make({ replay: 'reuse' });
    for (const typ of ['JWT', 'jwt', undefined])
      expect(await scene.outcome(scene.token({ header: { typ } }))).toBe('accepted');
  });
}

function describeHeaders(make: Make): void {
  test.each(['none', 'NONE', 'HS256', 'HS384', 'HS512', 'ES256K', 'RS1', 'dir', '', null, undefined])(
    'refuses the algorithm %j, also where the document lists it',
    async (alg) => {
      const scene = make({ algorithms: ['ES256', 'RS256', String(alg)] });
      expect(await scene.outcome(scene.token({ header: { alg } }))).toBe(invalid);
    },
  );

  test('refuses an algorithm that the document does not list', async () => {
    const scene = make({ algorithms: ['RS256'] });
    expect(await scene.outcome(scene.token({ key: scene.es }))).toBe(invalid);
    expect(await make({ algorithms: ['ES256'] }).outcome(scene.token({ key: scene.es }))).toBe('accepted');
  });

  test('refuses HS256 under a public key as its secret', async () => {
    const scene = make({ algorithms: ['HS256', 'RS256', 'ES256'] });
    const [, body] = scene.token().split('.');
    const signed = `${part({ alg: 'HS256', kid: scene.key.kid })}.${body}`;
    for (const secret of [JSON.stringify(scene.key.jwk), String(scene.key.jwk['n'] ?? scene.key.jwk['x'])]) {
      const mac = createHmac('sha256', secret).update(signed).digest('base64url');
      expect(await scene.outcome(`${signed}.${mac}`)).toBe(invalid);
    }
  });

  test.each(['jku', 'x5u', 'jwk', 'x5c', 'crit', 'b64', 'zip'])(
    'refuses the header member %s',
    async (name) => {
      const scene = make();
      for (const value of ['https://evil.example/keys', scene.es.jwk, ['exp'], false])
        expect(await scene.outcome(scene.token({ header: { [name]: value } }))).toBe(invalid);
    },
  );
}

function describeSpellings(make: Make): void {
  test('refuses every other serialisation of the same signature', async () => {
    const scene = make();
    const [head = '', body = '', signature = ''] = scene.token().split('.');
    const protectedHeader = { protected: head, signature };
    for (const other of [
      JSON.stringify({ payload: body, ...protectedHeader }),
      JSON.stringify({ payload: body, signatures: [protectedHeader] }),
      `${head}.${body}.${body}.${body}.${signature}`,
      `${head}.${body}.${signature}.${signature}`,
      `${head}.${body}.`,
      `${head}.${body}`,
      '',
    ])
      expect(await scene.outcome(other)).toBe(invalid);
  });

  test('a second spelling of the same bytes is refused, so that a replay key has one token', async () => {
    const scene = make();
    for (const key of [scene.key, scene.es]) {
      const token = scene.token({ key });
      for (const other of [`${token}=`, `${token}==`, ` ${token}`, `${token}\n`, loosened(token)])
        expect(await scene.outcome(other)).toBe(invalid);
    }
  });

  test('(r, n - s) is the same assertion', async () => {
    const scene = make({ replay: 'reuse' });
    for (const payload of [{}, { jti: undefined }, { jti: 'j1' }]) {
      const token = scene.token({ key: scene.es, payload });
      const twin = mirrored(token);
      expect(twin).not.toBe(token);
      expect((await scene.attest(twin)).assertionId).toBe((await scene.attest(token)).assertionId);
    }
  });

  test('an assertion is known by its jti, whatever else it says, and without one by its bytes', async () => {
    const scene = make({ replay: 'reuse' });
    const idOf = async (payload: Readonly<Record<string, unknown>>) =>
      (await scene.attest(scene.token({ payload }))).assertionId;
    expect(await idOf({ jti: 'j1', note: 'x' })).toBe(await idOf({ jti: 'j1' }));
    expect(await idOf({ jti: 'j2' })).not.toBe(await idOf({ jti: 'j1' }));
    expect(await idOf({ jti: undefined, note: 'x' })).not.toBe(await idOf({ jti: undefined }));
  });

  test.each([
    ['a duplicate claim', '"sub":"system:admin"'],
    ['a duplicate claim, escaped', '"\\u0073ub":"system:admin"'],
    ['a duplicate claim of nobody', '"note":1,"note":2'],
    ['a time beyond every number', '"nbf":1e400'],
    ['NUL', '"note":"\\u0000"'],
    ['a lone surrogate', '"note":"\\ud800"'],
    ['too many levels', `"note":${'['.repeat(9)}1${']'.repeat(9)}`],
  ])('refuses %s', async (_, more) => {
    const scene = make();
    const text = JSON.stringify(scene.subject.golden.payload);
    expect(await scene.outcome(scene.token({ payload: text }))).toBe('accepted');
    expect(await scene.outcome(scene.token({ payload: `${text.slice(0, -1)},${more}}` }))).toBe(invalid);
  });
}

/** The bits that base64url leaves over in the last character, set. */
function loosened(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const loose = token.slice(0, -1) + alphabet.charAt(alphabet.indexOf(token.slice(-1)) + 1);
  const bytes = (text: string) => Buffer.from(text.split('.')[2] ?? '', 'base64url');
  expect(bytes(loose)).toEqual(bytes(token));
  return loose;
}

/** n of P-256. */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

function mirrored(token: string): string {
  const raw = Buffer.from(token.split('.')[2] ?? '', 'base64url');
  const s = BigInt(`0x${raw.subarray(32).toString('hex')}`);
  const other = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex');
  return token.replace(/[^.]+$/, part(Buffer.concat([raw.subarray(0, 32), other])));
}
