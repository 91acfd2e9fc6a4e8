import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { form, opening, startWorld, until, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 60_000);

afterAll(() => world.stop());

test('a denial says how far it has come: requested, acknowledged, seen to be felt, expired', async () => {
  const { body } = await world.exchange(form(await world.workload(), opening('denial')));
  const { id, task } = body.issuance;
  const row = async () =>
    (await world.api('GET', `/v1/issuances/${id}`, { bearer: await world.person() })).body;
  expect(await row()).toMatchObject({ denial: null, denialAckedAt: null, denialEffectiveAt: null });
  // IAM refuses once: the denial is asked for, and nothing more.
  const { faults } = world.clouds.aws;
  faults.arm({ action: 'PutRolePolicy', mode: 'refuse', status: 403, code: 'AccessDenied' });
  await world.api('POST', `/v1/tasks/${task}/end`, { bearer: body.task_token });
  expect(await row()).toMatchObject({ denial: 'deny_requested', endedBy: null, denialAckedAt: null });
  // The watch may write the document before the reaper comes back for its own try: then it is felt before it is ended.
  const felt = await until(row, ({ denial, endedBy }) => denial === 'deny_effective' && endedBy !== null);
  expect(felt).toMatchObject({
    denial: 'deny_effective',
    endedBy: 'denied',
    denialEffectiveAt: expect.any(String),
  });
  const types = await world.sql<{ type: string }>(
    'select type from mayfly_audit_v1 where task_id in (select task_id from mayfly_issuances_v1 where provider_ref = $1)',
    [felt.providerRef],
  );
  expect(types.map(({ type }) => type)).toEqual(
    expect.arrayContaining(['credential.ended', 'deny.effective']),
  );
  // What nobody has seen felt is acknowledged and no more; whatever has expired is expired.
  await world.sql('update deny_entry set effective_at = null where source_identity = $1', [felt.providerRef]);
  expect(await row()).toMatchObject({ denial: 'deny_acked', denialEffectiveAt: null });
  const owner = new pg.Client({ connectionString: world.running.databaseUrls.owner ?? '' });
  await owner.connect();
  await owner.query(
    `update issuance_delivery d set expires_at = now() from mayfly_issuances_v1 i where i.id = d.issuance_id and i.provider_ref = $1`,
    [felt.providerRef],
  );
  await owner.end();
  expect(await row()).toMatchObject({ denial: 'expired' });
});
