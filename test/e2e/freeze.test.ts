import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, opening, startWorld, until, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
}, 60_000);

afterAll(() => world.stop());

const post = async (path: string, json: Record<string, unknown>, bearer?: string) =>
  world.api('POST', path, { bearer: bearer ?? (await world.person()), json });
const view = async () => (await world.api('GET', '/v1/freeze', { bearer: await world.person() })).body;
const tool = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const asked = async (ref: string, change: object = {}) => {
  const { body } = await world.exchange(form(await world.workload(), { ...opening(ref), ...change }));
  return body.reason ?? 'issued';
};

test('a provider is frozen alone: its grants give nothing, others go on, and the thaw of another changes nothing', async () => {
  expect(await asked('p-1')).toBe('issued');
  const frozen = await post('/v1/freeze', { provider: 'local-aws', reason: 'INC-2' });
  expect([frozen.status, frozen.body]).toMatchObject([
    200,
    { provider: 'local-aws', frozen: true, reason: 'INC-2', drained: true },
  ]);
  expect(await asked('p-1')).toBe('frozen');
  expect(await asked('p-1', tool)).toBe('issued');
  expect(await view()).toMatchObject({ frozen: false, scopes: [{ provider: 'local-aws', reason: 'INC-2' }] });
  for (const other of [{}, { template: 'local-aws' }, { issuer: 'local-aws' }])
    await post('/v1/thaw', { ...other, reason: 'wrong one' });
  expect(await asked('p-1')).toBe('frozen');
  await post('/v1/thaw', { provider: 'local-aws', reason: 'over' });
  expect(await asked('p-1')).toBe('issued');
  expect((await view()).scopes).toEqual([]);
}, 30_000);

test('drained is told only once the intents beneath it have ended, and waits for no other', async () => {
  const release = world.clouds.aws.faults.arm({ action: 'GetScopedCredentials', mode: 'hold' });
  const held = asked('d-1');
  const intended = async () =>
    (await world.sql(`select from work where kind = 'issuance' and state = 'intended'`)).length;
  await until(intended, (count) => count > 0);
  const elsewhere = await post('/v1/freeze', { template: 'another', reason: 'INC' });
  expect(elsewhere.body).toMatchObject({ frozen: true, drained: true });
  const freezing = post('/v1/freeze', { template: 'invoice-reconcile', reason: 'INC' });
  const here = async () =>
    (await view()).scopes.find(({ template }: { template: string }) => template === 'invoice-reconcile');
  expect(await until(here, (one) => one !== undefined)).toMatchObject({ drained: false });
  release();
  expect(await held).toBe('issued');
  expect((await freezing).body).toMatchObject({ frozen: true, drained: true });
  for (const template of ['another', 'invoice-reconcile'])
    await post('/v1/thaw', { template, reason: 'over' });
}, 30_000);

test('a scoped operator freezes what lies within and nothing else; two names are no request', async () => {
  const yaml = `apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: reconcilers }
spec: { roles: [operator], subjects: [{ issuer: people, match: { groups: reconcilers } }], scope: { templates: ["invoice-*"] } }
`;
  await world.api('POST', '/v1/apply?set=scopes', { bearer: await world.person(), yaml });
  const within = await world.person(['reconcilers']);
  const refused = [{}, { template: 'other' }, { provider: 'local-aws' }, { issuer: 'local' }];
  for (const named of refused)
    for (const verb of ['freeze', 'thaw']) {
      const { body } = await post(`/v1/${verb}`, { ...named, reason: 'x' }, within);
      expect([verb, named, body.reason]).toEqual([verb, named, 'role_required']);
    }
  expect(await view()).toMatchObject({ frozen: false, scopes: [] });
  const named = { template: 'invoice-reconcile', reason: 'mine' };
  expect((await post('/v1/freeze', named, within)).status).toBe(200);
  expect(await asked('s-1')).toBe('frozen');
  expect((await post('/v1/thaw', named, within)).status).toBe(200);
  expect(await asked('s-1')).toBe('issued');
  const two = await post('/v1/freeze', { ...named, issuer: 'local' });
  expect(two.body.reason).toBe('malformed_request');
}, 30_000);
