import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { makeKey } from '../signer.ts';
import type { AttestorScene } from './scene.ts';

type Make = (more?: Partial<TrustedIssuer>) => AttestorScene;

const invalid = 'assertion_invalid';
const down = 'issuer_unavailable (none)';

/** Only the issuer's own keys, asked for no oftener than need be; none to be had is a fault, never an answer. */
export function describeKeys(make: Make): void {
  test('the key of another issuer proves nothing, whatever kid it claims', async () => {
    const scene = make();
    const other = makeKey('ES256', scene.es.kid);
    expect(await scene.outcome(scene.token({ key: other }))).toBe(invalid);
    expect(await scene.outcome(scene.token({ key: makeKey('ES256', 'unknown') }))).toBe(invalid);
  });

  test('a token changed after it was signed is refused', async () => {
    const scene = make();
    const [head, , signature] = scene.token().split('.');
    const [, body] = scene.token({ payload: { note: 'changed' } }).split('.');
    expect(await scene.outcome(`${head}.${body}.${signature}`)).toBe(invalid);
  });

  test('a forged flood reads no key', async () => {
    const scene = make();
    for (const payload of [{ aud: 'x' }, { exp: 1 }, { sub: 'nobody' }])
      await scene.outcome(scene.token({ payload }));
    expect(scene.reads).toBe(0);
  });

  test('an unknown kid reads the keys again at most once a pause', async () => {
    const scene = make({ replay: 'reuse' });
    const fresh = makeKey('ES256', 'fresh');
    const shown = (after: number) => scene.outcome(scene.token({ key: fresh }), after);
    expect([await shown(0), scene.reads]).toEqual([invalid, 1]);
    scene.published = [scene.publish(scene.es), scene.publish(fresh)];
    expect([await shown(1), await shown(29), scene.reads]).toEqual([invalid, invalid, 1]);
    expect([await shown(30), scene.reads]).toEqual(['accepted', 2]);
  });

  test('a withdrawn key is gone when the keys are read again', async () => {
    const scene = make({ replay: 'reuse' });
    expect(await scene.outcome(scene.token())).toBe('accepted');
    scene.published = [];
    expect(await scene.outcome(scene.token(), 60)).toBe(invalid);
  });

  test('two keys of one kid make the set useless', async () => {
    const scene = make();
    scene.published = [scene.publish(scene.key), scene.publish(makeKey('ES256', scene.key.kid))];
    expect(await scene.outcome(scene.token())).toBe(down);
  });

  test('a key that is marked for something else signs no token', async () => {
    for (const use of ['enc', 'x509-svid', make().subject.keyUse === 'sig' ? 'jwt-svid' : 'sig']) {
      const scene = make();
      scene.published = [{ ...scene.key.jwk, use }];
      expect(await scene.outcome(scene.token())).toBe(invalid);
    }
  });

  test('a private or symmetric key in the set is no key', async () => {
    const scene = make();
    const secret = { ...scene.key.privateKey.export({ format: 'jwk' }) };
    for (const published of [
      { ...scene.publish(scene.key), ...secret },
      { kty: 'oct', k: 'AAAA' },
    ]) {
      const other = make();
      other.published = [published];
      expect(await other.outcome(scene.token())).toBe(invalid);
    }
  });

  test('keys that cannot be had are a fault, and asked for no more than once a second', async () => {
    const scene = make({ replay: 'reuse' });
    const shown = (after: number) => scene.outcome(scene.token(), after);
    scene.published = null;
    expect(await shown(0)).toBe(down);
    const { reads } = scene;
    scene.published = [scene.publish(scene.key)];
    expect([await shown(0.5), scene.reads]).toEqual([down, reads]);
    expect(await shown(1)).toBe('accepted');
  });
}
