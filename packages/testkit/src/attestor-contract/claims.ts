import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { part } from '../signer.ts';
import type { AttestorScene } from './scene.ts';

type Make = (more?: Partial<TrustedIssuer>) => AttestorScene;

const invalid = 'assertion_invalid';
const thumbprint = part(Buffer.alloc(32, 7));

/** Whom, for whom, when, and by whom else it may be shown. */
export function describeClaims(make: Make): void {
  const outcome: Outcome = (payload, more, after = 0) => {
    const scene = make(more);
    return scene.outcome(scene.token({ payload }), after);
  };
  describeParties(make, outcome);
  describeTimes(make, outcome);
  describeBonds(make, outcome);
}

type Outcome = (
  payload: Readonly<Record<string, unknown>>,
  more?: Partial<TrustedIssuer>,
  afterSeconds?: number,
) => Promise<string>;

function describeParties(make: Make, outcome: Outcome): void {
  test('we are its sole audience, as text or as a list of one', async () => {
    const { audience } = make().issuer;
    for (const aud of [audience, [audience]]) expect(await outcome({ aud })).toBe('accepted');
    for (const aud of [
      ...[undefined, null, '', [], 7, `${audience}/`, `${audience}/token`, audience.toUpperCase()],
      ...['https://elsewhere.example', ['https://elsewhere.example'], [audience, audience], [[audience]]],
      ...[
        [audience, 'https://elsewhere.example'],
        ['https://elsewhere.example', audience],
      ],
    ])
      expect([aud, await outcome({ aud })]).toEqual([aud, invalid]);
  });

  test('an assertion that we show to a cloud is none that is shown to us', async () => {
    const iss = 'https://mayfly.example/federation';
    expect(await outcome({ iss, aud: 'sts.amazonaws.com', sub: 'mayfly:aws:mint' })).toBe(invalid);
  });

  test('another issuer is refused', async () => {
    const { subject } = make();
    for (const iss of [7, null, ['x']]) expect(await outcome({ iss })).toBe(invalid);
    const missing = subject.needsIssAndIat ? invalid : 'accepted';
    for (const iss of ['https://evil.example', undefined]) expect(await outcome({ iss })).toBe(missing);
  });
}

function describeTimes(make: Make, outcome: Outcome): void {
  test('exp is required, a whole second, and not past', async () => {
    const exp = Number(make().subject.golden.payload['exp']);
    const now = make().now.getTime() / 1000;
    for (const other of [undefined, null, String(exp), exp + 0.5, exp * 1000, 0, -1, true, [exp]])
      expect(await outcome({ exp: other })).toBe(invalid);
    expect(await outcome({}, {}, exp - now + 29)).toBe('accepted');
    expect(await outcome({}, {}, exp - now + 30)).toBe(invalid);
  });

  test('a number beyond every double is no time', async () => {
    const scene = make();
    const { exp: _, ...rest } = scene.subject.golden.payload;
    const text = `${JSON.stringify(rest).slice(0, -1)},"exp":1e400}`;
    expect(await scene.outcome(scene.token({ payload: text }))).toBe(invalid);
  });

  test('neither iat nor nbf may lie in the future', async () => {
    const now = make().now.getTime() / 1000;
    for (const name of ['iat', 'nbf']) {
      expect(await outcome({ [name]: now + 30 })).toBe('accepted');
      expect(await outcome({ [name]: now + 31 })).toBe(invalid);
      for (const other of ['x', now + 0.5, null]) expect(await outcome({ [name]: other })).toBe(invalid);
    }
  });

  test('a missing iat is refused, or the rest of the life counts', async () => {
    const { subject, now } = make();
    const seconds = now.getTime() / 1000;
    const without = (exp: number) => outcome({ iat: undefined, exp }, { maxLifetimeSeconds: 300 });
    expect(await without(seconds + 300)).toBe(subject.needsIssAndIat ? invalid : 'accepted');
    expect(await without(seconds + 301)).toBe(invalid);
  });

  test('a life above the maximum of the document is refused, by one second', async () => {
    const seconds = make().now.getTime() / 1000;
    const living = (life: number) =>
      outcome({ iat: seconds, exp: seconds + life }, { maxLifetimeSeconds: 300 });
    expect([await living(300), await living(301)]).toEqual(['accepted', invalid]);
  });
}

function describeBonds(make: Make, outcome: Outcome): void {
  test('a subject outside the namespaces of its issuer is refused', async () => {
    expect(await outcome({}, { subjects: [] })).toBe(invalid);
    for (const sub of ['', 'system:admin', 'spiffe://evil.example/a', 7, null, undefined])
      expect(await outcome({ sub })).toBe(invalid);
  });

  test('replay: once needs a jti', async () => {
    expect(await outcome({ jti: 'j' }, { replay: 'once' })).toBe('accepted');
    expect(await outcome({ jti: undefined }, { replay: 'once' })).toBe('malformed_request');
    for (const jti of ['', 7, null]) expect(await outcome({ jti }, { replay: 'reuse' })).toBe(invalid);
  });

  test('a confirmation that we can check is handed on, any other is refused', async () => {
    const scene = make();
    const read = async (cnf: unknown) => (await scene.attest(scene.token({ payload: { cnf } }))).confirmation;
    expect(await read({ jkt: thumbprint })).toEqual({ jkt: thumbprint });
    expect(await read({ 'x5t#S256': thumbprint })).toEqual({ x5tS256: thumbprint });
    expect(await read(undefined)).toBeUndefined();
    for (const cnf of [
      ...[null, 'x', [], {}, { jkt: '' }, { jkt: 7 }, { jkt: thumbprint.slice(1) }, { kid: 'k' }],
      ...[{ jkt: thumbprint, kid: 'k' }, { jwk: scene.es.jwk }, { 'x5t#S256': 'AA' }, { JKT: thumbprint }],
    ])
      expect(await outcome({ cnf })).toBe(invalid);
  });

  test('one that speaks for an actor already is refused: to drop `act` would be impersonation', async () => {
    for (const act of [{ iss: 'https://agents.example', sub: 'agent' }, {}, null, 'agent'])
      expect(await outcome({ act })).toBe(invalid);
  });

  test('may_act is handed on whole, or the token is refused', async () => {
    const scene = make();
    const actor = { iss: 'https://agents.example', sub: 'agent' };
    const workload = await scene.attest(scene.token({ payload: { may_act: actor } }));
    expect(workload.mayAct).toEqual({ issuer: actor.iss, subject: actor.sub });
    for (const other of [
      ...[null, 'agent', [], {}, { sub: 'agent' }, { iss: actor.iss }, { ...actor, sub: '' }],
      ...[{ ...actor, sub: 7 }, { ...actor, client_id: 'x' }, [actor]],
    ])
      expect(await outcome({ may_act: other })).toBe(invalid);
  });
}
