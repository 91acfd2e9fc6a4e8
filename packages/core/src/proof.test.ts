import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  deliveredOf,
  nothingPresented,
  onlyTask,
  posting,
  reading,
  reasonOf,
  type World,
} from '@mayfly/testkit';
import { confirmationFor, provesKey } from './proof.ts';
import type { Proof } from './template.ts';

const proven = (dpop: string | null, certificate: string | null = null) => ({
  presented: { ...nothingPresented, dpop, certificate },
});

function demanding(proof: Proof): World {
  const world = coreWorld();
  const grants = world.template.grants.map((grant) => ({ ...grant, proof }));
  return coreWorld({ template: { grants } });
}

describe('what a token is bound to must be proven', () => {
  test.each([
    [null, {}, true],
    [{ jkt: 'a' }, { jkt: 'a' }, true],
    [{ jkt: 'a' }, { jkt: 'b' }, false],
    [{ jkt: 'a' }, {}, false],
    [{ x5tS256: 'c' }, { jkt: 'c' }, false],
    [{ jkt: 'a', x5tS256: 'c' }, { jkt: 'a' }, false],
    [{ jkt: 'a', x5tS256: 'c' }, { jkt: 'a', x5tS256: 'c' }, true],
  ])('%j by %j: %s', (boundTo, given, holds) => {
    expect(provesKey(given, boundTo)).toBe(holds);
  });
});

describe('what a credential is bound to', () => {
  test.each<readonly [readonly Proof[], object, object | null | undefined]>([
    [['none', 'none'], {}, null],
    [['none', 'none'], { jkt: 'a' }, { jkt: 'a' }],
    [['none', 'none'], { x5tS256: 'c' }, null],
    [['none', 'dpop'], {}, undefined],
    [['dpop', 'none'], { x5tS256: 'c' }, undefined],
    [['dpop', 'dpop'], { jkt: 'a' }, { jkt: 'a' }],
    [['mtls', 'none'], { jkt: 'a' }, undefined],
    [['none', 'mtls'], { x5tS256: 'c' }, { x5tS256: 'c' }],
    [['dpop', 'mtls'], { jkt: 'a', x5tS256: 'c' }, { jkt: 'a', x5tS256: 'c' }],
  ])('where %j is demanded and %j is proven', (demanded, given, expected) => {
    expect(confirmationFor(demanded, given)).toEqual(expected);
  });
});

describe('a grant with proof', () => {
  test.each(['dpop', 'mtls'] as const)('%s is refused without it, and nothing is used up', async (proof) => {
    const world = demanding(proof);
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('proof_required');
    expect(world.store.rows.replay.size).toBe(0);
    const given = proof === 'dpop' ? proven('key:1') : proven(null, 'certificate');
    expect(reasonOf(await world.exchange({ ...given, detail: reading() }))).toBe('delivered');
  });

  test('that the version in force has come to demand is refused without it', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const task = onlyTask(world).task.id;
    const grants = world.template.grants.map((grant) => ({ ...grant, proof: 'dpop' as const }));
    world.documents.apply({ ...world.template, grants });
    const token = { kind: 'assertion', token: 'reconciler:2' } as const;
    const answer = await world.exchange({ subject: token, detail: reading({ task }) });
    expect(reasonOf(answer)).toBe('proof_required');
  });
});

describe('a DPoP proof', () => {
  test('works once, and its refusal gives the assertion back', async () => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange({ ...proven('key:1'), detail: posting() }))).toBe('delivered');
    const subject = { kind: 'assertion', token: 'reconciler:2' } as const;
    const replayed = await world.exchange({ ...proven('key:1'), subject, detail: posting() });
    expect(reasonOf(replayed)).toBe('dpop_replayed');
    const fresh = await world.exchange({ ...proven('key:2'), subject, detail: posting() });
    expect(reasonOf(fresh)).toBe('delivered');
  });

  test('that is none refuses before anybody is attested', async () => {
    const world = coreWorld();
    const answer = await world.exchange({ ...proven('garbage'), detail: posting() });
    expect(answer).toMatchObject({ kind: 'refused', issuanceId: null, error: { reason: 'dpop_invalid' } });
  });

  test('binds the task tokens of the task that it opens', async () => {
    const world = coreWorld();
    const opened = deliveredOf(await world.exchange({ ...proven('key:1'), detail: posting() }));
    expect(onlyTask(world).task.confirmation).toEqual({ jkt: 'key' });
    const subject = { kind: 'access-token', token: opened.taskToken?.reveal() ?? '' } as const;
    const task = onlyTask(world).task.id;
    const detail = posting({ task });
    expect(reasonOf(await world.exchange({ subject, detail }))).toBe('proof_required');
    expect(reasonOf(await world.exchange({ ...proven('thief:1'), subject, detail }))).toBe('proof_required');
    expect(reasonOf(await world.exchange({ ...proven('key:2'), subject, detail }))).toBe('delivered');
  });
});

test('an assertion with cnf is worth nothing without its key', async () => {
  const world = coreWorld();
  world.bound.set('reconciler', { confirmation: { jkt: 'key' } });
  expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('proof_required');
  expect(reasonOf(await world.exchange({ ...proven('other:1'), detail: reading() }))).toBe('proof_required');
  expect(reasonOf(await world.exchange({ ...proven('key:1'), detail: reading() }))).toBe('delivered');
});
