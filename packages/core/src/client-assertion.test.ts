import { describe, expect, test } from '@jest/globals';
import { coreWorld, eventsOf, reading, reasonOf } from '@mayfly/testkit';
import type { Caller } from './attest.ts';
import { proveClient } from './client-assertion.ts';
import type { Workload } from './workload.ts';

const client = (token: string, more: Partial<{ spiffe: boolean; clientId: string }> = {}) => ({
  client: { token, spiffe: false, clientId: null, ...more },
});

describe('client authentication', () => {
  test.each([
    ['of the same workload', client('reconciler:c')],
    ['that is the subject token itself', client('reconciler:1')],
    ['that names itself by its written form', client('reconciler:c', { clientId: 'agents/reconciler' })],
    ['that names itself by its subject', client('reconciler:c', { clientId: 'reconciler' })],
  ])('%s agrees, and is not used up', async (_, request) => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange({ detail: reading(), ...request }))).toBe('delivered');
    const again = { subject: { kind: 'assertion' as const, token: 'reconciler:2' }, detail: reading() };
    expect(reasonOf(await world.exchange({ ...again, ...request }))).toBe('delivered');
  });

  test.each([
    ['of another workload', client('other-one:c'), 'another workload than subject and actor'],
    ['of an issuer that nobody trusts', client('other/reconciler:c'), 'unknown issuer'],
    ['that is nothing', client('nonsense'), 'unknown issuer'],
    ['that the attestor refuses', client('reconciler:'), 'not a subject of this issuer'],
    ['with another client_id', client('reconciler:c', { clientId: 'someone' }), 'another client_id'],
    ['sent as a JWT-SVID that is none', client('reconciler:c', { spiffe: true }), 'no SPIFFE ID'],
  ])('%s is refused before anything is found, and uses nothing up', async (_, request, detail) => {
    const world = coreWorld();
    const answer = await world.exchange({ detail: reading(), ...request });
    expect([reasonOf(answer), Object(answer).error.detail]).toEqual(['client_assertion_invalid', detail]);
    expect(eventsOf(world)).toEqual(['exchange.refused']);
    expect(world.trace.only('tasks.findByRef', 'ledger.intend')).toEqual([]);
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  });

  test('whose issuer cannot be read is nobody’s fault, and proves nothing', async () => {
    const world = coreWorld();
    const { ports, documents } = world;
    const caller = { name: 'agents/reconciler' } as Caller; // Nothing else of it is looked at.
    world.issuerDown();
    const context = { policy: documents.set, ports, now: world.clock.now() };
    const proof = proveClient(client('reconciler:c').client, caller, context);
    await expect(proof).rejects.toMatchObject({ name: 'Fault', reason: 'issuer_unavailable' });
  });

  test('by a JWT-SVID of the same SPIFFE ID agrees', async () => {
    const world = coreWorld();
    const subject = 'spiffe://finance/reconciler';
    const attest = async () =>
      ({ issuerName: 'agents', subject, claims: { sub: subject } }) as unknown as Workload;
    const ports = { ...world.ports, attestor: () => ({ issuer: world.issuer.issuer, attest }) };
    const context = { policy: world.documents.set, ports, now: world.clock.now() };
    const caller = { name: `agents/${subject}` } as Caller;
    const claimed = client('svid:c', { spiffe: true }).client;
    await expect(proveClient(claimed, caller, context)).resolves.toBeUndefined();
  });
});
